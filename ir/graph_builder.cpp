// Building ops. Everything ends in create, which infers, folds what is known as Dims into a table, and inserts.
#include "ir/graph_builder.h"

#include <algorithm>
#include <numeric>

#include "ir/error.h"
#include "ir/evaluate.h"
#include "ir/infer.h"

namespace lapidary {

GraphBuilder::GraphBuilder(Module& module, Region& region)
    : GraphBuilder(module, region,
                   !region.ops.empty() && region.ops.back().is(OpKind::Yield) ? std::prev(region.ops.end())
                                                                              : region.ops.end()) {}

GraphBuilder::GraphBuilder(Module& module, Region& region, std::list<Op>::iterator before)
    : module(module), region(region), before(before) {}

namespace {

bool is_identity(const std::vector<int64_t>& perm) {
  for (size_t i = 0; i < perm.size(); ++i)
    if (perm[i] != static_cast<int64_t>(i)) return false;
  return true;
}

bool keeps_all(const Params& slice) {
  return std::ranges::all_of(slice.integers("steps"), [](int64_t step) { return step == 1; }) &&
         std::ranges::all_of(slice.dims("starts"), [](Dim start) { return value_of(start) == 0; });
}

// Ops that change nothing give their operand back.
bool changes_nothing(OpKind kind, const Value& operand, const Type& result, const Params& params) {
  if (!operand.type.layout.dense() || operand.type != result) return false;
  if (kind == OpKind::Transpose) return is_identity(params.integers("perm"));
  if (kind == OpKind::Slice) return keeps_all(params);
  return true;  // convert, broadcast, reshape, reductions: the type says it all
}

// Checks that inference leaves while this lives get the node's name in front.
class CheckNames {
 public:
  CheckNames(Module& module, Origin origin) : module_(module), origin_(origin), first_(module.checks.size()) {}
  ~CheckNames() {
    std::string node = module_.describe(origin_);
    if (node.empty()) return;
    for (size_t i = first_; i < module_.checks.size(); ++i) {
      std::string& message = module_.checks[i].message;
      if (!message.starts_with(node)) message = node + ": " + message;
    }
  }

 private:
  Module& module_;
  Origin origin_;
  size_t first_;
};

}  // namespace

// Where the elements of the result are known as Dims, the op is a table of them, whatever computed it.
Op& GraphBuilder::create(OpKind kind, std::vector<Value*> operands, Params params) {
  CheckNames names(module, origin);
  std::vector<Type> types = infer_types(module, kind, operands, params, {});
  if (types.size() == 1 && !types[0].is_error() && kind != OpKind::DimsTensor && kind != OpKind::Constant) {
    if (auto elements = elements_of(module, kind, operands, params, types[0])) {
      Params table{
          {"elements", std::move(*elements)}, {"shape", *constant_extents(types[0].shape)}, {"dtype", types[0].dtype}};
      return create(OpKind::DimsTensor, {}, std::move(table));
    }
  }
  Op& op = insert_op(module, region, before, kind, std::move(operands), std::move(params), std::move(types), origin);
  infer_elements(module, op);
  return op;
}

namespace {

// The result of an op, or its operand when the op would change nothing.
Value* simplified(GraphBuilder& builder, OpKind kind, Value* operand, Params params) {
  if (!operand->type.is_error()) {
    CheckNames names(builder.module, builder.origin);
    Value* operands[] = {operand};
    std::vector<Type> types = infer_types(builder.module, kind, operands, params, {});
    if (changes_nothing(kind, *operand, types[0], params)) return operand;
  }
  return builder.create(kind, {operand}, std::move(params)).result();
}

}  // namespace

// --- leaves ------------------------------------------------------------------------------------------------------

Value* GraphBuilder::constant(ConstantId id) { return create(OpKind::Constant, {}, {{"value", id}}).result(); }

Value* GraphBuilder::scalar(Scalar value) { return constant(module.constants.add_splat(value.dtype, {}, value)); }

// The one string that is a number is 0, "": what pads.
Value* GraphBuilder::scalar(DType dtype, double value) {
  if (dtype == DType::String && value == 0) return scalar(Scalar::of_integer(dtype, 0));
  Scalar number = is_float(dtype) ? Scalar::of_float(dtype, round_to(dtype, value))
                                  : lapidary::convert(Scalar::of_float(DType::F64, value), dtype);
  return scalar(number);
}

Value* GraphBuilder::splat(DType dtype, Shape shape, double value) {
  return broadcast(scalar(dtype, value), {}, std::move(shape));
}

Value* GraphBuilder::dims_tensor(std::vector<Dim> elements, std::vector<int64_t> shape, DType dtype) {
  return create(OpKind::DimsTensor, {},
                {{"elements", std::move(elements)}, {"shape", std::move(shape)}, {"dtype", dtype}})
      .result();
}

Value* GraphBuilder::shape_of(Value* value) {
  Shape extents = value->type.shape;
  auto rank = static_cast<int64_t>(extents.size());
  return dims_tensor(std::move(extents), {rank});
}

Value* GraphBuilder::iota(DType dtype, Shape shape, int axis) {
  return create(OpKind::Iota, {}, {{"shape", std::move(shape)}, {"axis", int64_t{axis}}, {"dtype", dtype}}).result();
}

// --- elementwise -------------------------------------------------------------------------------------------------

Value* GraphBuilder::scalar_op(ScalarOp op, std::vector<Value*> operands) {
  for (const Value* operand : operands)
    if (operand->type.is_error()) return create(op_kind(op), operands).result();
  CheckNames names(module, origin);
  Shape shape = operands[0]->type.shape;
  for (size_t i = 1; i < operands.size(); ++i) shape = broadcast_shapes(module, shape, operands[i]->type.shape);
  for (Value*& operand : operands) operand = broadcast_to(operand, shape);
  return create(op_kind(op), std::move(operands)).result();
}

Value* GraphBuilder::like(Value* x, double number) {
  return scalar(x->type.is_error() ? DType::F32 : x->type.dtype, number);
}

Value* GraphBuilder::convert(Value* value, DType to) { return simplified(*this, OpKind::Convert, value, {{"to", to}}); }

// --- shape -------------------------------------------------------------------------------------------------------

Value* GraphBuilder::broadcast(Value* value, std::vector<int64_t> axes, Shape shape) {
  return simplified(*this, OpKind::Broadcast, value, {{"axes", std::move(axes)}, {"shape", std::move(shape)}});
}

Value* GraphBuilder::broadcast_to(Value* value, Shape shape) {
  if (value->type.is_error()) return value;
  std::vector<int64_t> axes(value->type.shape.size());
  std::iota(axes.begin(), axes.end(), static_cast<int64_t>(shape.size() - axes.size()));
  return broadcast(value, std::move(axes), std::move(shape));
}

// reshape(reshape(x)) == reshape(x)
Value* GraphBuilder::reshape(Value* value, Shape shape) {
  while (value->producer && value->producer->is(OpKind::Reshape) && value->producer->operand(0)->type.layout.dense()) {
    value = value->producer->operand(0);
  }
  return simplified(*this, OpKind::Reshape, value, {{"shape", std::move(shape)}});
}

Value* GraphBuilder::expand_axes(Value* value, std::vector<int64_t> axes) {
  if (value->type.is_error()) return value;
  Shape shape;
  auto from = value->type.shape.begin();
  size_t rank = value->type.shape.size() + axes.size();
  for (size_t axis = 0; axis < rank; ++axis) {
    bool added = std::find(axes.begin(), axes.end(), static_cast<int64_t>(axis)) != axes.end();
    shape.push_back(added ? dim(1) : *from++);
  }
  return reshape(value, std::move(shape));
}

Value* GraphBuilder::drop_axes(Value* value, std::vector<int64_t> axes) {
  if (value->type.is_error()) return value;
  CheckNames names(module, origin);
  Shape shape;
  for (size_t axis = 0; axis < value->type.shape.size(); ++axis) {
    bool dropped = std::find(axes.begin(), axes.end(), static_cast<int64_t>(axis)) != axes.end();
    Dim extent = value->type.shape[axis];
    if (dropped)
      require_equal(module, extent, dim(1), fmt::format("the extent of dropped axis {} and 1", axis));
    else
      shape.push_back(extent);
  }
  return reshape(value, std::move(shape));
}

// transpose(transpose(x, p), q) == transpose(x, p∘q)
Value* GraphBuilder::transpose(Value* value, std::vector<int64_t> perm) {
  while (value->producer && value->producer->is(OpKind::Transpose) && value->producer->region == &region) {
    const std::vector<int64_t>& inner = value->producer->params.integers("perm");
    for (int64_t& axis : perm) axis = inner[static_cast<size_t>(axis)];
    value = value->producer->operand(0);
  }
  return simplified(*this, OpKind::Transpose, value, {{"perm", std::move(perm)}});
}

Value* GraphBuilder::slice(Value* value, Shape starts, std::vector<int64_t> steps, Shape sizes) {
  return simplified(*this, OpKind::Slice, value,
                    {{"starts", std::move(starts)}, {"steps", std::move(steps)}, {"sizes", std::move(sizes)}});
}

Value* GraphBuilder::slice_axis(Value* value, int axis, Dim start, Dim size) {
  if (value->type.is_error()) return value;
  Shape starts(value->type.shape.size(), dim(0)), sizes = value->type.shape;
  starts[static_cast<size_t>(axis)] = start;
  sizes[static_cast<size_t>(axis)] = size;
  return slice(value, std::move(starts), std::vector<int64_t>(sizes.size(), 1), sizes);
}

Value* GraphBuilder::concat(std::vector<Value*> values, int axis) {
  if (values.size() == 1) return values[0];
  return create(OpKind::Concat, std::move(values), {{"axis", int64_t{axis}}}).result();
}

Value* GraphBuilder::pad(Value* value, Shape lo, Shape hi, std::string mode, Value* fill) {
  auto zero = [](Dim extent) { return value_of(extent) == 0; };
  if (std::all_of(lo.begin(), lo.end(), zero) && std::all_of(hi.begin(), hi.end(), zero)) return value;
  std::vector<Value*> operands = {value};
  if (fill) operands.push_back(fill);
  return create(OpKind::Pad, std::move(operands),
                {{"lo", std::move(lo)}, {"hi", std::move(hi)}, {"mode", std::move(mode)}})
      .result();
}

namespace {

Params gather_params(int axis, bool inside) {
  Params params{{"axis", int64_t{axis}}};
  if (inside) params.set("inside", int64_t{1});
  return params;
}

}  // namespace

Value* GraphBuilder::gather(Value* data, Value* indices, int axis, bool inside) {
  return create(OpKind::Gather, {data, indices}, gather_params(axis, inside)).result();
}

Value* GraphBuilder::gather_elements(Value* data, Value* indices, int axis, bool inside) {
  return create(OpKind::GatherElements, {data, indices}, gather_params(axis, inside)).result();
}

Value* GraphBuilder::scatter(Value* data, Value* indices, Value* updates, int axis, bool elements,
                             std::string reduction) {
  return create(OpKind::Scatter, {data, indices, updates},
                {{"axis", int64_t{axis}}, {"elements", int64_t{elements}}, {"reduction", std::move(reduction)}})
      .result();
}

// --- reductions and contractions ---------------------------------------------------------------------------------

Value* GraphBuilder::reduce(OpKind kind, Value* value, std::vector<int64_t> axes, bool keep_dims) {
  std::sort(axes.begin(), axes.end());
  Value* reduced = simplified(*this, kind, value, {{"axes", axes}});
  return keep_dims ? expand_axes(reduced, std::move(axes)) : reduced;
}

Value* GraphBuilder::contract(Value* a, Value* b, std::string spec) {
  return create(OpKind::Contract, {a, b}, {{"spec", std::move(spec)}}).result();
}

// Rows of a with all its batch axes become one axis when b has none: "mk,kn->mn", one tall product.
Value* GraphBuilder::matmul(Value* a, Value* b) {
  if (a->type.is_error() || b->type.is_error()) return contract(a, b, "mk,kn->mn");
  if (a->type.rank() == 0 || b->type.rank() == 0)
    throw Error(Fault::Input, "a matrix product needs operands of rank 1 or more, given a scalar");
  CheckNames names(module, origin);
  bool row = a->type.rank() == 1, column = b->type.rank() == 1;
  if (row) a = expand_axes(a, {0});
  if (column) b = expand_axes(b, {1});
  Shape a_shape = a->type.shape, b_shape = b->type.shape;
  require_equal(module, a_shape.back(), b_shape[b_shape.size() - 2], "the contracted extents");
  Shape result;
  Value* product;
  if (b_shape.size() == 2) {
    result.assign(a_shape.begin(), a_shape.end() - 1);
    Dim rows = module.dims.product(result);
    product = contract(reshape(a, {rows, a_shape.back()}), b, "mk,kn->mn");
  } else {
    Shape batch =
        broadcast_shapes(module, Shape(a_shape.begin(), a_shape.end() - 2), Shape(b_shape.begin(), b_shape.end() - 2));
    auto with_batch = [&](Value* value, const Shape& shape) {
      Shape full = batch;
      full.insert(full.end(), shape.end() - 2, shape.end());
      return broadcast_to(value, std::move(full));
    };
    std::string letters;
    for (size_t i = 0; i < batch.size(); ++i) letters += static_cast<char>('a' + i);
    if (letters.size() > 10)
      throw Error(Fault::Unsupported, fmt::format("a matrix product of rank {}", batch.size() + 2));
    product = contract(with_batch(a, a_shape), with_batch(b, b_shape), fmt::format("{0}mk,{0}kn->{0}mn", letters));
    result = batch;
    result.push_back(a_shape[a_shape.size() - 2]);
  }
  if (row) result.pop_back();
  if (!column) result.push_back(b_shape.back());
  return reshape(product, std::move(result));
}

Value* GraphBuilder::conv(Value* x, Value* w, Value* bias, int64_t group, std::vector<int64_t> strides,
                          std::vector<int64_t> dilations, Shape pads) {
  std::vector<Value*> operands = {x, w};
  if (bias) operands.push_back(bias);
  return create(OpKind::Conv, std::move(operands),
                {{"group", group},
                 {"strides", std::move(strides)},
                 {"dilations", std::move(dilations)},
                 {"pads", std::move(pads)}})
      .result();
}

// --- values the host reads ---------------------------------------------------------------------------------------

Value* GraphBuilder::to_host(Value* value, Interval interval) {
  if (value->has_elements()) return value;
  if (!carries_elements(value->type))
    throw Error(Fault::Unsupported, fmt::format("a shape or count from {}", to_string(value->type)));
  if (auto known = evaluate_now(module, value)) {
    Shape elements;
    for (int64_t element : known->integers) elements.push_back(dim(std::clamp(element, kDimMin, kDimMax)));
    return dims_tensor(std::move(elements), known->shape, known->dtype);
  }
  Params params;
  if (interval.lo > kDimMin) params.set("lo", interval.lo);
  if (interval.hi < kDimMax) params.set("hi", interval.hi);
  for (const Use& use : value->uses)
    if (use.op->is(OpKind::ToHost) && use.op->params == params) return use.op->result();
  return create(OpKind::ToHost, {value}, std::move(params)).result();
}

Value* GraphBuilder::true_positions(Value* mask, Dim count) {
  return create(OpKind::TruePositions, {mask}, {{"count", count}}).result();
}

// --- structure ---------------------------------------------------------------------------------------------------

namespace {

std::vector<Value*> arguments_of(const Region& region) {
  std::vector<Value*> arguments;
  for (const auto& argument : region.arguments) arguments.push_back(argument.get());
  return arguments;
}

}  // namespace

std::vector<Value*> GraphBuilder::with_regions(OpKind kind, std::vector<Value*> operands, Params params,
                                               std::vector<std::unique_ptr<Region>> regions) {
  CheckNames names(module, origin);
  std::vector<Type> types = infer_types(module, kind, operands, params, regions);
  Op& op = insert_op(module, region, before, kind, std::move(operands), std::move(params), std::move(types), origin);
  for (auto& inner : regions) inner->owner = &op;
  op.regions = std::move(regions);
  std::vector<Value*> results;
  for (const auto& result : op.results) results.push_back(result.get());
  return results;
}

std::vector<Value*> GraphBuilder::composite(
    std::string name, Params params, std::vector<Value*> operands,
    const std::function<std::vector<Value*>(GraphBuilder&, std::span<Value* const>)>& build) {
  std::vector<std::unique_ptr<Region>> regions;
  Region& body = *regions.emplace_back(std::make_unique<Region>());
  for (const Value* operand : operands) add_argument(module, body, operand->type)->elements = operand->elements;
  GraphBuilder inside(module, body);
  inside.origin = origin;
  inside.yield(build(inside, arguments_of(body)));
  params.set("name", std::move(name));
  return with_regions(OpKind::Composite, std::move(operands), std::move(params), std::move(regions));
}

std::vector<Value*> GraphBuilder::loop(
    Dim trips, std::vector<Value*> carried, std::vector<Value*> captures, bool reverse,
    const std::function<std::vector<Value*>(GraphBuilder&, std::span<Value* const>)>& build) {
  std::vector<std::unique_ptr<Region>> regions;
  Region& body = *regions.emplace_back(std::make_unique<Region>());
  add_argument(module, body, Type::tensor(DType::I64, {}));
  std::vector<Value*> operands = carried;
  operands.insert(operands.end(), captures.begin(), captures.end());
  for (const Value* operand : operands) add_argument(module, body, operand->type);
  GraphBuilder inside(module, body);
  inside.origin = origin;
  inside.yield(build(inside, arguments_of(body)));
  Params params{{"trips", trips}, {"carried", static_cast<int64_t>(carried.size())}};
  if (reverse) params.set("reverse", int64_t{1});
  return with_regions(OpKind::Loop, std::move(operands), std::move(params), std::move(regions));
}

void GraphBuilder::yield(std::vector<Value*> values) {
  insert_op(module, region, region.ops.end(), OpKind::Yield, std::move(values), {}, {}, origin);
  if (before == region.ops.end()) before = std::prev(region.ops.end());
}

Shape GraphBuilder::shape(std::initializer_list<int64_t> extents) {
  Shape result;
  for (int64_t extent : extents) result.push_back(dim(extent));
  return result;
}

}  // namespace lapidary
