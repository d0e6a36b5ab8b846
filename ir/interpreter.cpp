// Runs regions op by op. Values live in frames, one for each run of a region, and are dropped after their last use.
// Symbols are bound from the inputs' shapes; small integer values are kept by id, since Dims may speak of their
// elements, and a check of the module is evaluated as soon as all it speaks of is known. Every result's shape is
// compared with its declared type. Tests: test/ir/interpreter_test.cpp.
#include "ir/interpreter.h"

#include <unordered_map>

#include "ir/interpreter_ops.h"

namespace lapidary {
namespace {

constexpr int64_t kMostElements = 64;  // of a value whose elements Dims may speak of

class Interpreter {
 public:
  Interpreter(const Module& module, const InterpreterOptions& options) : module_(module), options_(options) {}

  void bind_inputs(const Function&, std::span<const Tensor> inputs);
  std::vector<TensorRef> run_region(const Region&, const std::vector<TensorRef>& arguments);
  std::vector<Tensor> run_op(const Op&, const std::vector<TensorRef>& operands);
  void remember_elements(const Value&, const TensorRef&);
  int64_t value(Dim) const;
  void check_pending();

 private:
  struct Frame {
    std::unordered_map<const Value*, TensorRef> values;
    std::unordered_map<const Value*, size_t> uses_left;
  };
  void define(Frame&, const Value&, TensorRef);
  TensorRef use(Frame&, const Value&);
  void bind_symbols(const Type&, const Tensor&, const std::string& name);
  void check_input(const Type&, const Tensor&, const std::string& name) const;
  std::vector<Tensor> run_loop(const Op&, const std::vector<TensorRef>& operands);
  std::vector<Tensor> run_if(const Op&, const std::vector<TensorRef>& operands);
  void forget_elements(const Region&);
  Tensor run_plain(const Execution&);
  void check_result(const Op&, const Type&, const Tensor&) const;
  std::optional<int64_t> known_value(Dim) const;

  const Module& module_;
  const InterpreterOptions& options_;
  std::unordered_map<Dim, int64_t> symbols_;
  std::unordered_map<uint32_t, TensorRef> elements_;  // by Value::id
  std::vector<const Check*> pending_;
};

// --- dims --------------------------------------------------------------------------------------------------------

int64_t Interpreter::value(Dim dim) const {
  auto lookup = [&](Dim leaf) -> std::optional<int64_t> {
    if (leaf->kind == DimKind::Symbol) {
      auto place = symbols_.find(leaf);
      if (place == symbols_.end()) throw UnknownDim{leaf};
      return place->second;
    }
    auto place = elements_.find(leaf->value_id);
    if (place == elements_.end() || leaf->constant < 0 || leaf->constant >= place->second->elements())
      throw UnknownDim{leaf};
    return place->second->integers[leaf->constant];
  };
  std::optional<int64_t> result = evaluate(dim, lookup);
  if (!result) throw Error(Fault::Input, fmt::format("integer overflow in {}", to_string(dim)));
  return *result;
}

std::optional<int64_t> Interpreter::known_value(Dim dim) const {
  try {
    return value(dim);
  } catch (const UnknownDim&) { return std::nullopt; }
}

void Interpreter::check_pending() {
  std::erase_if(pending_, [&](const Check* check) {
    std::optional<int64_t> holds = known_value(check->must_hold);
    if (holds == 0) throw Error(Fault::Input, check->message);
    return holds.has_value() && !speaks_of_elements(check->must_hold);  // those may change
  });
}

void Interpreter::remember_elements(const Value& value, const TensorRef& tensor) {
  const bool whole = is_integer(tensor->dtype) || tensor->dtype == DType::Bool;
  if (!whole || tensor->elements() > kMostElements) return;
  elements_[value.id] = tensor;
  if (!pending_.empty()) check_pending();
}

// --- inputs ------------------------------------------------------------------------------------------------------

void Interpreter::bind_symbols(const Type& type, const Tensor& tensor, const std::string& name) {
  if (type.dtype != tensor.dtype)
    throw Error(Fault::Input, fmt::format("input '{}' has type {}, expected {}", printable(name), name_of(tensor.dtype),
                                          name_of(type.dtype)));
  if (type.shape.size() != tensor.shape.size())
    throw Error(Fault::Input, fmt::format("input '{}' has rank {}, expected {}", printable(name), tensor.shape.size(),
                                          type.shape.size()));
  for (size_t axis = 0; axis < type.shape.size(); axis++)
    if (type.shape[axis]->kind == DimKind::Symbol) symbols_.try_emplace(type.shape[axis], tensor.shape[axis]);
}

void Interpreter::check_input(const Type& type, const Tensor& tensor, const std::string& name) const {
  for (size_t axis = 0; axis < type.shape.size(); axis++) {
    Dim dim = type.shape[axis];
    std::optional<int64_t> expected = known_value(dim);
    std::string where = fmt::format("input '{}' has extent {} on axis {}", printable(name), tensor.shape[axis], axis);
    if (!expected) throw Error(Fault::Input, fmt::format("{}, which leaves {} open", where, to_string(dim)));
    if (*expected != tensor.shape[axis])
      throw Error(Fault::Input, fmt::format("{}, expected {} = {}", where, to_string(dim), *expected));
    if (*expected < range(dim).lo || *expected > range(dim).hi)
      throw Error(Fault::Input, fmt::format("{}, expected {} to {}", where, range(dim).lo, range(dim).hi));
  }
}

void Interpreter::bind_inputs(const Function& function, std::span<const Tensor> inputs) {
  const auto& arguments = function.body->arguments;
  if (inputs.size() != arguments.size())
    throw Error(Fault::Input, fmt::format("{} inputs, expected {}", inputs.size(), arguments.size()));
  auto name_of_input = [&](size_t i) {
    return i < function.argument_names.size() ? function.argument_names[i] : std::to_string(i);
  };
  for (size_t i = 0; i < inputs.size(); i++) bind_symbols(arguments[i]->type, inputs[i], name_of_input(i));
  for (size_t i = 0; i < inputs.size(); i++) check_input(arguments[i]->type, inputs[i], name_of_input(i));
  for (const Check& check : module_.checks) pending_.push_back(&check);
  check_pending();
}

// --- regions -----------------------------------------------------------------------------------------------------

void Interpreter::define(Frame& frame, const Value& value, TensorRef tensor) {
  remember_elements(value, tensor);
  if (value.uses.empty()) return;
  frame.uses_left[&value] = value.uses.size();
  frame.values[&value] = std::move(tensor);
}

TensorRef Interpreter::use(Frame& frame, const Value& value) {
  auto place = frame.values.find(&value);
  LPD_CHECK(place != frame.values.end(), "value %{} is used before it is defined", value.id);
  TensorRef tensor = place->second;
  if (--frame.uses_left[&value] == 0) frame.values.erase(place);
  return tensor;
}

std::vector<TensorRef> Interpreter::run_region(const Region& region, const std::vector<TensorRef>& arguments) {
  LPD_CHECK(arguments.size() == region.arguments.size());
  Frame frame;
  for (size_t i = 0; i < arguments.size(); i++) define(frame, *region.arguments[i], arguments[i]);
  for (const Op& op : region.ops) {
    std::vector<TensorRef> operands;
    for (const Value* operand : op.operands) operands.push_back(use(frame, *operand));
    if (op.is(OpKind::Yield)) return operands;
    std::vector<Tensor> results = run_op(op, operands);
    LPD_CHECK(results.size() == op.results.size(), "{} gives {} results", name_of(op.kind), results.size());
    for (size_t i = 0; i < results.size(); i++) check_result(op, op.results[i]->type, results[i]);
    if (options_.on_op) options_.on_op(op, results);
    for (size_t i = 0; i < results.size(); i++)
      define(frame, *op.results[i], std::make_shared<const Tensor>(std::move(results[i])));
  }
  LPD_UNREACHABLE("a region without a yield");
}

void Interpreter::check_result(const Op& op, const Type& type, const Tensor& tensor) const {
  LPD_CHECK(type.dtype == tensor.dtype && type.shape.size() == tensor.shape.size(), "{}: {} gives {}[{}], declared {}",
            module_.describe(op.origin), name_of(op.kind), name_of(tensor.dtype), fmt::join(tensor.shape, ", "),
            to_string(type));
  for (size_t axis = 0; axis < type.shape.size(); axis++) {
    std::optional<int64_t> declared = known_value(type.shape[axis]);
    LPD_CHECK(!declared || *declared == tensor.shape[axis], "{}: axis {} of {} has extent {}, declared {} = {}",
              module_.describe(op.origin), axis, name_of(op.kind), tensor.shape[axis], to_string(type.shape[axis]),
              *declared);
  }
}

std::vector<Tensor> copies(const std::vector<TensorRef>& tensors) {
  std::vector<Tensor> result;
  for (const TensorRef& tensor : tensors) result.push_back(*tensor);
  return result;
}

// --- ops ---------------------------------------------------------------------------------------------------------

// Slices of a loop, stacked as they come: how many there are may be known only at the end.
class Stack {
 public:
  explicit Stack(DType dtype) : dtype_(dtype) {}
  void add(TensorRef slice) {
    LPD_CHECK(slices_.empty() || slices_[0]->shape == slice->shape, "a slice of a loop changes its shape");
    slices_.push_back(std::move(slice));
  }
  // `shape`: of a slice, where there is none.
  Tensor stacked(Extents shape, bool reverse) const {
    if (!slices_.empty()) shape = slices_[0]->shape;
    const int64_t count = product_of(shape), rows = static_cast<int64_t>(slices_.size());
    shape.insert(shape.begin(), rows);
    Tensor whole = Tensor::zeros(dtype_, shape);
    for (int64_t row = 0; row < rows; row++)
      for (int64_t e = 0; e < count; e++) whole.set((reverse ? rows - 1 - row : row) * count + e, slices_[row]->at(e));
    return whole;
  }

 private:
  DType dtype_;
  std::vector<TensorRef> slices_;
};

// What a region's own to_host ops have read belongs to one run of it.
void Interpreter::forget_elements(const Region& region) {
  for (const Op& op : region.ops)
    if (op.is(OpKind::ToHost)) elements_.erase(op.result()->id);
}

std::vector<Tensor> Interpreter::run_loop(const Op& op, const std::vector<TensorRef>& operands) {
  const Region& body = *op.regions[0];
  const int64_t trips = value(op.params.dim("trips"));
  const auto carried = static_cast<size_t>(op.params.integer("carried"));
  const bool asks = op.params.integer_or("while", 0) != 0;
  std::vector<TensorRef> state(operands.begin(), operands.begin() + static_cast<int64_t>(carried));
  const size_t slices = body.results().size() - carried;
  std::vector<Stack> stacks;
  for (size_t i = 0; i < slices; i++) stacks.emplace_back(op.results[carried + i]->type.dtype);
  int64_t trip = 0;
  for (; trip < trips && !(asks && state[0]->integers[0] == 0); trip++) {
    std::vector<TensorRef> arguments{std::make_shared<Tensor>(Tensor{DType::I64, {}, {}, {trip}})};
    arguments.insert(arguments.end(), state.begin(), state.end());
    arguments.insert(arguments.end(), operands.begin() + static_cast<int64_t>(carried), operands.end());
    forget_elements(body);
    std::vector<TensorRef> yielded = run_region(body, arguments);
    for (size_t i = 0; i < slices; i++) stacks[i].add(yielded[carried + i]);
    yielded.resize(carried);
    state = std::move(yielded);
  }
  std::vector<Tensor> results = copies(state);
  for (size_t i = 0; i < slices; i++) {
    Extents shape;
    const int64_t holder = holder_of_shape(op.params, carried + i);
    const Shape& declared = op.results[carried + i]->type.shape;
    if (holder >= 0)
      shape.assign(state[static_cast<size_t>(holder)]->integers.begin(),
                   state[static_cast<size_t>(holder)]->integers.end());
    for (size_t axis = 1; holder < 0 && axis < declared.size(); axis++) shape.push_back(value(declared[axis]));
    results.push_back(stacks[i].stacked(shape, op.params.integer_or("reverse", 0) != 0));
  }
  if (asks) results.push_back(Tensor{DType::I64, {}, {}, {trip}});
  return results;
}

std::vector<Tensor> Interpreter::run_if(const Op& op, const std::vector<TensorRef>& operands) {
  const Region& branch = *op.regions[value(op.params.dim("condition")) != 0 ? 0 : 1];
  forget_elements(branch);
  return copies(run_region(branch, operands));
}

Tensor Interpreter::run_plain(const Execution& x) {
  switch (x.op.kind) {
#define SCALAR_OP(kind, text, operands, types, result) case OpKind::kind:
#include "ir/scalar_ops.def"
#undef SCALAR_OP
    return run_scalar_op(x);
    case OpKind::Constant:
      return run_constant(x);
    case OpKind::DimsTensor:
      return run_dims_tensor(x);
    case OpKind::Iota:
      return run_iota(x);
    case OpKind::Convert:
      return run_convert(x);
    case OpKind::Broadcast:
      return run_broadcast(x);
    case OpKind::Reshape:
      return run_reshape(x);
    case OpKind::Transpose:
      return run_transpose(x);
    case OpKind::Slice:
      return run_slice(x);
    case OpKind::Concat:
      return run_concat(x);
    case OpKind::Pad:
      return run_pad(x);
    case OpKind::Gather:
      return run_gather(x);
    case OpKind::GatherElements:
      return run_gather_elements(x);
    case OpKind::Scatter:
      return run_scatter(x);
    case OpKind::Scan:
      return run_scan(x);
    case OpKind::BitCast:
      return run_bit_cast(x);
    case OpKind::ReduceSum:
    case OpKind::ReduceProd:
    case OpKind::ReduceMax:
    case OpKind::ReduceMin:
    case OpKind::ReduceMean:
      return run_reduce(x);
    case OpKind::Contract:
      return run_contract(x);
    case OpKind::Conv:
      return run_conv(x);
    case OpKind::ConvTranspose:
      return run_conv_transpose(x);
    case OpKind::ConvFilterGradient:
      return run_conv_filter_gradient(x);
    case OpKind::MaxPool:
    case OpKind::AveragePool:
      return run_pool(x);
    case OpKind::MaxPoolTap:
      return run_max_pool_tap(x);
    case OpKind::MaxPoolGradient:
      return run_max_pool_gradient(x);
    case OpKind::Relayout:
    case OpKind::ToHost:
      return x.operand(0);
    case OpKind::TruePositions:
      return run_true_positions(x);
    case OpKind::Suppress:
      return run_suppress(x);
    case OpKind::HostCall:
      return run_host_call(x);
    case OpKind::TopK:
    case OpKind::Loop:
    case OpKind::If:
    case OpKind::Composite:
    case OpKind::Group:
    case OpKind::Yield:
      break;
  }
  LPD_UNREACHABLE("{} is no plain op", name_of(x.op.kind));
}

std::vector<Tensor> Interpreter::run_op(const Op& op, const std::vector<TensorRef>& operands) {
  if (op.is(OpKind::Loop)) return run_loop(op, operands);
  if (op.is(OpKind::If)) return run_if(op, operands);
  if (op.is(OpKind::Composite) || op.is(OpKind::Group)) return copies(run_region(*op.regions[0], operands));
  Execution execution{module_, op, operands, options_.round, [this](Dim dim) { return value(dim); }};
  if (op.is(OpKind::TopK)) return run_top_k(execution);
  std::vector<Tensor> results;
  results.push_back(run_plain(execution));
  return results;
}

}  // namespace

Extents Execution::values(const std::vector<Dim>& dims) const {
  Extents result;
  for (Dim dim : dims) result.push_back(value(dim));
  return result;
}

void Execution::fail(const std::string& message) const {
  throw Error(Fault::Input, fmt::format("{}: {}", module.describe(op.origin), message));
}

std::vector<Tensor> interpret(const Module& module, const Function& function, std::span<const Tensor> inputs,
                              const InterpreterOptions& options) {
  Interpreter interpreter(module, options);
  interpreter.bind_inputs(function, inputs);
  std::vector<TensorRef> arguments;
  for (const Tensor& input : inputs) arguments.push_back(std::make_shared<const Tensor>(input));
  try {
    return copies(interpreter.run_region(*function.body, arguments));
  } catch (const UnknownDim& unknown) {
    throw Error(Fault::Input, fmt::format("dimension {} has no value", to_string(unknown.dim)));
  }
}

std::optional<std::vector<Tensor>> interpret_op(const Module& module, const Op& op, std::span<const Tensor> operands) {
  InterpreterOptions options;
  Interpreter interpreter(module, options);
  std::vector<TensorRef> references;
  for (const Tensor& operand : operands) references.push_back(std::make_shared<const Tensor>(operand));
  try {
    for (size_t i = 0; i < references.size(); i++) interpreter.remember_elements(*op.operands[i], references[i]);
    return interpreter.run_op(op, references);
  } catch (const UnknownDim&) { return std::nullopt; }
}

Tensor interpret_host_call(const Module& module, const Op& op, std::span<const Tensor> operands,
                           std::function<int64_t(Dim)> value) {
  std::vector<TensorRef> references;
  for (const Tensor& operand : operands) references.push_back(std::make_shared<const Tensor>(operand));
  return run_host_call({module, op, std::move(references), true, std::move(value)});
}

}  // namespace lapidary
