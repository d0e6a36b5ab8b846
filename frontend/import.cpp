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

#include "frontend/control_flow.h"
#include "frontend/mapped_file.h"
#include "frontend/op_table.h"
#include "frontend/refresh_dims.h"
#include "frontend/wire_scan.h"

namespace lapidary::frontend {
namespace {

constexpr int kOldestIr = 3, kNewestIr = onnx::Version::IR_VERSION;
}  // namespace

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

// Before version 4 of the IR every initializer had to be an input too.
void Importer::note_defaults(const GraphProto& graph, const Scope& scope) {
  std::vector<std::string> names;
  for (const auto& input : graph.input())
    if (scope.initializers.contains(input.name())) names.push_back(fmt::format("'{}'", printable(input.name())));
  if (model_.ir_version() < 4 || names.empty()) return;
  constexpr size_t kShown = 3;
  const bool more = names.size() > kShown;
  const size_t count = names.size();
  names.resize(std::min(count, kShown));
  report_.warning(fmt::format("{} with a default value, {} compiled in as that constant: {}{}", counted(count, "input"),
                              count == 1 ? "is" : "are", fmt::join(names, ", "), more ? ", …" : ""));
}

// An input with an initializer of the same name has a default value; we take it as the constant it nearly always is.
// A sequence is as many inputs as it has parts, an optional without an element none.
void Importer::declare_inputs(const GraphProto& graph, Function& function, Scope& scope) {
  std::vector<DeclaredInput> inputs;
  if (module_->functions.size() == 1) note_defaults(graph, scope);  // of the first function
  for (const auto& input : graph.input())
    if (!scope.initializers.contains(input.name()) && !scope.values.contains(input.name()))
      inputs.push_back(signature_.declare(input));
  for (const DeclaredInput& input : inputs)
    for (const auto& tensor : input.tensors) signature_.collect(tensor);
  signature_.finish_collecting();
  std::set<std::string> names;
  for (const DeclaredInput& input : inputs) {
    std::vector<Value*> values;
    bool failed = input.failed;
    for (const auto& tensor : input.tensors) {
      if (!names.insert(tensor.name()).second && !report_.failed())
        report_.error(fmt::format("two inputs are named '{}'", printable(tensor.name())));
      const Type type = signature_.type_of(tensor);
      failed |= type.is_error();
      values.push_back(failed ? nullptr : add_argument(*module_, *function.body, type));
      function.argument_names.push_back(tensor.name());
    }
    Binding& binding = scope.values[input.name];
    if (input.sequence && !failed) {
      Sequence sequence{input.dtype};
      for (Value* part : values) sequence.runs.push_back({part});
      binding = sequence;
    } else if (!values.empty()) {
      binding = values[0];
    }
    binding.optional = input.optional;
    binding.failed = failed;
  }
  for (const auto& [name, id] : scope.initializers) {
    const Constant& constant = module_->constants[id];
    Shape shape;
    for (int64_t extent : constant.shape) shape.push_back(module_->dims.constant(extent));
    auto declared = scope.declared.find(name);
    if (declared != scope.declared.end()) signature_.compare(*declared->second, Type::tensor(constant.dtype, shape));
  }
}

// What inputs are, outputs are: a sequence its parts, an optional what it has.
void Importer::yield_results(Function& function, const Body& body, const Bindings& results, GraphBuilder& build) {
  std::vector<Value*> values;
  std::set<std::string> names;
  auto add = [&](std::string name, Value* value) {
    if (!names.insert(name).second) report_.error(fmt::format("two outputs are named '{}'", printable(name)));
    function.result_names.push_back(std::move(name));
    values.push_back(value);
  };
  build.origin = 0;
  for (size_t i = 0; i < results.size(); ++i) {
    const std::string name(body.outputs[i]);
    if (results[i].value) add(name, results[i].value);
    if (!results[i].sequence) continue;
    try {
      const std::vector<Value*> parts = parts_of(build, *results[i].sequence);
      for (size_t k = 0; k < parts.size(); ++k) add(part_name(name, k), parts[k]);
    } catch (const Error& error) {
      if (error.fault == Fault::Internal) throw;
      report_.error(fmt::format("output '{}': {}", printable(name), error.what()), error.fault);
    }
  }
  build.yield(values);
}

void Importer::import_function(const std::string& name, const GraphProto& graph, const Opsets& opsets,
                               TrainingMode* training, const Updates* updates) {
  training_ = training;
  Function& function = module_->add_function(name);
  RegionWriter writer(*module_, *function.body);
  Scope scope{writer};
  load_initializers(graph, scope);
  for (const auto& input : graph.input()) scope.declared[input.name()] = &input;
  declare_inputs(graph, function, scope);
  if (report_.failed()) return;  // names are not to be trusted
  if (training) declare_states(graph, opsets, function, scope);

  Body body = Body::of(graph);
  import_body(body, scope, Frame{opsets, {}, "", 0});
  if (updates) std::erase_if(body.outputs, [&](std::string_view output) { return updates->gives(output); });
  const Bindings results = results_of(body, scope);
  const std::vector<StateResult> states = updates ? updated_states(*updates, scope) : moved_states(function);
  sum_up_missing();
  if (!report_.failed()) yield_results(function, body, results, writer.build);
  if (!report_.failed() && (training || updates)) yield_states(function, states, *module_);
}

std::unique_ptr<Module> Importer::run(const std::string& name) {
  if (!check_versions()) return nullptr;
  Opsets opsets(model_.opset_import(), report_);
  structure_ = check_structure(model_, report_);
  module_->name = name;
  if (options_.training) find_statistics();
  if (options_.training && options_.training_info && model_.training_info_size() > 0) {
    import_training_info(opsets);
  } else if (options_.training) {
    if (model_.training_info_size() > 0) report_.warning("training_info is left aside");
    TrainingMode inference, training{.trains = true, .seed = options_.seed};
    import_function("run", model_.graph(), opsets, &inference);
    if (!report_.failed()) import_function("train_step", model_.graph(), opsets, &training);
    if (training.frozen_norms > 0)
      report_.warning(fmt::format("{} exported for inference: statistics stay as they are, scale and bias are trained",
                                  counted(training.frozen_norms, "batch normalisation")));
  } else {
    import_function("run", model_.graph(), opsets, nullptr);
  }
  if (report_.failed()) return nullptr;
  refresh_dims(*module_);
  return std::move(module_);
}

// --- bodies --------------------------------------------------------------------------------------------------------

std::optional<ConstantId> Importer::find_initializer(std::string_view name, const Scope& innermost) const {
  for (const Scope* scope = &innermost; scope; scope = scope->outer) {
    if (auto constant = scope->initializers.find(name); constant != scope->initializers.end()) return constant->second;
    if (scope->values.contains(name)) return std::nullopt;
  }
  return std::nullopt;
}

// A tensor of the region around as one of this region: constants and integers known there, by the host too, are written
// again, all else is handed in as an argument.
Value* Importer::inside(RegionWriter& writer, Value* outside) {
  GraphBuilder& build = writer.build;
  if (outside->producer && outside->producer->is(OpKind::Constant))
    return build.constant(outside->producer->params.constant("value"));
  const Value* known = outside;
  for (const Use& use : outside->uses)
    if (use.op->is(OpKind::ToHost)) known = use.op->result();
  if (!known->elements.empty()) {
    std::vector<int64_t> shape;
    for (Dim extent : outside->type.shape) shape.push_back(*value_of(extent));
    return build.dims_tensor(known->elements, shape, outside->type.dtype);
  }
  for (size_t i = 0; i < writer.captures.size(); ++i)
    if (writer.captures[i] == outside) return writer.arguments[i];
  Value* argument = add_argument(build.module, build.region, outside->type);
  writer.captures.push_back(outside);
  writer.arguments.push_back(argument);
  return argument;
}

// An initializer becomes a constant in every region that uses it, so that each sees it as such.
Binding Importer::find(std::string_view name, Scope& scope) {
  if (auto found = scope.values.find(name); found != scope.values.end()) return found->second;
  if (auto constant = find_initializer(name, scope)) {
    scope.writer.build.origin = 0;
    return scope.values[name] = {scope.writer.build.constant(*constant), false};
  }
  LPD_CHECK(scope.outer, "name '{}' passed the structure check", printable(name));
  const Binding found = find(name, *scope.outer);
  if (&scope.outer->writer == &scope.writer || !found.exists()) return found;
  return scope.values[name] = with_tensors(found, [&](Value* outside) {
           scope.writer.build.origin = outside->producer ? outside->producer->origin : 0;
           return inside(scope.writer, outside);
         });
}

void Importer::import_body(const Body& body, Scope& scope, const Frame& frame) {
  if (body.graph) {
    for (const auto& info : body.graph->value_info()) scope.declared[info.name()] = &info;
    for (const auto& info : body.graph->output()) scope.declared[info.name()] = &info;
  }
  for (int index : structure_.order_of(body)) import_node(body.nodes->Get(index), scope, frame);
}

Importer::Bindings Importer::results_of(const Body& body, Scope& scope) {
  Bindings results;
  for (std::string_view name : body.outputs) results.push_back(find(name, scope));
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

namespace {

bool is_flex_attention(const OpSchema& schema) {
  return schema.domain() == "ai.onnx.preview" && schema.Name() == "FlexAttention";
}

const FunctionProto* body_of(const OpSchema& schema, int opset) {
  return schema.HasFunction() ? schema.GetFunction(opset) : nullptr;
}

}  // namespace

bool needs_scope(const OpSchema& schema) {
  constexpr std::string_view kNames[] = {"If", "Loop", "Scan", "SequenceMap"};
  return (schema.domain().empty() && std::ranges::find(kNames, schema.Name()) != std::end(kNames)) ||
         is_flex_attention(schema) || is_gradient(schema.domain(), schema.Name());
}

void Importer::note_missing(const NodeProto& node, const OpSchema* schema, int opset) {
  if (!schema) {
    if (node.domain() == "com.microsoft") ++missing_["com.microsoft." + printable(node.op_type())];
  } else if (!needs_scope(*schema) && !find_importer(schema->domain(), schema->Name()) && !body_of(*schema, opset)) {
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
  Bindings inputs;
  for (const std::string& name : node.input()) {
    inputs.push_back(name.empty() ? Binding() : find(name, scope));
    failed |= inputs.back().failed;
  }
  while (!inputs.empty() && inputs.back().left_out()) inputs.pop_back();
  Attributes attributes = resolve(node, frame);
  if (schema && !check_node(node, *schema, opset, attributes, inputs, report_)) failed = true;
  if (schema && !failed && !check_operands(node, *schema, opset, inputs, report_)) failed = true;

  Bindings results;
  if (!failed) {
    Origin origin = module_->add_origin({frame.prefix + label_of(node), node.op_type(), opset});
    scope.writer.build.origin = origin;
    const size_t known_checks = module_->checks.size();
    try {
      results = function
                    ? call(*function, node, attributes, inputs,
                           function_opsets_.try_emplace(function, function->opset_import(), report_).first->second,
                           scope, frame)
                    : import_operator(node, *schema, opset, std::move(attributes), std::move(inputs), scope, frame);
      name_checks(known_checks, origin);
    } catch (const Error& error) {
      if (error.fault == Fault::Internal) throw;
      report_.error(module_->describe(origin) + ": " + error.what(), error.fault);
      failed = true;
    } catch (const Reported&) { failed = true; }
  }
  for (int i = 0; i < node.output_size(); ++i) {
    const std::string& name = node.output(i);
    if (name.empty()) continue;
    Binding result = i < static_cast<int>(results.size()) ? results[i] : Binding();
    result.failed = result.left_out();
    if (!failed && result.failed) report_.error(node, opset, fmt::format("output {}", i), Fault::Unsupported);
    auto declared = scope.declared.find(name);
    if (result.value && declared != scope.declared.end()) signature_.compare(*declared->second, result.value->type);
    scope.values[name] = std::move(result);
  }
}

// What a node left to be checked at run time names it; what nodes inside of it left names them already.
void Importer::name_checks(size_t first, Origin origin) {
  for (size_t i = first; i < module_->checks.size(); ++i) {
    std::string& message = module_->checks[i].message;
    if (!message.starts_with("node '")) message = module_->describe(origin) + ": " + message;
  }
}

Importer::Bindings Importer::import_operator(const NodeProto& proto, const OpSchema& schema, int opset,
                                             Attributes attributes, Bindings inputs, Scope& scope, const Frame& frame) {
  if (needs_scope(schema) && !is_flex_attention(schema)) {
    if (schema.Name() == "If") return import_if(proto, attributes, inputs[0].value, scope, frame);
    if (schema.Name() == "Loop") return import_loop(proto, attributes, inputs, scope, frame);
    if (schema.Name() == "Gradient") return import_gradient(proto, attributes, inputs, scope);
    if (schema.Name() == "Scan") return import_scan(proto, opset, attributes, inputs, scope, frame);
    return import_sequence_map(proto, attributes, inputs, scope, frame);
  }
  const OpEntry* entry = find_importer(schema.domain(), schema.Name());
  if (entry || is_flex_attention(schema)) {
    Node node(scope.writer.build, proto, schema, attributes, std::move(inputs), tensors_);
    Bindings results = import_node_of(entry, node, attributes, scope, frame);
    for (const std::string& warning : node.warnings)
      report_.warning(module_->describe(scope.writer.build.origin) + ": " + warning);
    return results;
  }
  const FunctionProto* body = body_of(schema, opset);
  if (!body) unsupported("operator {} is not supported yet", schema.Name());
  for (const auto& [name, attribute] : schema.attributes()) {
    if (attribute.default_value.has_name()) attributes.emplace(name, &attribute.default_value);
  }
  return call(*body, proto, attributes, inputs, frame.opsets, scope, frame);
}

// In training, random numbers differ by the step; and what a state becomes must be known where the function ends.
Importer::Bindings Importer::import_node_of(const OpEntry* entry, Node& node, const Attributes& attributes,
                                            Scope& scope, const Frame& frame) {
  node.training = training_;
  const bool draws = entry && std::ranges::find(random_ops(), entry->name, &OpEntry::name) != random_ops().end();
  const auto next = training_ ? training_->next : decltype(TrainingMode::next)();
  if (training_) training_->step = draws ? step_in(scope.writer) : nullptr;
  Bindings results = entry ? entry->import(node) : import_flex_attention(node, attributes, scope, frame);
  if (training_ && scope.writer.outer && training_->next != next) {
    training_->next = next;
    unsupported("training_mode in the graph of another node, where running statistics cannot move");
  }
  return results;
}

// --- bodies inside nodes -------------------------------------------------------------------------------------------

Importer::Bindings Importer::call(const FunctionProto& function, const NodeProto& node, const Attributes& given,
                                  const Bindings& inputs, const Opsets& opsets, Scope& around, const Frame& outer) {
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
  Scope scope{around.writer};
  for (int i = 0; i < function.input_size(); ++i)
    scope.values[function.input(i)] = i < static_cast<int>(inputs.size()) ? inputs[i] : Binding();
  Body body = Body::of(function);
  Frame frame{opsets, std::move(attributes), fmt::format("{}{}/", outer.prefix, label_of(node)), outer.depth + 1};
  report_.set_call(frame.prefix);
  import_body(body, scope, frame);
  report_.set_call(outer.prefix);
  Bindings results;
  for (int i = 0; i < node.output_size(); ++i) {
    results.push_back(find(body.outputs[i], scope));
    if (results.back().failed) throw Reported{};
  }
  return results;
}

namespace {

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
