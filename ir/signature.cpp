// The two .def files read once into a table. Their parameters column, "axis:int ?start:dim *", is split here.
#include "ir/signature.h"

#include <algorithm>

#include "ir/error.h"

namespace lapidary {

namespace {

int region_count(OpKind kind) {
  if (kind == OpKind::If) return 2;
  return kind == OpKind::Loop || kind == OpKind::Composite || kind == OpKind::Group ? 1 : 0;
}

Signature make(OpKind kind, int min_operands, int max_operands, int results, std::string_view params) {
  Signature signature{min_operands, max_operands, results, region_count(kind), {}, false};
  while (!params.empty()) {
    size_t end = std::min(params.find(' '), params.size());
    std::string_view entry = params.substr(0, end);
    params.remove_prefix(std::min(end + 1, params.size()));
    if (entry == "*") {
      signature.open = true;
      continue;
    }
    bool optional = entry[0] == '?';
    if (optional) entry.remove_prefix(1);
    size_t colon = entry.find(':');
    signature.params.push_back({entry.substr(0, colon), entry.substr(colon + 1), optional});
  }
  return signature;
}

const std::vector<Signature>& table() {
  static const std::vector<Signature> signatures = {
#define SCALAR_OP(kind, text, operands, types, result) make(OpKind::kind, operands, operands, 1, ""),
#include "ir/scalar_ops.def"
#undef SCALAR_OP
#define GRAPH_OP(kind, text, min_operands, max_operands, results, params) \
  make(OpKind::kind, min_operands, max_operands, results, params),
#include "ir/graph_ops.def"
#undef GRAPH_OP
  };
  return signatures;
}

bool has_type(const ParamValue& value, std::string_view type) {
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

}  // namespace

const Signature& signature_of(OpKind kind) { return table()[static_cast<size_t>(kind)]; }

std::vector<std::string> parameter_violations(OpKind kind, const Params& params) {
  const Signature& signature = signature_of(kind);
  std::vector<std::string> violations;
  for (const ParamSpec& spec : signature.params) {
    const ParamValue* value = params.find(spec.name);
    if (!value && !spec.optional) violations.push_back(fmt::format("parameter '{}' is missing", spec.name));
    if (value && !has_type(*value, spec.type)) {
      violations.push_back(fmt::format("parameter '{}' is no {}", spec.name, spec.type));
    }
  }
  for (const auto& [name, value] : params.entries()) {
    bool known = std::ranges::any_of(signature.params, [&](const ParamSpec& spec) { return spec.name == name; });
    if (!known && !signature.open) violations.push_back(fmt::format("takes no parameter '{}'", printable(name)));
  }
  return violations;
}

std::vector<std::string> signature_violations(const Op& op) {
  const Signature& signature = signature_of(op.kind);
  std::vector<std::string> violations;
  int operands = static_cast<int>(op.operands.size()), results = static_cast<int>(op.results.size());
  if (operands < signature.min_operands || (signature.max_operands >= 0 && operands > signature.max_operands)) {
    violations.push_back(fmt::format("has {} operands", operands));
  }
  if (signature.results >= 0 && results != signature.results) {
    violations.push_back(fmt::format("has {} results, expected {}", results, signature.results));
  }
  if (static_cast<int>(op.regions.size()) != signature.regions) {
    violations.push_back(fmt::format("has {} regions, expected {}", op.regions.size(), signature.regions));
  }
  std::ranges::move(parameter_violations(op.kind, op.params), std::back_inserter(violations));
  return violations;
}

}  // namespace lapidary
