// Small helpers all graph passes share: which regions they visit, and questions about values they keep asking.
#pragma once

#include <functional>
#include <optional>

#include "ir/graph.h"

namespace lapidary::passes {

// Every region whose ops are executed one by one: the functions' bodies and, inside out, the bodies of loops in them.
// Composites and groups are single operations to a pass; their regions are not visited.
void for_each_body(Module&, const std::function<void(Region&)>& visit);

// The constant a value is, if it is one.
std::optional<ConstantId> constant_of(const Value*);
// The one number all elements of a value have: a splat or one-element constant, seen through broadcast and reshape.
std::optional<Scalar> splat_of(const Module&, const Value*);
// That number as a double, for floats and integers alike.
std::optional<double> number_of(const Module&, const Value*);
// The producer of a value when it is of this kind, else null.
Op* producer_of_kind(const Value*, OpKind);

// True when Dims are named after elements of this value (DimKind::Element): it must keep its identity.
bool names_dims(const Value*);
// Redirects all readers, and hands on what is known of the elements.
void replace_value(Value* old, Value* by);
// Erases the op and every producer that thereby loses its last reader.
void erase_with_dead_producers(Op&);

}  // namespace lapidary::passes
