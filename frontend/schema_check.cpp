#include "frontend/schema_check.h"

#include <algorithm>

#include "frontend/attribute_list.h"
#include "frontend/microsoft_schemas.h"
#include "frontend/structure.h"

namespace lapidary::frontend {
namespace {

const auto& known_domains() { return onnx::OpSchemaRegistry::DomainToVersionRange::Instance().Map(); }

std::string domain_name(std::string_view domain) { return domain.empty() ? "ai.onnx" : printable(domain); }

// Levenshtein's distance, given up beyond 2.
int distance(std::string_view a, std::string_view b) {
  if (a.size() > b.size() + 2 || b.size() > a.size() + 2) return 3;
  std::vector<int> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    int diagonal = row[0];
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      int substituted = diagonal + (tolower(a[i - 1]) != tolower(b[j - 1]));
      diagonal = row[j];
      row[j] = std::min({substituted, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

struct KnownOperator {
  std::string domain, name;
  int since;
};

// Once: the registry hands out copies of all its schemas.
const std::vector<KnownOperator>& known_operators() {
  static const std::vector<KnownOperator> all = [] {
    std::vector<KnownOperator> operators;
    for (const OpSchema& schema : onnx::OpSchemaRegistry::get_all_schemas()) {
      if (!schema.Deprecated()) operators.push_back({schema.domain(), schema.Name(), schema.SinceVersion()});
    }
    return operators;
  }();
  return all;
}

std::string did_you_mean(const std::string& op_type, const std::string& domain, int opset) {
  int best = 3;
  std::string name;
  if (op_type.size() > 40) return "";
  for (const KnownOperator& known : known_operators()) {
    if (known.domain != domain || known.since > opset) continue;
    int d = distance(op_type, known.name);
    if (d < best || (d == best && known.name < name)) best = d, name = known.name;
  }
  return best <= 2 ? fmt::format(" (did you mean '{}'?)", name) : "";
}

// --- attributes ------------------------------------------------------------------------------------------------------

using AttributeType = AttributeProto::AttributeType;

std::vector<AttributeType> values_in(const AttributeProto& a) {
  std::vector<AttributeType> found;
  auto note = [&](bool there, AttributeType type) {
    if (there) found.push_back(type);
  };
  note(a.has_f(), AttributeProto::FLOAT), note(a.has_i(), AttributeProto::INT), note(a.has_s(), AttributeProto::STRING);
  note(a.has_t(), AttributeProto::TENSOR), note(a.has_g(), AttributeProto::GRAPH),
      note(a.has_tp(), AttributeProto::TYPE_PROTO);
  note(a.has_sparse_tensor(), AttributeProto::SPARSE_TENSOR), note(a.floats_size(), AttributeProto::FLOATS);
  note(a.ints_size(), AttributeProto::INTS), note(a.strings_size(), AttributeProto::STRINGS),
      note(a.tensors_size(), AttributeProto::TENSORS);
  note(a.graphs_size(), AttributeProto::GRAPHS), note(a.type_protos_size(), AttributeProto::TYPE_PROTOS);
  note(a.sparse_tensors_size(), AttributeProto::SPARSE_TENSORS);
  if (const auto list = list_in_file(a)) {
    constexpr AttributeType kTypes[] = {AttributeProto::FLOATS, AttributeProto::INTS, AttributeProto::STRINGS};
    note(true, kTypes[list->field - 7]);
  }
  return found;
}

const std::string& type_name(AttributeType type) { return onnx::AttributeProto_AttributeType_Name(type); }

// Empty when the attribute holds exactly one value of the type expected.
std::string problem_of(const AttributeProto& attribute, AttributeType expected) {
  std::vector<AttributeType> values = values_in(attribute);
  if (values.size() > 1) return fmt::format("holds two values ({} and {})", type_name(values[0]), type_name(values[1]));
  AttributeType declared = attribute.type();
  if (declared == AttributeProto::UNDEFINED && !values.empty()) declared = values[0];
  if (declared != expected && declared != AttributeProto::UNDEFINED)
    return fmt::format("expected {}, got {}", type_name(expected), type_name(declared));
  if (values.empty() && declared == AttributeProto::UNDEFINED && expected < AttributeProto::FLOATS)
    return "holds no value";
  if (!values.empty() && values[0] != expected)
    return fmt::format("declared {}, holds {}", type_name(expected), type_name(values[0]));
  return "";
}

// --- element types ---------------------------------------------------------------------------------------------------

class NodeCheck {
 public:
  NodeCheck(const NodeProto& node, const OpSchema& schema, int opset, Report& report)
      : node_(node), schema_(schema), opset_(opset), report_(report) {}

  bool run(const Attributes& attributes, std::span<const Binding> inputs) {
    arity("input", node_.input(), schema_.inputs(), schema_.min_input(), schema_.max_input());
    arity("output", node_.output(), schema_.outputs(), schema_.min_output(), schema_.max_output());
    check_attributes(attributes);
    if (good_) element_types(inputs);
    return good_;
  }

 private:
  using Parameters = std::vector<OpSchema::FormalParameter>;
  template <typename Names>
  void arity(const char* what, const Names& names, const Parameters& parameters, int least, int most);
  void check_attributes(const Attributes&);
  void element_types(std::span<const Binding> inputs);
  static const OpSchema::FormalParameter& parameter(const Parameters& all, int index) {
    return all[std::min<size_t>(index, all.size() - 1)];
  }

  void problem(const std::string& what) {
    report_.error(node_, opset_, what);
    good_ = false;
  }

  const NodeProto& node_;
  const OpSchema& schema_;
  int opset_;
  Report& report_;
  bool good_ = true;
};

template <typename Names>
void NodeCheck::arity(const char* what, const Names& names, const Parameters& parameters, int least, int most) {
  int count = names.size();
  while (count > 0 && names.Get(count - 1).empty()) --count;  // trailing ones left out
  if (count < least || count > most) {
    std::string range = least == most     ? std::to_string(least)
                        : most == INT_MAX ? fmt::format("{} or more", least)
                                          : fmt::format("{} to {}", least, most);
    return problem(fmt::format("takes {} {}{}, got {}", range, what, range == "1" ? "" : "s", count));
  }
  if (std::string_view(what) != "input") return;
  for (int i = 0; i < count; ++i) {
    const auto& formal = parameter(parameters, i);
    if (names.Get(i).empty() && formal.GetOption() == OpSchema::Single)
      problem(fmt::format("input {} ({}) is required", i, formal.GetName()));
  }
}

void NodeCheck::check_attributes(const Attributes& attributes) {
  const auto& declared = schema_.attributes();
  std::vector<std::string_view> seen;
  for (const AttributeProto& attribute : node_.attribute()) {
    if (std::find(seen.begin(), seen.end(), attribute.name()) != seen.end())
      problem(fmt::format("attribute '{}' is given twice", printable(attribute.name())));
    seen.push_back(attribute.name());
  }
  for (const auto& [name, attribute] : attributes) {
    auto found = declared.find(std::string(name));
    if (found == declared.end()) {
      problem(fmt::format("attribute '{}' is not allowed", printable(name)));
    } else if (std::string what = problem_of(*attribute, found->second.type); !what.empty()) {
      problem(fmt::format("attribute '{}': {}", printable(name), what));
    }
  }
  for (const auto& [name, attribute] : declared) {
    if (attribute.required && !attributes.contains(name)) problem(fmt::format("attribute '{}' is missing", name));
  }
}

bool takes(const OpSchema::FormalParameter& formal, const Binding& operand) {
  return std::ranges::any_of(formal.GetTypes(), [&](const std::string* type) {
    return operand.exists() ? *type == schema_name(operand) : type->starts_with("optional(");
  });
}

std::string element_name(const Binding& operand) {
  return operand.value && !operand.optional ? std::string(name_of(operand.value->type.dtype)) : to_string(operand);
}

void NodeCheck::element_types(std::span<const Binding> inputs) {
  std::map<std::string, size_t> bound;  // type variable → the input that fixed it
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].left_out() || schema_.inputs().empty()) continue;
    const auto& formal = parameter(schema_.inputs(), static_cast<int>(i));
    if (!takes(formal, inputs[i])) {
      problem(fmt::format("input {} ({}) cannot be {}", i, formal.GetName(), element_name(inputs[i])));
      continue;
    }
    if (!formal.GetIsHomogeneous() || formal.GetTypeStr().find('(') != std::string::npos || !inputs[i].exists())
      continue;
    const size_t first = bound.emplace(formal.GetTypeStr(), i).first->second;
    if (schema_name(inputs[first]) != schema_name(inputs[i])) {
      problem(fmt::format("inputs {} and {} must have one element type, got {} and {}", first, i,
                          element_name(inputs[first]), element_name(inputs[i])));
    }
  }
}

}  // namespace

const char* schema_name(DType dtype) {
  switch (dtype) {
    case DType::F32:
      return "tensor(float)";
    case DType::U8:
      return "tensor(uint8)";
    case DType::I8:
      return "tensor(int8)";
    case DType::U16:
      return "tensor(uint16)";
    case DType::I16:
      return "tensor(int16)";
    case DType::I32:
      return "tensor(int32)";
    case DType::I64:
      return "tensor(int64)";
    case DType::String:
      return "tensor(string)";
    case DType::Bool:
      return "tensor(bool)";
    case DType::F16:
      return "tensor(float16)";
    case DType::F64:
      return "tensor(double)";
    case DType::U32:
      return "tensor(uint32)";
    case DType::U64:
      return "tensor(uint64)";
    case DType::C64:
      return "tensor(complex64)";
    case DType::C128:
      return "tensor(complex128)";
    case DType::BF16:
      return "tensor(bfloat16)";
    case DType::F8E4M3FN:
      return "tensor(float8e4m3fn)";
    case DType::F8E4M3FNUZ:
      return "tensor(float8e4m3fnuz)";
    case DType::F8E5M2:
      return "tensor(float8e5m2)";
    case DType::F8E5M2FNUZ:
      return "tensor(float8e5m2fnuz)";
    case DType::U4:
      return "tensor(uint4)";
    case DType::I4:
      return "tensor(int4)";
    case DType::F4E2M1:
      return "tensor(float4e2m1)";
    case DType::F8E8M0:
      return "tensor(float8e8m0)";
    case DType::U2:
      return "tensor(uint2)";
    case DType::I2:
      return "tensor(int2)";
    case DType::Undefined:
      return "undefined";
  }
  LPD_UNREACHABLE();
}

std::string schema_name(const Binding& binding) {
  std::string name = binding.sequence ? fmt::format("seq({})", schema_name(binding.sequence->dtype))
                     : binding.value  ? schema_name(binding.value->type.dtype)
                                      : "";
  return binding.optional ? fmt::format("optional({})", name) : name;
}

Opsets::Opsets(const google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto>& imports, Report& report) {
  for (const auto& import : imports) {
    std::string domain(canonical_domain(import.domain()));
    auto range = known_domains().find(domain);
    if (range != known_domains().end() && (import.version() < 1 || import.version() > range->second.second)) {
      report.error(fmt::format("opset {} of {} (supported 1 to {})", import.version(), domain_name(domain),
                               range->second.second));
      continue;
    }
    int version = static_cast<int>(std::clamp<int64_t>(import.version(), 1, INT_MAX));
    auto [found, fresh] = versions_.emplace(domain, version);
    if (!fresh && found->second != version)
      report.error(fmt::format("domain '{}' is imported as {} and {}", domain_name(domain), found->second, version));
  }
}

int Opsets::version(std::string_view domain) const {
  auto found = versions_.find(canonical_domain(domain));
  return found == versions_.end() ? 0 : found->second;
}

const OpSchema* find_schema(const NodeProto& node, const Opsets& opsets, Report& report) {
  std::string domain(canonical_domain(node.domain()));
  int opset = opsets.version(domain);
  auto complain = [&](const std::string& what, Fault fault = Fault::Input) {
    report.error(node, opset, what, fault);
    return nullptr;
  };
  if (domain != kMicrosoft && !known_domains().contains(domain))
    return complain(fmt::format("unknown domain '{}', and the model has no such function", printable(domain)));
  if (opset == 0) return complain(fmt::format("no opset_import for domain '{}'", domain_name(domain)));
  if (domain == kMicrosoft) {
    const OpSchema* schema = microsoft_schema(node.op_type());
    return schema ? schema
                  : complain(fmt::format("operator com.microsoft.{} is not supported yet", printable(node.op_type())),
                             Fault::Unsupported);
  }
  const OpSchema* schema = onnx::OpSchemaRegistry::Schema(node.op_type(), opset, domain);
  constexpr std::string_view kAdopted[] = {"LayerNormalization", "SimplifiedLayerNormalization"};
  if (!schema && domain.empty() && std::ranges::find(kAdopted, node.op_type()) != std::end(kAdopted))
    return microsoft_schema(node.op_type());  // ONNX Runtime's, which it writes with ONNX's domain
  if (!schema) {
    return complain(fmt::format("no operator '{}' in {} opset {}{}", printable(node.op_type()), domain_name(domain),
                                opset, did_you_mean(node.op_type(), domain, opset)));
  }
  if (schema->Deprecated())
    return complain(fmt::format("{} was removed in opset {}", node.op_type(), schema->SinceVersion()));
  return schema;
}

bool check_node(const NodeProto& node, const OpSchema& schema, int opset, const Attributes& attributes,
                std::span<const Binding> inputs, Report& report) {
  return NodeCheck(node, schema, opset, report).run(attributes, inputs);
}

bool check_operands(const NodeProto& node, const OpSchema& schema, int opset, std::span<const Binding> inputs,
                    Report& report) {
  const bool may_have_gaps =  // variadic ones: those of control flow are checked there
      schema.domain() == kMicrosoft || schema.Name() == "Loop" || schema.Name() == "Scan";
  for (size_t i = 0; i < static_cast<size_t>(node.input_size()); ++i) {
    if ((i < inputs.size() && !inputs[i].left_out()) || schema.inputs().empty()) continue;
    const auto& formal = schema.inputs()[std::min(i, schema.inputs().size() - 1)];
    const bool trailing =
        i >= inputs.size() && formal.GetOption() == OpSchema::Variadic && node.input(static_cast<int>(i)).empty();
    if (formal.GetOption() == OpSchema::Optional || trailing) continue;
    if (formal.GetOption() == OpSchema::Variadic && may_have_gaps) continue;
    report.error(node, opset, fmt::format("input {} ({}) is left out", i, formal.GetName()));
    return false;
  }
  return true;
}

}  // namespace lapidary::frontend
