// Well-formed modules. What is checked:
//   structure   every function and region ends with one Yield and holds no other; an op's back pointers, its results'
//               indices and the use lists agree with who reads what
//   isolation   an op reads values of its own region, defined before it
//   signatures  operand, result and region counts as graph_ops.def has them; parameters are those it names, with their types
//   types       results have the types infer_types gives (layouts aside), no Error type is left; a region's arguments have
//               the types of the operands they stand for
//   groups      the anchor is an op of the region; loops carry what they yield
// Not checked: that Dims name values that dominate their use, that checks are sufficient, numbers.
#include "ir/verifier.h"

#include <algorithm>
#include <sstream>
#include <unordered_map>
#include <unordered_set>

#include "ir/error.h"
#include "ir/graph_builder.h"
#include "ir/text.h"

namespace lapidary {

namespace {

struct Signature {
  int min_operands, max_operands, results;
  const char* params;
};
constexpr Signature kSignatures[] = {
#define SCALAR_OP(kind, text, operands, types, result) {operands, operands, 1, ""},
#include "ir/scalar_ops.def"
#undef SCALAR_OP
#define GRAPH_OP(kind, text, min_operands, max_operands, results, params) {min_operands, max_operands, results, params},
#include "ir/graph_ops.def"
#undef GRAPH_OP
};

bool has_type(const ParamValue& value, const std::string& type) {
  if (type == "int") return std::holds_alternative<int64_t>(value);
  if (type == "ints") return std::holds_alternative<std::vector<int64_t>>(value);
  if (type == "dim") return std::holds_alternative<Dim>(value);
  if (type == "dims") return std::holds_alternative<std::vector<Dim>>(value);
  if (type == "float") return std::holds_alternative<double>(value);
  if (type == "str") return std::holds_alternative<std::string>(value);
  if (type == "dtype") return std::holds_alternative<DType>(value);
  if (type == "constant") return std::holds_alternative<ConstantId>(value);
  LPD_UNREACHABLE("graph_ops.def: parameter type '{}'", type);
}

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
      where_ = function->name;
      if (!function->body) {
        complain("has no body");
        continue;
      }
      region(*function->body);
      if (function->argument_names.size() != function->body->arguments.size()) complain("names and arguments differ in number");
      bool ended = !function->body->ops.empty() && function->body->ops.back().is(OpKind::Yield);
      if (ended && function->result_names.size() != function->body->results().size()) complain("names and results differ in number");
    }
    return std::move(violations_);
  }

 private:
  void complain(const std::string& what) { violations_.push_back(fmt::format("function {}: {}", where_, what)); }
  void complain(const Op& op, const std::string& what) {
    violations_.push_back(fmt::format("function {}: {} ({}): {}", where_, print_op(op), module_.describe(op.origin), what));
  }

  void region(const Region& region) {
    std::unordered_set<const Value*> defined;
    for (size_t i = 0; i < region.arguments.size(); ++i) value(*region.arguments[i], nullptr, region, i, defined);
    for (const Op& op : region.ops) {
      if (op.region != &region || &*op.self != &op) complain(op, "does not know where it is");
      if (op.is(OpKind::Yield) != (&op == &region.ops.back())) complain(op, "a yield ends a region, nothing else does");
      for (uint32_t i = 0; i < op.operands.size(); ++i) operand(op, i, defined);
      signature(op);
      types(op);
      for (size_t i = 0; i < op.results.size(); ++i) value(*op.results[i], &op, region, i, defined);
      for (const auto& inner : op.regions) this->region(*inner);
    }
    if (region.ops.empty() || !region.ops.back().is(OpKind::Yield)) complain("a region has no yield");
  }

  void value(const Value& value, const Op* producer, const Region& region, size_t index, std::unordered_set<const Value*>& defined) {
    if (value.producer != producer || value.region != &region || value.index != index) complain(fmt::format("value %{} does not know where it is", value.id));
    if (!defined.insert(&value).second || !ids_.insert(value.id).second) complain(fmt::format("value %{} is defined twice", value.id));
    if (value.type.is_error()) complain(fmt::format("value %{} has no type", value.id));
    for (const Use& use : value.uses) {
      bool agrees = use.operand < use.op->operands.size() && use.op->operands[use.operand] == &value;
      if (!agrees) complain(fmt::format("value %{} lists a use that is none", value.id));
    }
  }

  void operand(const Op& op, uint32_t index, const std::unordered_set<const Value*>& defined) {
    const Value* value = op.operands[index];
    if (!value) return complain(op, fmt::format("operand {} is missing", index));
    if (!defined.contains(value)) complain(op, fmt::format("operand {} is not defined before it in its region", index));
    bool listed = std::ranges::any_of(value->uses, [&](const Use& use) { return use.op == &op && use.operand == index; });
    if (!listed) complain(op, fmt::format("operand {} does not list this use", index));
  }

  void signature(const Op& op) {
    const Signature& expected = kSignatures[static_cast<size_t>(op.kind)];
    int operands = static_cast<int>(op.operands.size()), results = static_cast<int>(op.results.size());
    if (operands < expected.min_operands || (expected.max_operands >= 0 && operands > expected.max_operands)) complain(op, fmt::format("has {} operands", operands));
    if (expected.results >= 0 && results != expected.results) complain(op, fmt::format("has {} results, expected {}", results, expected.results));
    bool with_region = op.is(OpKind::Loop) || op.is(OpKind::Composite) || op.is(OpKind::Group);
    if (op.regions.size() != (with_region ? 1u : 0u)) complain(op, fmt::format("has {} regions", op.regions.size()));
    params(op, expected.params);
  }

  void params(const Op& op, const std::string& declared) {
    std::unordered_set<std::string> known;
    bool open = false;
    std::istringstream entries(declared);
    for (std::string entry; entries >> entry;) {
      if (entry == "*") {
        open = true;
        continue;
      }
      bool optional = entry[0] == '?';
      size_t colon = entry.find(':');
      std::string name = entry.substr(optional, colon - optional), type = entry.substr(colon + 1);
      known.insert(name);
      const ParamValue* value = op.params.find(name);
      if (!value && !optional) complain(op, fmt::format("parameter '{}' is missing", name));
      if (value && !has_type(*value, type)) complain(op, fmt::format("parameter '{}' is no {}", name, type));
    }
    for (const auto& [name, value] : op.params.entries()) {
      if (!open && !known.contains(name)) complain(op, fmt::format("takes no parameter '{}'", name));
    }
  }

  void types(const Op& op) {
    if (std::ranges::any_of(op.operands, [](const Value* value) { return !value; })) return;
    size_t skipped = op.is(OpKind::Loop) ? 1 : 0;   // the iteration
    for (const auto& inner : op.regions) {
      if (inner->arguments.size() != op.operands.size() + skipped) {
        complain(op, "its region has another number of arguments");
        continue;
      }
      for (size_t i = 0; i < op.operands.size(); ++i) {
        if (!same_but_for_layout(inner->arguments[i + skipped]->type, op.operands[i]->type)) complain(op, fmt::format("argument {} of its region has another type than the operand", i));
      }
    }
    if (op.is(OpKind::Group) && op.params.find("anchor") && !op.regions.empty()) {
      int64_t anchor = op.params.integer("anchor");
      if (anchor < 0 || anchor + 1 >= static_cast<int64_t>(op.regions[0]->ops.size())) complain(op, "its anchor is not an op of its region");
    }
    try {
      // Inference may add checks and Dims to the module: equal ones to those that building the op added.
      std::vector<Type> expected = infer_types(const_cast<Module&>(module_), op.kind, op.operands, op.params, op.regions);
      for (size_t i = 0; i < std::min(expected.size(), op.results.size()); ++i) {
        if (!same_but_for_layout(expected[i], op.results[i]->type)) {
          complain(op, fmt::format("result {} should be {}", i, to_string(expected[i])));
        }
      }
    } catch (const Error& error) {
      complain(op, error.what());
    }
  }

  const Module& module_;
  std::string where_;
  std::vector<std::string> violations_;
  std::unordered_set<uint32_t> ids_;
};

}  // namespace

std::vector<std::string> verify(const Module& module) { return Verifier(module).run(); }

}  // namespace lapidary
