// Which rule infers an op's result types, and the rules of ops with regions. The rules themselves are in
// infer_shape_ops.cpp, infer_index_ops.cpp, infer_math_ops.cpp and infer_window_ops.cpp, one function per op.
#include "ir/host_functions.h"
#include "ir/infer.h"
#include "ir/signature.h"

namespace lapidary {

void Inference::require_same_dtype(int a, int b) const {
  if (type(a).dtype == type(b).dtype) return;
  fail("operands have types {} and {}, expected equal", name_of(type(a).dtype), name_of(type(b).dtype));
}

void Inference::require_length(std::string_view what, size_t found, size_t expected) const {
  if (found != expected) fail("{} has {} entries, expected {}", what, found, expected);
}

int64_t Inference::axis(int64_t value, int rank) const {
  if (value < 0 || value >= rank) fail("axis {} is out of range for rank {}", value, rank);
  return value;
}

void Inference::require_axes(const std::vector<int64_t>& axes, int rank) const {
  for (size_t i = 0; i < axes.size(); i++) {
    axis(axes[i], rank);
    if (i > 0 && axes[i] <= axes[i - 1]) fail("axes [{}] are not increasing", fmt::join(axes, ", "));
  }
}

namespace {

void check_arity(const Inference& op) {
  const Signature& signature = signature_of(op.kind);
  int count = static_cast<int>(op.operands.size());
  bool fits = count >= signature.min_operands && (signature.max_operands < 0 || count <= signature.max_operands);
  if (!fits) op.fail("{} takes {} operands, given {}", name_of(op.kind), signature.min_operands, count);
}

bool same_but_for_extents(const Type& a, const Type& b) {
  return a.kind == b.kind && a.dtype == b.dtype && a.rank() == b.rank();
}

const Region& only_region(const Inference& op) {
  LPD_CHECK(op.regions.size() == 1, "{} needs one region, has {}", name_of(op.kind), op.regions.size());
  const Region& region = *op.regions[0];
  LPD_CHECK(!region.ops.empty() && region.yield().is(OpKind::Yield), "{}: region without yield", name_of(op.kind));
  return region;
}

// Composite and Group: what the region yields.
std::vector<Type> infer_from_region(const Inference& op) {
  std::vector<Type> types;
  for (const Value* value : only_region(op).results()) types.push_back(value->type);
  return types;
}

// The final carried values have the types they started with; each slice is stacked along a leading axis. Extents that
// change, and how many iterations a loop with a condition does, only its results' types say: here they are left open.
std::vector<Type> infer_loop(const Inference& op) {
  std::vector<Type> types = infer_from_region(op);
  const auto carried = static_cast<size_t>(op.params.integer("carried"));
  if (carried > types.size() || carried > op.operands.size()) op.fail("a loop carries {} values", carried);
  const bool counts = op.params.integer_or("while", 0) != 0;
  if (counts && (carried == 0 || op.type(0) != Type::tensor(DType::Bool, {})))
    op.fail("a loop's condition is its first carried value, a bool[]");
  for (size_t i = 0; i < carried; i++) {
    const Type& start = op.type(static_cast<int>(i));
    const bool changes = holder_of_shape(op.params, i) >= 0;
    const bool agrees = changes ? same_but_for_extents(start, types[i]) : start == types[i];
    if (types[i].is_error() || agrees) continue;
    op.fail("loop-carried value {} starts as {} and becomes {}", i, to_string(start), to_string(types[i]));
  }
  const Dim rows = counts ? op.constant(0) : op.params.dim("trips");
  for (size_t i = carried; i < types.size(); i++) types[i].shape.insert(types[i].shape.begin(), rows);
  if (counts) types.push_back(Type::tensor(DType::I64, {}));
  return types;
}

std::vector<Type> infer_if(const Inference& op) {
  if (op.regions.size() != 2) op.fail("if has {} regions, expected 2", op.regions.size());
  std::vector<Type> types, others;
  for (const Value* value : op.regions[0]->results()) types.push_back(value->type);
  for (const Value* value : op.regions[1]->results()) others.push_back(value->type);
  if (types.size() != others.size()) op.fail("one branch yields {} values, the other {}", types.size(), others.size());
  for (size_t i = 0; i < types.size(); i++) {
    const bool changes = holder_of_shape(op.params, i) >= 0;
    if (changes ? same_but_for_extents(types[i], others[i]) : types[i] == others[i]) continue;
    op.fail("value {} is {} in one branch and {} in the other", i, to_string(types[i]), to_string(others[i]));
  }
  return types;
}

Type infer_suppress(const Inference& op) {
  const Type &boxes = op.type(0), &order = op.type(1), &allowed = op.type(2);
  if (boxes.dtype != DType::F32 || boxes.rank() != 3 || value_of(boxes.shape[2]) != 4)
    op.fail("suppress of boxes {}, expected f32[B, N, 4]", to_string(boxes));
  if (order.dtype != DType::I64 || order.rank() != 3 || allowed != Type::tensor(DType::Bool, order.shape))
    op.fail("suppress in order {} of {}", to_string(order), to_string(allowed));
  if (op.type(3) != Type::tensor(DType::F32, {})) op.fail("a threshold {}", to_string(op.type(3)));
  return allowed;
}

Type infer_true_positions(const Inference& op) {
  if (op.type(0).dtype != DType::Bool || op.type(0).rank() != 1)
    op.fail("true_positions of {}, expected bool[n]", to_string(op.type(0)));
  return Type::tensor(DType::I64, {op.params.dim("count")});
}

Type infer_host_call(const Inference& op) {
  if (!is_host_function(op.params.text("function"))) op.fail("no host function '{}'", op.params.text("function"));
  return Type::tensor(op.params.dtype("to"), op.params.has("shape") ? op.params.dims("shape") : op.shape(0));
}

Type infer_constant(const Inference& op) {
  const Constant& constant = op.module.constants[op.params.constant("value")];
  Shape shape;
  for (int64_t extent : constant.shape) shape.push_back(op.constant(extent));
  return Type::tensor(constant.dtype, std::move(shape));
}

std::vector<Type> infer_primitive(const Inference& op) {
  if (is_scalar_op(op.kind)) return {infer_scalar_op(op)};
  switch (op.kind) {
#define SCALAR_OP(kind, text, operands, types, result) case OpKind::kind:
#include "ir/scalar_ops.def"
#undef SCALAR_OP
    break;
    case OpKind::Constant:
      return {infer_constant(op)};
    case OpKind::DimsTensor:
      return {infer_dims_tensor(op)};
    case OpKind::Iota:
      return {infer_iota(op)};
    case OpKind::Convert:
      return {infer_convert(op)};
    case OpKind::Broadcast:
      return {infer_broadcast(op)};
    case OpKind::Reshape:
      return {infer_reshape(op)};
    case OpKind::Transpose:
      return {infer_transpose(op)};
    case OpKind::Slice:
      return {infer_slice(op)};
    case OpKind::Concat:
      return {infer_concat(op)};
    case OpKind::Pad:
      return {infer_pad(op)};
    case OpKind::Gather:
      return {infer_gather(op)};
    case OpKind::GatherElements:
      return {infer_gather_elements(op)};
    case OpKind::Scatter:
      return {infer_scatter(op)};
    case OpKind::Scan:
      return {infer_scan(op)};
    case OpKind::TopK:
      return infer_top_k(op);
    case OpKind::BitCast:
      return {infer_bit_cast(op)};
    case OpKind::ReduceSum:
    case OpKind::ReduceProd:
    case OpKind::ReduceMax:
    case OpKind::ReduceMin:
    case OpKind::ReduceMean:
      return {infer_reduce(op)};
    case OpKind::Contract:
      return {infer_contract(op)};
    case OpKind::Conv:
      return {infer_conv(op)};
    case OpKind::ConvTranspose:
      return {infer_conv_transpose(op)};
    case OpKind::ConvFilterGradient:
      return {infer_conv_filter_gradient(op)};
    case OpKind::MaxPool:
    case OpKind::AveragePool:
      return {infer_pool(op)};
    case OpKind::MaxPoolTap:
      return {infer_max_pool_tap(op)};
    case OpKind::MaxPoolGradient:
      return {infer_max_pool_gradient(op)};
    case OpKind::ToHost:
      return {Type::tensor(op.type(0).dtype, op.shape(0))};
    case OpKind::TruePositions:
      return {infer_true_positions(op)};
    case OpKind::Suppress:
      return {infer_suppress(op)};
    case OpKind::HostCall:
      return {infer_host_call(op)};
    case OpKind::Loop:
      return infer_loop(op);
    case OpKind::If:
      return infer_if(op);
    case OpKind::Composite:
    case OpKind::Group:
      return infer_from_region(op);
    case OpKind::Relayout:
      return {Type::tensor(op.type(0).dtype, op.shape(0))};
    case OpKind::Yield:
      return {};
  }
  LPD_UNREACHABLE("no rule for {}", name_of(op.kind));
}

// No extent is negative, and a tensor's bytes can be counted, as far as both are known.
void check_extents(const Type& type) {
  constexpr int64_t kMostElements = kDimMax / 16;
  int64_t elements = 1;
  bool overflow = false, empty = false;
  for (Dim extent : type.shape) {
    if (range(extent).hi < 0)
      throw Error(Fault::Input, fmt::format("{} has extent {}", to_string(type), to_string(extent)));
    int64_t known = value_of(extent).value_or(1);
    empty |= known == 0;
    overflow |= __builtin_mul_overflow(elements, known, &elements) || elements > kMostElements;
  }
  if (overflow && !empty) throw Error(Fault::Input, fmt::format("{} has too many elements", to_string(type)));
}

}  // namespace

int64_t holder_of_shape(const Params& params, size_t index) {
  if (!params.has("shapes")) return -1;
  const std::vector<int64_t>& holders = params.integers("shapes");
  return index < holders.size() ? holders[index] : -1;
}

bool is_open_result(const Op& op, size_t index) {
  if (!op.is(OpKind::Loop) && !op.is(OpKind::If)) return false;
  if (holder_of_shape(op.params, index) >= 0) return true;
  return op.is(OpKind::Loop) && op.params.integer_or("while", 0) != 0 &&
         index >= static_cast<size_t>(op.params.integer("carried")) && index + 1 < op.results.size();
}

std::vector<Type> infer_types(Module& module, OpKind kind, std::span<Value* const> operands, const Params& params,
                              std::span<const std::unique_ptr<Region>> regions) {
  Inference op{module, kind, operands, params, regions};
  check_arity(op);
  int results = signature_of(kind).results;
  for (const Value* operand : operands) {
    if (operand->type.is_error() && results >= 0) return std::vector<Type>(results, Type::error());
    if (operand->type.kind == Type::Kind::Tensor || operand->type.is_error() || results <= 0) continue;
    throw Error(Fault::Unsupported, fmt::format("{} of a {}", name_of(kind), to_string(operand->type)));
  }
  std::vector<Type> types = infer_primitive(op);
  for (const Type& type : types) check_extents(type);
  return types;
}

}  // namespace lapidary
