#include "test/fuzz/mutate_model.h"

#include <cmath>
#include <random>
#include <vector>

#include "frontend/onnx_proto.h"

namespace lapidary::fuzz {
namespace {

using namespace frontend;

constexpr int64_t kOdd[] = {0,
                            1,
                            -1,
                            2,
                            3,
                            4,
                            7,
                            8,
                            16,
                            -2,
                            -100,
                            99,
                            255,
                            256,
                            1000,
                            1 << 20,
                            INT32_MAX,
                            INT32_MIN,
                            INT64_MAX,
                            INT64_MIN,
                            INT64_C(1) << 32,
                            INT64_C(1) << 40,
                            INT64_C(1) << 62};
constexpr double kOddNumbers[] = {0, -0.0, 1, -1, 0.5, 1e9, 1e-40, 1e38, -1e38, HUGE_VAL, -HUGE_VAL, NAN};

struct Mutator {
  std::mt19937 random;
  const ModelProto& other;

  size_t below(size_t count) { return count ? random() % count : 0; }
  bool chance(size_t of) { return below(of) == 0; }
  int64_t odd() { return kOdd[below(std::size(kOdd))]; }
  int64_t near(int64_t value) {
    return chance(2) ? odd() : static_cast<int64_t>(static_cast<uint64_t>(value) + below(5) - 2);
  }

  void graph(GraphProto& graph, int depth);
  void node(GraphProto& graph, NodeProto& node, int depth);
  void attribute(AttributeProto& attribute, int depth);
  void tensor(TensorProto& tensor);
  void type(onnx::TypeProto& type);
  std::string a_value(const GraphProto& graph);
};

std::string Mutator::a_value(const GraphProto& graph) {
  std::vector<std::string> names{""};
  for (const auto& input : graph.input()) names.push_back(input.name());
  for (const auto& tensor : graph.initializer()) names.push_back(tensor.name());
  for (const auto& node : graph.node())
    for (const auto& output : node.output()) names.push_back(output);
  return names[below(names.size())];
}

void Mutator::tensor(TensorProto& tensor) {
  switch (below(5)) {
    case 0:
      if (tensor.dims_size() > 0) {
        const int axis = static_cast<int>(below(tensor.dims_size()));
        tensor.set_dims(axis, near(tensor.dims(axis)));
      }
      break;
    case 1:
      tensor.set_data_type(static_cast<int>(below(27)));
      break;
    case 2:
      if (std::string& raw = *tensor.mutable_raw_data(); raw.size() >= 8 && tensor.data_type() == TensorProto::INT64) {
        const int64_t value = odd();
        raw.replace(below(raw.size() / 8) * 8, 8, reinterpret_cast<const char*>(&value), 8);
      } else if (!raw.empty()) {
        raw[below(raw.size())] = static_cast<char>(random());
      } else {
        tensor.clear_raw_data();
      }
      break;
    case 3:
      if (tensor.int64_data_size() > 0) tensor.set_int64_data(static_cast<int>(below(tensor.int64_data_size())), odd());
      if (tensor.float_data_size() > 0)
        tensor.set_float_data(static_cast<int>(below(tensor.float_data_size())),
                              static_cast<float>(kOddNumbers[below(std::size(kOddNumbers))]));
      break;
    case 4:  // a scalar, or one axis more, of the same data
      if (tensor.dims_size() > 0 && chance(2)) {
        tensor.mutable_dims()->RemoveLast();
      } else {
        tensor.add_dims(1);
      }
  }
}

void Mutator::type(onnx::TypeProto& type) {
  if (!type.has_tensor_type()) return;
  auto& tensor = *type.mutable_tensor_type();
  auto& shape = *tensor.mutable_shape();
  switch (below(5)) {
    case 0:
      tensor.set_elem_type(static_cast<int>(below(27)));
      break;
    case 1:
      if (shape.dim_size() > 0) shape.mutable_dim()->RemoveLast();
      break;
    case 2:
      shape.add_dim()->set_dim_value(odd());
      break;
    default:
      if (shape.dim_size() == 0) break;
      auto& dim = *shape.mutable_dim(static_cast<int>(below(shape.dim_size())));
      if (chance(2)) {
        dim.set_dim_param(chance(2) ? "N" : "M");
      } else {
        dim.set_dim_value(near(dim.dim_value()));
      }
  }
}

void Mutator::attribute(AttributeProto& attribute, int depth) {
  if (attribute.has_g() && depth < 8) return graph(*attribute.mutable_g(), depth + 1);
  if (attribute.has_t()) return tensor(*attribute.mutable_t());
  if (attribute.ints_size() > 0) {
    const int i = static_cast<int>(below(attribute.ints_size()));
    switch (below(3)) {
      case 0:
        attribute.add_ints(attribute.ints(i));
        break;
      case 1:
        attribute.mutable_ints()->RemoveLast();
        break;
      case 2:
        attribute.set_ints(i, near(attribute.ints(i)));
    }
  } else if (attribute.floats_size() > 0) {
    attribute.set_floats(static_cast<int>(below(attribute.floats_size())),
                         static_cast<float>(kOddNumbers[below(std::size(kOddNumbers))]));
  } else if (attribute.has_s()) {
    std::string& text = *attribute.mutable_s();
    if (!text.empty() && chance(2)) {
      text[below(text.size())] = static_cast<char>(' ' + below(95));
    } else {
      text += text.substr(0, 20);
    }
  } else if (attribute.has_f()) {
    attribute.set_f(static_cast<float>(kOddNumbers[below(std::size(kOddNumbers))]));
  } else {
    attribute.set_i(near(attribute.i()));
  }
}

void Mutator::node(GraphProto& graph, NodeProto& node, int depth) {
  switch (below(8)) {
    case 0:
      if (node.input_size() > 0) node.set_input(static_cast<int>(below(node.input_size())), a_value(graph));
      break;
    case 1:
      node.add_input(a_value(graph));
      break;
    case 2:
      if (node.input_size() > 0) node.mutable_input()->RemoveLast();
      break;
    case 3:
      if (other.graph().node_size() > 0) {
        const NodeProto& from = other.graph().node(static_cast<int>(below(other.graph().node_size())));
        node.set_op_type(from.op_type()), node.set_domain(from.domain());
        if (chance(2)) *node.mutable_attribute() = from.attribute();
      }
      break;
    default:
      if (node.attribute_size() == 0) break;
      const int i = static_cast<int>(below(node.attribute_size()));
      if (chance(8)) return node.mutable_attribute()->DeleteSubrange(i, 1);
      attribute(*node.mutable_attribute(i), depth);
  }
}

void Mutator::graph(GraphProto& graph, int depth) {
  switch (below(10)) {
    case 0:
      if (graph.initializer_size() > 0)
        tensor(*graph.mutable_initializer(static_cast<int>(below(graph.initializer_size()))));
      break;
    case 1:
      if (graph.input_size() > 0)
        type(*graph.mutable_input(static_cast<int>(below(graph.input_size())))->mutable_type());
      break;
    case 2:
      if (graph.output_size() > 0 && chance(2))
        type(*graph.mutable_output(static_cast<int>(below(graph.output_size())))->mutable_type());
      break;
    case 3: {  // a node of either model, between two of this one
      const GraphProto& from = chance(2) && other.graph().node_size() > 0 ? other.graph() : graph;
      if (from.node_size() == 0 || graph.node_size() > 200) break;
      NodeProto copy = from.node(static_cast<int>(below(from.node_size())));
      for (auto& input : *copy.mutable_input())
        if (&from != &graph || chance(2)) input = a_value(graph);
      for (auto& output : *copy.mutable_output()) output += "_" + std::to_string(random() % 1000);
      if (copy.output_size() > 0 && graph.node_size() > 0) {
        NodeProto& reader = *graph.mutable_node(static_cast<int>(below(graph.node_size())));
        if (reader.input_size() > 0) reader.set_input(static_cast<int>(below(reader.input_size())), copy.output(0));
      }
      graph.add_node()->Swap(&copy);
      break;
    }
    case 4:
      if (other.graph().initializer_size() > 0 && graph.initializer_size() < 50) {
        auto& added = *graph.add_initializer();
        added = other.graph().initializer(static_cast<int>(below(other.graph().initializer_size())));
        added.set_name(added.name() + "_" + std::to_string(random() % 1000));
      }
      break;
    case 5: {  // an input known beforehand
      if (graph.input_size() == 0) break;
      const auto& input = graph.input(static_cast<int>(below(graph.input_size())));
      int64_t count = 1;
      auto& added = *graph.add_initializer();
      added.set_name(input.name());
      const int wanted = input.type().tensor_type().elem_type();
      added.set_data_type(wanted);
      for (const auto& dim : input.type().tensor_type().shape().dim()) {
        added.add_dims(dim.dim_value());
        count = dim.dim_value() < 0 || dim.dim_value() > 64 || count > 1000 ? 0 : count * dim.dim_value();
      }
      for (int64_t i = 0; i < count; ++i) {
        if (wanted == TensorProto::INT64) {
          added.add_int64_data(static_cast<int64_t>(below(4)));
        } else if (wanted == TensorProto::FLOAT) {
          added.add_float_data(static_cast<float>(below(4)));
        } else {
          added.add_int32_data(static_cast<int32_t>(below(2)));
        }
      }
      break;
    }
    default:
      if (graph.node_size() > 0) node(graph, *graph.mutable_node(static_cast<int>(below(graph.node_size()))), depth);
  }
}

}  // namespace

std::string mutate_model(std::string_view model, std::string_view other, unsigned seed) {
  ModelProto message, second;
  if (!message.ParseFromArray(model.data(), static_cast<int>(model.size()))) return "";
  if (other.empty() || !second.ParseFromArray(other.data(), static_cast<int>(other.size()))) second = message;
  Mutator mutator{std::mt19937(seed), second};
  for (size_t i = 0; i <= mutator.below(3); ++i) mutator.graph(*message.mutable_graph(), 0);
  if (mutator.chance(50) && message.opset_import_size() > 0)
    message.mutable_opset_import(0)->set_version(static_cast<int64_t>(mutator.below(27)));
  return message.SerializeAsString();
}

}  // namespace lapidary::fuzz
