// Well-formed modules. What is checked:
//   structure   every function and region ends with one Yield and holds no other; an op's back pointers, its results'
//               indices and the use lists agree with who reads what; value ids are unique
//   isolation   an op reads values of its own region, defined before it
//   states      names are unique, types are dense, of constant extents, and those of the initial values
//   functions   names are unique; argument and result names match the arguments and the yield in number; those that
//               are states have the states' types, and none is a state twice
//   signatures  operand, result and region counts as graph_ops.def has them; parameters are those it names, with their
//               types; constants and origins exist
//   types       results have the types infer_types gives (layouts aside), no Error type and no null extent is left; a
//               region's arguments have the types of the operands they stand for
//   layouts     a blocked axis exists and its block is a power of two; a halo has one entry for each axis and is not
//               negative; what a function takes and yields is dense
//   elements    known elements are as many as the type has, of an i64, i32 or bool tensor of at most 64
//               Left open are extents that a loop or an if changes (is_open_result)
//   groups      the anchor is an op of the region other than its yield
// Not checked: that Dims name values that dominate their use, that the module's checks are sufficient, numbers.
#include "ir/verifier.h"

#include <algorithm>
#include <bit>
#include <unordered_set>

#include "ir/error.h"
#include "ir/infer.h"
#include "ir/signature.h"
#include "ir/text.h"

namespace lapidary {

namespace {

bool same_but_for_layout(Type a, Type b) {
  a.layout = {};
  b.layout = {};
  return a == b;
}

class Verifier {
 public:
  explicit Verifier(const Module& module) : module_(module) {}

  std::vector<std::string> run() {
    for (const auto& function : module_.functions) {
      if (function->body) collect(*function->body);
    }
    states();
    std::unordered_set<std::string> names;
    for (const auto& function : module_.functions) {
      where_ = fmt::format("function {}", function->name);
      if (!names.insert(function->name).second) complain("another function has its name");
      this->function(*function);
    }
    return std::move(violations_);
  }

 private:
  void complain(const std::string& what) { violations_.push_back(fmt::format("{}: {}", where_, what)); }
  void complain(const Op& op, const std::string& what) {
    std::string node = op.origin < module_.origins.size() ? module_.describe(op.origin) : "";
    if (!node.empty()) node = fmt::format(" ({})", node);
    violations_.push_back(fmt::format("{}: {}{}: {}", where_, print_op(op), node, what));
  }

  void collect(const Region& region) {
    for (const Op& op : region.ops) {
      ops_.insert(&op);
      for (const auto& inner : op.regions) collect(*inner);
    }
  }

  void states() {
    std::unordered_set<std::string> names;
    for (const State& state : module_.states) {
      where_ = fmt::format("state '{}'", printable(state.name));
      if (!names.insert(state.name).second) complain("another state has its name");
      if (static_cast<uint32_t>(state.initial) >= module_.constants.size()) return complain("has no initial value");
      const Constant& initial = module_.constants[state.initial];
      std::vector<int64_t> shape;
      for (Dim extent : state.type.shape) shape.push_back(value_of(extent).value_or(-1));
      if (initial.dtype != state.type.dtype || initial.shape != shape || !state.type.layout.dense())
        complain(fmt::format("is {}, which its initial value is not", to_string(state.type)));
    }
  }

  void function(const Function& function) {
    if (!function.body) return complain("has no body");
    const Region& body = *function.body;
    region(body);
    if (function.argument_names.size() != body.arguments.size()) complain("names and arguments differ in number");
    std::vector<const Value*> arguments;
    for (const auto& argument : body.arguments) arguments.push_back(argument.get());
    border(arguments, function.argument_states);
    if (body.ops.empty() || !body.ops.back().is(OpKind::Yield)) return;
    if (function.result_names.size() != body.results().size()) complain("names and results differ in number");
    border({body.results().begin(), body.results().end()}, function.result_states);
  }

  // Arguments or results, and which of them are states.
  void border(const std::vector<const Value*>& values, const std::vector<int>& states) {
    for (const Value* value : values)
      if (value) dense(*value);
    if (states.empty()) return;
    if (states.size() != values.size()) return complain("states and values at its border differ in number");
    std::unordered_set<int> seen;
    for (size_t i = 0; i < states.size(); ++i) {
      if (states[i] < 0 || !values[i]) continue;
      if (static_cast<size_t>(states[i]) >= module_.states.size()) return complain("a state that is not there");
      const State& state = module_.states[static_cast<size_t>(states[i])];
      if (!seen.insert(states[i]).second) complain(fmt::format("state '{}' twice", printable(state.name)));
      if (values[i]->type != state.type)
        complain(fmt::format("%{} is {}, its state '{}' is {}", values[i]->id, to_string(values[i]->type),
                             printable(state.name), to_string(state.type)));
    }
  }

  void dense(const Value& value) {
    if (!value.type.layout.dense()) complain(fmt::format("value %{} at its border is not dense", value.id));
  }

  void region(const Region& region) {
    std::unordered_set<const Value*> defined;
    for (size_t i = 0; i < region.arguments.size(); ++i) value(*region.arguments[i], nullptr, region, i, defined);
    for (const Op& op : region.ops) {
      if (op.region != &region || &*op.self != &op) complain(op, "does not know where it is");
      if (op.is(OpKind::Yield) != (&op == &region.ops.back())) complain(op, "a yield ends a region, nothing else does");
      for (uint32_t i = 0; i < op.operands.size(); ++i) operand(op, i, defined);
      for (size_t i = 0; i < op.results.size(); ++i) value(*op.results[i], &op, region, i, defined);
      for (const auto& inner : op.regions) owned(op, *inner);
      if (fits_signature(op) && has_types(op)) types(op);
    }
    if (region.ops.empty() || !region.ops.back().is(OpKind::Yield)) complain("a region has no yield");
  }

  void owned(const Op& op, const Region& inner) {
    if (inner.owner != &op) complain(op, "its region belongs to another op");
    region(inner);
  }

  void value(const Value& value, const Op* producer, const Region& region, size_t index,
             std::unordered_set<const Value*>& defined) {
    if (value.producer != producer || value.region != &region || value.index != index) {
      complain(fmt::format("value %{} does not know where it is", value.id));
    }
    if (!defined.insert(&value).second || !ids_.insert(value.id).second) {
      complain(fmt::format("value %{} is defined twice", value.id));
    }
    if (!is_complete(value.type)) return complain(fmt::format("value %{} has no type", value.id));
    for (const Use& use : value.uses) {
      bool agrees =
          ops_.contains(use.op) && use.operand < use.op->operands.size() && use.op->operands[use.operand] == &value;
      if (!agrees) complain(fmt::format("value %{} lists a use that is none", value.id));
    }
    layout(value);
    elements(value);
  }

  static bool is_complete(const Type& type) {
    return !type.is_error() && std::ranges::none_of(type.shape, [](Dim extent) { return !extent; });
  }

  void layout(const Value& value) {
    const Layout& layout = value.type.layout;
    int rank = value.type.rank();
    if (layout.blocked_axis >= rank)
      complain(fmt::format("value %{}: blocked axis {} of rank {}", value.id, layout.blocked_axis, rank));
    bool blocks = layout.blocked_axis < 0 || (layout.block > 1 && std::has_single_bit(layout.block));
    blocks = blocks && (layout.blocked_axis >= 0 || !layout.last);
    if (!blocks) complain(fmt::format("value %{}: a block of {}", value.id, layout.block));
    if (!layout.halo.empty() && static_cast<int>(layout.halo.size()) != rank) {
      complain(fmt::format("value %{}: a halo of {} axes for rank {}", value.id, layout.halo.size(), rank));
    }
    bool negative = std::ranges::any_of(layout.halo, [](Halo halo) { return halo.lo < 0 || halo.hi < 0; });
    if (negative) complain(fmt::format("value %{}: a negative halo", value.id));
  }

  void elements(const Value& value) {
    if (value.elements.empty()) return;
    bool known = std::ranges::none_of(value.elements, [](Dim element) { return !element; });
    if (!known || !carries_elements(value.type)) {
      return complain(fmt::format("value %{} carries elements, its type {} does not", value.id, to_string(value.type)));
    }
    int64_t count = 1;
    for (Dim extent : value.type.shape) count *= *value_of(extent);
    if (static_cast<int64_t>(value.elements.size()) != count) {
      complain(fmt::format("value %{} carries {} elements, its type has {}", value.id, value.elements.size(), count));
    }
  }

  void operand(const Op& op, uint32_t index, const std::unordered_set<const Value*>& defined) {
    const Value* value = op.operands[index];
    if (!value) return complain(op, fmt::format("operand {} is missing", index));
    if (!defined.contains(value)) complain(op, fmt::format("operand {} is not defined before it in its region", index));
    bool listed =
        std::ranges::any_of(value->uses, [&](const Use& use) { return use.op == &op && use.operand == index; });
    if (!listed) complain(op, fmt::format("operand {} does not list this use", index));
  }

  bool fits_signature(const Op& op) {
    std::vector<std::string> violations = signature_violations(op);
    if (op.origin >= module_.origins.size()) violations.push_back(fmt::format("origin {} is none", op.origin));
    for (const auto& [name, param] : op.params.entries()) {
      const ConstantId* id = std::get_if<ConstantId>(&param);
      if (id && static_cast<uint32_t>(*id) >= module_.constants.size()) violations.push_back("its constant is none");
    }
    for (const std::string& violation : violations) complain(op, violation);
    return violations.empty();
  }

  // Of its operands and of what its regions yield; what lacks one was reported where it is defined.
  bool has_types(const Op& op) {
    auto typed = [](const Value* value) { return value && is_complete(value->type); };
    for (const auto& inner : op.regions) {
      if (inner->ops.empty() || !inner->yield().is(OpKind::Yield)) return false;
      if (!std::ranges::all_of(inner->results(), typed)) return false;
    }
    return std::ranges::all_of(op.operands, typed) &&
           std::ranges::all_of(op.results, [&](auto& r) { return typed(r.get()); });
  }

  void types(const Op& op) {
    for (const auto& inner : op.regions) arguments(op, *inner);
    if (op.is(OpKind::Group)) anchor(op);
    // Inference asks for a mutable module: for its DimPool, where equal Dims are one, and for its checks, put back
    // here.
    auto& module = const_cast<Module&>(module_);
    size_t checks = module.checks.size();
    try {
      std::vector<Type> expected = infer_types(module, op.kind, op.operands, op.params, op.regions);
      if (expected.size() != op.results.size())
        complain(op, fmt::format("has {} results, expected {}", op.results.size(), expected.size()));
      for (size_t i = 0; i < std::min(expected.size(), op.results.size()); ++i) {
        if (is_open_result(op, i)) continue;
        if (!same_but_for_layout(expected[i], op.results[i]->type)) {
          complain(op, fmt::format("result {} should be {}", i, to_string(expected[i])));
        }
      }
    } catch (const Error& error) { complain(op, error.what()); }
    module.checks.resize(checks);
  }

  void arguments(const Op& op, const Region& inner) {
    size_t skipped = op.is(OpKind::Loop) ? 1 : 0;  // the iteration
    if (inner.arguments.size() != op.operands.size() + skipped) {
      return complain(op, fmt::format("its region has {} arguments, expected {}", inner.arguments.size(),
                                      op.operands.size() + skipped));
    }
    if (skipped && inner.arguments[0]->type != Type::tensor(DType::I64, {})) complain(op, "the iteration is no i64[]");
    for (size_t i = 0; i < op.operands.size(); ++i) {
      if (op.is(OpKind::Loop) && holder_of_shape(op.params, i) >= 0) continue;
      if (same_but_for_layout(inner.arguments[i + skipped]->type, op.operands[i]->type)) continue;
      complain(op, fmt::format("argument {} of its region has another type than the operand", i + skipped));
    }
  }

  void anchor(const Op& op) {
    int64_t anchor = op.params.integer("anchor");
    auto ops = static_cast<int64_t>(op.regions[0]->ops.size()) - 1;
    if (anchor < 0 || anchor >= ops) complain(op, fmt::format("its anchor {} is not an op of its region", anchor));
  }

  const Module& module_;
  std::string where_;
  std::vector<std::string> violations_;
  std::unordered_set<const Op*> ops_;  // of the module
  std::unordered_set<uint32_t> ids_;
};

}  // namespace

std::vector<std::string> verify(const Module& module) { return Verifier(module).run(); }

}  // namespace lapidary
