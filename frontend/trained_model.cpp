#include "frontend/trained_model.h"

#include <algorithm>
#include <climits>
#include <filesystem>

#include "frontend/onnx_proto.h"
#include "frontend/tensors.h"
#include "ir/error.h"

namespace lapidary::frontend {

namespace {

bool is_external(const TensorProto& tensor) { return tensor.data_location() == TensorProto::EXTERNAL; }

// No data but these bytes.
void set_bytes(TensorProto& tensor, const void* data, size_t bytes) {
  tensor.clear_float_data(), tensor.clear_double_data(), tensor.clear_int32_data(), tensor.clear_int64_data();
  tensor.clear_uint64_data(), tensor.clear_external_data(), tensor.clear_data_location();
  tensor.set_raw_data(data, bytes);
}

void set_value(TensorProto& tensor, const NewValue& value) {
  const std::vector<int64_t> dims(tensor.dims().begin(), tensor.dims().end());
  LPD_CHECK(tensor.data_type() == static_cast<int>(value.dtype) && dims == value.dims,
            "initializer '{}' has another type or shape than its new value", value.name);
  set_bytes(tensor, value.bytes.data(), value.bytes.size());
}

void bring_inside(TensorProto& tensor, ExternalData& files) {
  const auto dtype = dtype_of(tensor.data_type());
  const auto bytes = dtype ? byte_size(*dtype, checked_elements(tensor.dims())) : std::nullopt;
  if (!bytes)
    throw Error(Fault::Unsupported,
                fmt::format("initializer '{}': data outside of the model", printable(tensor.name())));
  const ByteSource source = files.read(tensor, *bytes);
  set_bytes(tensor, source.bytes.data(), source.bytes.size());
}

// What is left outside would be looked for beside the new file.
void refuse_outside(const GraphProto& graph) {
  const auto refuse = [](const TensorProto& tensor, const std::string& node) {
    if (is_external(tensor))
      throw Error(Fault::Unsupported,
                  fmt::format("node '{}': a tensor in a file beside the model cannot be written", printable(node)));
  };
  for (const NodeProto& node : graph.node())
    for (const AttributeProto& attribute : node.attribute()) {
      if (attribute.has_t()) refuse(attribute.t(), node.name());
      for (const TensorProto& tensor : attribute.tensors()) refuse(tensor, node.name());
      if (!attribute.has_g()) continue;
      for (const TensorProto& tensor : attribute.g().initializer()) refuse(tensor, node.name());
      refuse_outside(attribute.g());
    }
}

std::string changed(const std::string& path, const std::vector<NewValue>& values) {
  const auto file = MappedFile::open(path);
  ModelProto model;
  if (file->bytes().size() > INT_MAX) throw Error(Fault::Unsupported, "models of 2 GiB or more cannot be written");
  if (!model.ParseFromArray(file->bytes().data(), static_cast<int>(file->bytes().size())))
    throw Error(Fault::Input, "not an ONNX protobuf");
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  ExternalData files(folder.empty() ? "." : folder.string());
  const auto change = [&](GraphProto& graph) {
    for (TensorProto& tensor : *graph.mutable_initializer()) {
      const auto value = std::ranges::find(values, tensor.name(), &NewValue::name);
      if (value != values.end())
        set_value(tensor, *value);
      else if (is_external(tensor))
        bring_inside(tensor, files);
    }
    refuse_outside(graph);
  };
  change(*model.mutable_graph());
  for (auto& info : *model.mutable_training_info()) {
    change(*info.mutable_algorithm());
    info.clear_initialization(), info.clear_initialization_binding();  // it would undo the training
  }
  std::string content;
  if (!model.SerializeToString(&content)) throw Error(Fault::Unsupported, "models of 2 GiB or more cannot be written");
  return content;
}

}  // namespace

std::string model_with_values(const std::string& path, const std::vector<NewValue>& values) {
  try {
    return changed(path, values);
  } catch (const Error& error) { throw Error(error.fault, fmt::format("{}: {}", printable(path), error.what())); }
}

}  // namespace lapidary::frontend
