// One node of the model as the operator functions in ops/ see it: operands as values of the graph under construction
// (sequences and optionals: as bindings), attributes with the schema's defaults filled in, and a builder to write
// primitives with. Arity, attribute types and element types were checked against the schema before; what a function
// finds wrong beyond that it throws through fail() or unsupported(), and the importer puts the node in front of the
// message.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "frontend/attribute_list.h"
#include "frontend/binding.h"
#include "frontend/onnx_proto.h"
#include "frontend/tensors.h"
#include "ir/error.h"
#include "ir/graph_builder.h"

namespace lapidary::frontend {

// The attributes of a node, or of the function call around it: references to the caller's attributes are resolved.
using Attributes = std::unordered_map<std::string_view, const AttributeProto*>;

template <typename... Arguments>
[[noreturn]] void fail(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  throw Error(Fault::Input, fmt::format(format, std::forward<Arguments>(arguments)...));
}
template <typename... Arguments>
[[noreturn]] void unsupported(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  throw Error(Fault::Unsupported, fmt::format(format, std::forward<Arguments>(arguments)...));
}

// An axis counted from the front; throws unless -rank ≤ axis < rank.
int normalized_axis(int64_t axis, int rank);
// The same for a list, sorted; throws on duplicates.
std::vector<int64_t> normalized_axes(std::vector<int64_t> axes, int rank);
// All axes 0 … rank-1.
std::vector<int64_t> axes_from(int first, int rank);

std::string to_text(const std::vector<int64_t>&);      // "[1, 3]"
std::string counted(int64_t count, const char* noun);  // "1 input", "2 inputs"

constexpr Interval kExtents{0, INT64_C(1) << 40};  // what the host holds an extent or count it reads to

// What operators do otherwise in the functions of a model that is trained.
struct TrainingMode {
  bool trains = false;            // else as in inference, whatever attributes say
  uint64_t seed = 0;              // of random numbers, beside each node's own
  Value* step = nullptr;          // i64 [], the number of the step: what random numbers differ by; null: they do not
  std::map<Value*, Value*> next;  // of states, where an operator gives them new values
  int frozen_norms = 0;           // batch normalisations exported for inference, whose statistics do not move
};

class Node {
 public:
  Node(GraphBuilder& build, const NodeProto& proto, const OpSchema& schema, Attributes attributes,
       std::vector<Binding> inputs, TensorReader& tensors)
      : build(build),
        version(schema.since_version()),
        proto(proto),
        schema_(schema),
        tensors_(tensors),
        attributes_(std::move(attributes)),
        inputs_(std::move(inputs)) {}

  GraphBuilder& build;
  const int version;  // the opset that introduced this form of the operator: 13 for Squeeze-13 in opset 17
  const NodeProto& proto;
  std::vector<std::string> warnings;  // of what is imported otherwise than the model's author may expect

  TrainingMode* training = nullptr;  // null: the model as it stands

  bool infers() const { return training && !training->trains; }
  DimPool& dims() const { return build.module.dims; }
  int input_count() const { return static_cast<int>(inputs_.size()); }
  Binding binding(int index) const { return index < input_count() ? inputs_[index] : Binding(); }
  Value* input(int index) const { return binding(index).value; }  // null when left out
  std::vector<Value*> inputs() const;
  const Sequence& sequence(int index) const { return *inputs_[index].sequence; }
  const Type& type(int index) const { return input(index)->type; }
  int rank(int index = 0) const { return type(index).rank(); }
  int output_count() const { return proto.output_size(); }
  bool wants(int output) const { return output < output_count() && !proto.output(output).empty(); }

  // Attributes: the node's, else the schema's default. has() is true for what the node itself says.
  bool has(std::string_view name) const { return attributes_.contains(name); }
  int64_t integer(std::string_view name) const;
  int64_t integer_or(std::string_view name, int64_t otherwise) const;
  double number(std::string_view name) const;
  double number_or(std::string_view name, double otherwise) const;
  std::string text(std::string_view name) const;
  std::vector<int64_t> integers(std::string_view name) const;  // empty when there is none
  std::vector<double> numbers(std::string_view name) const;
  std::vector<std::string> texts(std::string_view name) const;
  // The same lists element by element, for long ones.
  template <typename Visit>
  void for_each_integer_of(std::string_view name, Visit visit) const {
    if (const AttributeProto* attribute = find(name)) for_each_integer(*attribute, tensors_.file(), visit);
  }
  template <typename Visit>
  void for_each_number_of(std::string_view name, Visit visit) const {
    if (const AttributeProto* attribute = find(name)) for_each_number(*attribute, tensors_.file(), visit);
  }
  template <typename Visit>
  void for_each_text_of(std::string_view name, Visit visit) const {
    if (const AttributeProto* attribute = find(name)) for_each_text(*attribute, tensors_.file(), visit);
  }
  DType dtype(std::string_view name) const;
  ConstantId tensor(std::string_view name) const;
  int axis(std::string_view name, int rank) const { return normalized_axis(integer(name), rank); }

  // Integer operands that shapes are made of: their elements as Dims (of the host's, where only a run can tell), or as
  // numbers known now.
  Shape extents(int input, Interval within = {kDimMin, kDimMax}) const;
  Shape sizes(int input) const { return extents(input, kExtents); }  // checked when the host reads them
  std::vector<int64_t> constants(int input) const;
  int64_t constant(int input) const;                                  // of one element
  Dim extent(int input, Interval within = {kDimMin, kDimMax}) const;  // of one element
  // From the attribute of that name, or, in later opsets, from that operand; empty when there is neither.
  std::vector<int64_t> integers_from(std::string_view attribute, int input) const;

 private:
  Shape read_by_host(int input, Interval within) const;
  const AttributeProto* find(std::string_view name) const;
  const AttributeProto& get(std::string_view name) const;

  const OpSchema& schema_;
  TensorReader& tensors_;
  Attributes attributes_;
  std::vector<Binding> inputs_;
};

}  // namespace lapidary::frontend
