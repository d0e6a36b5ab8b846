// Small helpers all graph passes share: which regions they visit, and questions about values they keep asking.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "ir/graph.h"

namespace lapidary::passes {

// Every region whose ops are executed one by one: the functions' bodies and, inside out, those of loops and ifs in
// them. Composites and groups are single operations to a pass; their regions are not visited.
void for_each_body(Module&, const std::function<void(Region&)>& visit);

// Every op of those regions, in order; `visit` may erase it, and what stands before. True when it was for one of them.
bool for_each_op(Module&, const std::function<bool(Region&, Op&)>& visit);

// The constant a value is, if it is one.
std::optional<ConstantId> constant_of(const Value*);
// The one number all elements of a value have: a splat or one-element constant, seen through broadcast and reshape.
std::optional<Scalar> splat_of(const Module&, const Value*);
// That number as a double, for floats and integers alike.
std::optional<double> number_of(const Module&, const Value*);
// The constant vector [extent] that a value of a larger shape is along one axis and repeats along the others.
std::optional<ConstantId> constant_along(Module&, const Value*, int axis, int64_t extent);
// The producer of a value when it is of this kind, else null.
Op* producer_of_kind(const Value*, OpKind);

// True when Dims are named after elements of this value (DimKind::Element): it must keep its identity.
bool names_dims(const Value*);
// The ids of the values whose elements this op's parameters, regions and result types speak of, which must have been
// read before it runs. (What a loop or an if gives may be named by what is read after it.)
std::set<uint32_t> elements_needed_by(const Op&);
// Those that any op or check of the module speaks of.
std::set<uint32_t> elements_spoken_of(const Module&);
// The same as an order among the ops of one body: an op comes after the to_host ops whose elements it needs.
class HostReads {
 public:
  HostReads() = default;
  explicit HostReads(const Region& body);
  const std::vector<const Op*>& needed_by(const Op&) const;

 private:
  std::unordered_map<const Op*, std::vector<const Op*>> needed_by_;
};
// Redirects all readers, and hands on what is known of the elements.
void replace_value(Value* old, Value* by);
// Erases the op and every producer that thereby loses its last reader.
void erase_with_dead_producers(Op&);

}  // namespace lapidary::passes
