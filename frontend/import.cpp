// The importer's one walk: file → wire scan → messages → structure → every node in order of use through the operator
// functions of ops/. A node that fails is reported, its results are marked failed, and what uses those stays silent,
// so that one run shows every separate problem. Local functions, and operators we have no function for but whose
// schema has a body, are imported in place under a prefix of the call's name: no graph is rewritten.
#include "frontend/import.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <onnx/defs/parser.h>

#include <algorithm>
#include <filesystem>

#include "frontend/mapped_file.h"
#include "frontend/op_table.h"
#include "frontend/refresh_dims.h"
#include "frontend/schema_check.h"
#include "frontend/signature.h"
#include "frontend/structure.h"
#include "frontend/wire_scan.h"

namespace lapidary::frontend {
namespace {

constexpr int kOldestIr = 3, kNewestIr = onnx::Version::IR_VERSION;
constexpr int kMaxBodyDepth = 100;  // of operators' own bodies within each other

// What a name stands for: a value, nothing because an optional operand was left out, or nothing because of a failure.
struct Binding {
  Value* value = nullptr;
  bool failed = false;
};

// The names of one body. Function bodies see no outer scope; graphs inside nodes do.
struct Scope {
  Scope* outer = nullptr;
  std::unordered_map<std::string_view, Binding> values;
  std::unordered_map<std::string_view, ConstantId> initializers;  // not used so far
  std::unordered_map<std::string_view, const onnx::ValueInfoProto*> declared;
};

// What is the same throughout a body and the graphs inside it.
struct Frame {
  const Opsets& opsets;
  Attributes attributes;  // of the call, when the body is a function's
  std::string prefix;     // of node names: "call/"
  int depth = 0;
};

class Importer {
 public:
  Importer(const ModelProto& model, const ImportOptions& options, TensorReader tensors, Report& report)
      : model_(model),
        options_(options),
        tensors_(std::move(tensors)),
        report_(report),
        module_(std::make_unique<Module>()),
        signature_(module_->dims, options, report) {}

  std::unique_ptr<Module> run(const std::string& name);

 private:
  bool check_versions() const;
  void declare_inputs(Function&, Scope&);
  void load_initializers(const GraphProto&, Scope&);
  Binding find(std::string_view name, Scope&);

  void import_body(const Body&, Scope&, const Frame&);
  void import_node(const NodeProto&, Scope&, const Frame&);
  std::vector<Value*> import_operator(const NodeProto&, const OpSchema&, int opset, Attributes,
                                      std::vector<Value*> inputs, Scope&, const Frame&);
  std::vector<Value*> import_if(const NodeProto&, const Attributes&, Value* condition, Scope&, const Frame&);
  std::vector<Value*> call(const FunctionProto&, const NodeProto&, const Attributes&, const std::vector<Value*>& inputs,
                           const Opsets&, const Frame&);
  static Attributes resolve(const NodeProto&, const Frame&);
  std::vector<Value*> results_of(const Body&, Scope&);
  void note_missing(const NodeProto&, const OpSchema*, int opset);
  void sum_up_missing();

  const ModelProto& model_;
  const ImportOptions& options_;
  TensorReader tensors_;
  Report& report_;
  std::unique_ptr<Module> module_;
  Signature signature_;
  Structure structure_;
  std::map<const FunctionProto*, Opsets> function_opsets_;
  std::map<std::string, int>
      missing_;  // operators we have no importer for, also where a failure before them hides them
  std::optional<GraphBuilder> build_;
};

// Thrown inside import_operator when the reason has been reported already, somewhere deeper.
struct Reported {};

// --- the model -----------------------------------------------------------------------------------------------------

bool Importer::check_versions() const {
  if (!model_.has_graph()) report_.error("model has no graph");
  if (model_.ir_version() < kOldestIr || model_.ir_version() > kNewestIr) {
    report_.error(fmt::format("ir_version {} (supported {} to {})", model_.ir_version(), kOldestIr, kNewestIr));
  }
  return model_.has_graph();
}

void Importer::load_initializers(const GraphProto& graph, Scope& scope) {
  auto load = [&](const std::string& name, auto read) {
    try {
      scope.initializers.emplace(name, read());
    } catch (const Error& error) {
      report_.error(fmt::format("initializer '{}': {}", printable(name), error.what()), error.fault);
      scope.values[name] = {nullptr, true};
    }
  };
  for (const TensorProto& tensor : graph.initializer())
    load(tensor.name(), [&] { return tensors_.read(tensor, module_->constants); });
  for (const auto& sparse : graph.sparse_initializer())
    load(sparse.values().name(), [&] { return tensors_.read_sparse(sparse, module_->constants); });
}

// An input with an initializer of the same name has a default value; we take it as the constant it nearly always is.
void Importer::declare_inputs(Function& function, Scope& scope) {
  auto is_input = [&](const onnx::ValueInfoProto& input) {
    return !scope.initializers.contains(input.name()) && !scope.values.contains(input.name());
  };
  for (const auto& input : model_.graph().input()) {
    if (is_input(input)) signature_.collect(input);
  }
  signature_.finish_collecting();
  for (const auto& input : model_.graph().input()) {
    if (!is_input(input)) continue;
    Type type = signature_.type_of(input);
    bool failed = type.is_error();
    Value* value = failed ? nullptr : add_argument(*module_, *function.body, type);
    scope.values[input.name()] = {value, failed};
    function.argument_names.push_back(input.name());
  }
  for (const auto& [name, id] : scope.initializers) {
    const Constant& constant = module_->constants[id];
    Shape shape;
    for (int64_t extent : constant.shape) shape.push_back(module_->dims.constant(extent));
    auto declared = scope.declared.find(name);
    if (declared != scope.declared.end()) signature_.compare(*declared->second, Type::tensor(constant.dtype, shape));
  }
}

std::unique_ptr<Module> Importer::run(const std::string& name) {
  if (!check_versions()) return nullptr;
  Opsets opsets(model_.opset_import(), report_);
  structure_ = check_structure(model_, report_);
  Scope scope;
  load_initializers(model_.graph(), scope);
  for (const auto& input : model_.graph().input()) scope.declared[input.name()] = &input;
  module_->name = name;
  Function& function = module_->add_function("run");
  declare_inputs(function, scope);
  if (report_.failed()) return nullptr;  // names are not to be trusted

  build_.emplace(*module_, *function.body);
  Body body = Body::of(model_.graph());
  import_body(body, scope, Frame{opsets, {}, "", 0});
  std::vector<Value*> results = results_of(body, scope);
  sum_up_missing();
  if (report_.failed()) return nullptr;
  function.result_names.assign(body.outputs.begin(), body.outputs.end());
  build_->yield(results);
  refresh_dims(*module_);
  return std::move(module_);
}

// --- bodies --------------------------------------------------------------------------------------------------------

Binding Importer::find(std::string_view name, Scope& innermost) {
  for (Scope* scope = &innermost; scope; scope = scope->outer) {
    if (auto found = scope->values.find(name); found != scope->values.end()) return found->second;
    auto constant = scope->initializers.find(name);
    if (constant == scope->initializers.end()) continue;
    build_->origin = 0;
    return scope->values[name] = {build_->constant(constant->second), false};
  }
  LPD_UNREACHABLE("name '{}' passed the structure check", printable(name));
}

void Importer::import_body(const Body& body, Scope& scope, const Frame& frame) {
  if (body.graph) {
    for (const auto& info : body.graph->value_info()) scope.declared[info.name()] = &info;
    for (const auto& info : body.graph->output()) scope.declared[info.name()] = &info;
  }
  for (int index : structure_.order_of(body)) import_node(body.nodes->Get(index), scope, frame);
}

std::vector<Value*> Importer::results_of(const Body& body, Scope& scope) {
  std::vector<Value*> results;
  for (std::string_view name : body.outputs) results.push_back(find(name, scope).value);
  return results;
}

// References to attributes of the call around are followed; those the call does not give are left out.
Attributes Importer::resolve(const NodeProto& node, const Frame& frame) {
  Attributes attributes;
  for (const AttributeProto& attribute : node.attribute()) {
    const AttributeProto* given = &attribute;
    if (!attribute.ref_attr_name().empty()) {
      auto found = frame.attributes.find(attribute.ref_attr_name());
      given = found == frame.attributes.end() ? nullptr : found->second;
    }
    if (given) attributes[attribute.name()] = given;
  }
  return attributes;
}

const FunctionProto* body_of(const OpSchema& schema, int opset) {
  return schema.HasFunction() ? schema.GetFunction(opset) : nullptr;
}

void Importer::note_missing(const NodeProto& node, const OpSchema* schema, int opset) {
  if (!schema) {
    if (node.domain() == "com.microsoft") ++missing_["com.microsoft." + printable(node.op_type())];
  } else if (schema->Name() != "If" && !find_importer(schema->domain(), schema->Name()) && !body_of(*schema, opset)) {
    ++missing_[schema->Name()];
  }
}

// The last line about a model that several nodes keep from compiling: what it would take.
void Importer::sum_up_missing() {
  int nodes = 0;
  std::string all;
  for (const auto& [name, count] : missing_) {
    nodes += count;
    all += fmt::format("{}{} ({})", all.empty() ? "" : ", ", name, counted(count, "node"));
  }
  if (nodes > 1) report_.error("operators not supported yet: " + all, Fault::Unsupported);
}

void Importer::import_node(const NodeProto& node, Scope& scope, const Frame& frame) {
  const FunctionProto* function = structure_.function(node);
  const OpSchema* schema = function ? nullptr : find_schema(node, frame.opsets, report_);
  int opset = frame.opsets.version(node.domain());
  bool failed = !function && !schema;
  if (!function) note_missing(node, schema, opset);
  std::vector<Value*> inputs;
  for (const std::string& name : node.input()) {
    Binding binding = name.empty() ? Binding{} : find(name, scope);
    failed |= binding.failed;
    inputs.push_back(binding.value);
  }
  while (!inputs.empty() && !inputs.back()) inputs.pop_back();
  Attributes attributes = resolve(node, frame);
  if (schema && !check_node(node, *schema, opset, attributes, inputs, report_)) failed = true;

  std::vector<Value*> results;
  if (!failed) {
    Origin origin = module_->add_origin({frame.prefix + label_of(node), node.op_type(), opset});
    build_->origin = origin;
    try {
      results =
          function
              ? call(*function, node, attributes, inputs,
                     function_opsets_.try_emplace(function, function->opset_import(), report_).first->second, frame)
              : import_operator(node, *schema, opset, std::move(attributes), std::move(inputs), scope, frame);
    } catch (const Error& error) {
      if (error.fault == Fault::Internal) throw;
      report_.error(module_->describe(origin) + ": " + error.what(), error.fault);
      failed = true;
    } catch (const Reported&) { failed = true; }
  }
  for (int i = 0; i < node.output_size(); ++i) {
    const std::string& name = node.output(i);
    if (name.empty()) continue;
    Value* value = i < static_cast<int>(results.size()) ? results[i] : nullptr;
    if (!failed && !value) report_.error(node, opset, fmt::format("output {}", i), Fault::Unsupported);
    scope.values[name] = {value, !value};
    auto declared = scope.declared.find(name);
    if (value && declared != scope.declared.end()) signature_.compare(*declared->second, value->type);
  }
}

std::vector<Value*> Importer::import_operator(const NodeProto& proto, const OpSchema& schema, int opset,
                                              Attributes attributes, std::vector<Value*> inputs, Scope& scope,
                                              const Frame& frame) {
  if (schema.domain().empty() && schema.Name() == "If") return import_if(proto, attributes, inputs[0], scope, frame);
  if (ImportFunction import = find_importer(schema.domain(), schema.Name())) {
    Node node(*build_, proto, schema, std::move(attributes), std::move(inputs), tensors_);
    return import(node);
  }
  const FunctionProto* body = body_of(schema, opset);
  if (!body) unsupported("operator {} is not supported yet", schema.Name());
  for (const auto& [name, attribute] : schema.attributes()) {
    if (attribute.default_value.has_name()) attributes.emplace(name, &attribute.default_value);
  }
  return call(*body, proto, attributes, inputs, frame.opsets, frame);
}

// --- bodies inside nodes -------------------------------------------------------------------------------------------

std::vector<Value*> Importer::import_if(const NodeProto& node, const Attributes& attributes, Value* condition,
                                        Scope& scope, const Frame& frame) {
  for (const char* name : {"then_branch", "else_branch"}) {
    const GraphProto& branch = attributes.at(name)->g();
    if (branch.input_size() > 0) fail("{} takes {}, expected none", name, counted(branch.input_size(), "input"));
    if (branch.output_size() != node.output_size())
      fail("{} yields {}, the node has {}", name, counted(branch.output_size(), "value"),
           counted(node.output_size(), "output"));
  }
  std::optional<int64_t> known;
  if (condition->has_elements() && condition->elements.size() == 1) known = value_of(condition->elements[0]);
  if (!known) unsupported("If with a condition known only at run time");
  const GraphProto& graph = attributes.at(*known ? "then_branch" : "else_branch")->g();
  Body body = Body::of(graph);
  Scope inner{&scope, {}, {}, {}};
  load_initializers(graph, inner);
  import_body(body, inner, frame);
  std::vector<Value*> results = results_of(body, inner);
  if (std::find(results.begin(), results.end(), nullptr) != results.end()) throw Reported{};
  return results;
}

std::vector<Value*> Importer::call(const FunctionProto& function, const NodeProto& node, const Attributes& given,
                                   const std::vector<Value*>& inputs, const Opsets& opsets, const Frame& outer) {
  if (outer.depth >= kMaxBodyDepth) fail("bodies within bodies, more than {} deep", kMaxBodyDepth);
  if (static_cast<int>(inputs.size()) > function.input_size())
    fail("takes {}, got {}", counted(function.input_size(), "input"), inputs.size());
  if (node.output_size() > function.output_size())
    fail("has {}, {} are used", counted(function.output_size(), "output"), node.output_size());
  Attributes attributes = given;
  for (const AttributeProto& attribute : function.attribute_proto()) attributes.emplace(attribute.name(), &attribute);
  for (const std::string& name : function.attribute()) {
    if (!attributes.contains(name) && structure_.function(node) == &function)
      fail("attribute '{}' of the function is missing", printable(name));
  }
  Scope scope;
  for (int i = 0; i < function.input_size(); ++i)
    scope.values[function.input(i)] = {i < static_cast<int>(inputs.size()) ? inputs[i] : nullptr, false};
  Body body = Body::of(function);
  Frame frame{opsets, std::move(attributes), fmt::format("{}{}/", outer.prefix, label_of(node)), outer.depth + 1};
  report_.set_call(frame.prefix);
  import_body(body, scope, frame);
  report_.set_call(outer.prefix);
  std::vector<Value*> results;
  for (int i = 0; i < node.output_size(); ++i) {
    Binding result = find(body.outputs[i], scope);
    if (result.failed) throw Reported{};
    results.push_back(result.value);
  }
  return results;
}

// --- files ---------------------------------------------------------------------------------------------------------

std::unique_ptr<Module> import_bytes(ByteSource bytes, const std::string& folder, const std::string& name,
                                     const ImportOptions& options, Report& report) {
  std::string message = scan_model(bytes.bytes, options.max_nesting);
  ModelProto model;
  google::protobuf::io::ArrayInputStream stream(message.data(), static_cast<int>(message.size()));
  google::protobuf::io::CodedInputStream coded(&stream);
  coded.SetRecursionLimit(6 * options.max_nesting + 100);  // a graph in a node is four messages deep
  if (!model.ParseFromCodedStream(&coded)) throw Error(Fault::Input, "not an ONNX protobuf");
  message = {};
  return Importer(model, options, TensorReader(std::move(bytes), folder), report)
      .run(name.empty() ? model.graph().name() : name);
}

}  // namespace

std::unique_ptr<Module> import_model(const std::string& path, const ImportOptions& options, Diagnostics& diagnostics) {
  Report report(diagnostics, path);
  try {
    auto file = MappedFile::open(path);
    std::filesystem::path folder = std::filesystem::path(path).parent_path();
    return import_bytes({file, file->bytes()}, folder.empty() ? "." : folder.string(),
                        std::filesystem::path(path).stem().string(), options, report);
  } catch (const Error& error) {
    if (error.fault == Fault::Internal) throw;
    report.error(error.what(), error.fault);
    return nullptr;
  }
}

std::unique_ptr<Module> import_text(std::string_view text, const ImportOptions& options, Diagnostics& diagnostics) {
  Report report(diagnostics, "text");
  ModelProto model;
  onnx::Common::Status status = onnx::OnnxParser::Parse(model, text);
  if (!status.IsOK()) {
    report.error(status.ErrorMessage());
    return nullptr;
  }
  try {
    auto bytes = std::make_shared<std::string>(model.SerializeAsString());
    return import_bytes({bytes, std::as_bytes(std::span(*bytes))}, "", "", options, report);
  } catch (const Error& error) {
    if (error.fault == Fault::Internal) throw;
    report.error(error.what(), error.fault);
    return nullptr;
  }
}

}  // namespace lapidary::frontend
