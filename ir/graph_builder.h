// Builds ops at an insertion point, inferring types and shapes, and folding what is free: shape arithmetic on
// Value::elements, identities (reshape to the same shape, broadcast that changes nothing, transpose by the identity),
// so that importers and passes can write the general form without a thought. Dims that must agree and cannot be
// proven to become Checks with the current origin.
//
// Wrong operands (a user's model) throw Error{Fault::Input} whose message lacks the node: importers catch it, prefix
// the origin, and give the results the error type.
#pragma once

#include "ir/graph.h"

namespace lapidary {

class GraphBuilder {
 public:
  GraphBuilder(Module&, Region&);  // at the end (before the yield, if any)
  GraphBuilder(Module&, Region&, std::list<Op>::iterator before);

  Module& module;
  Region& region;
  std::list<Op>::iterator before;
  Origin origin = 0;

  // --- leaves
  Value* constant(ConstantId);
  Value* scalar(Scalar);  // rank 0
  Value* scalar(DType, double);
  Value* splat(DType, Shape, double);  // broadcast scalar
  Value* dims_tensor(std::vector<Dim> elements, std::vector<int64_t> shape, DType = DType::I64);
  Value* shape_of(Value*);  // i64[rank], elements known
  Value* iota(DType, Shape, int axis);
  // --- elementwise: operands broadcast to each other numpy-style first
  Value* scalar_op(ScalarOp, std::vector<Value*> operands);
  Value* neg(Value* x) { return scalar_op(ScalarOp::Neg, {x}); }
  Value* add(Value* a, Value* b) { return scalar_op(ScalarOp::Add, {a, b}); }
  Value* sub(Value* a, Value* b) { return scalar_op(ScalarOp::Sub, {a, b}); }
  Value* mul(Value* a, Value* b) { return scalar_op(ScalarOp::Mul, {a, b}); }
  Value* div(Value* a, Value* b) { return scalar_op(ScalarOp::Div, {a, b}); }
  Value* select(Value* c, Value* a, Value* b) { return scalar_op(ScalarOp::Select, {c, a, b}); }
  Value* like(Value* x, double number);  // scalar of x's dtype
  Value* convert(Value*, DType);
  // --- shape
  Value* broadcast(Value*, std::vector<int64_t> axes, Shape);  // broadcast_in_dim
  Value* broadcast_to(Value*, Shape);                          // trailing axes aligned
  Value* reshape(Value*, Shape);
  Value* expand_axes(Value*, std::vector<int64_t> axes);  // unsqueeze: axes of the result, sorted
  Value* drop_axes(Value*, std::vector<int64_t> axes);    // squeeze: each of extent 1
  Value* transpose(Value*, std::vector<int64_t> perm);
  Value* slice(Value*, Shape starts, std::vector<int64_t> steps, Shape sizes);
  Value* slice_axis(Value*, int axis, Dim start, Dim size);
  Value* concat(std::vector<Value*>, int axis);
  Value* pad(Value*, Shape lo, Shape hi, std::string mode = "constant", Value* fill = nullptr);
  // inside: the indices are known to lie in [0, extent); nothing is checked then.
  Value* gather(Value* data, Value* indices, int axis, bool inside = false);
  Value* gather_elements(Value* data, Value* indices, int axis, bool inside = false);
  Value* scatter(Value* data, Value* indices, Value* updates, int axis, bool elements, std::string reduction);
  // The value with elements known as Dims; where they are not yet, a to_host op names them. Throws Unsupported for
  // what is no integer or bool tensor of at most 64 elements.
  Value* to_host(Value*, Interval = {kDimMin, kDimMax});
  Value* true_positions(Value* mask, Dim count);
  // --- reductions and contractions
  Value* reduce(OpKind, Value*, std::vector<int64_t> axes, bool keep_dims = false);
  Value* contract(Value* a, Value* b, std::string spec);
  Value* matmul(Value* a, Value* b);  // numpy matmul, broadcasting batch axes
  Value* conv(Value* x, Value* w, Value* bias, int64_t group, std::vector<int64_t> strides,
              std::vector<int64_t> dilations, Shape pads);
  // --- structure
  // A composite whose body `build` fills: it gets a builder inside the region and the region's arguments.
  std::vector<Value*> composite(
      std::string name, Params params, std::vector<Value*> operands,
      const std::function<std::vector<Value*>(GraphBuilder&, std::span<Value* const>)>& build);
  // `build` gets (iteration, carried…, captures…) and returns (carried…, slices…).
  std::vector<Value*> loop(Dim trips, std::vector<Value*> carried, std::vector<Value*> captures, bool reverse,
                           const std::function<std::vector<Value*>(GraphBuilder&, std::span<Value* const>)>& build);
  // A Loop, If or composite of regions that the caller has filled.
  std::vector<Value*> with_regions(OpKind, std::vector<Value*> operands, Params,
                                   std::vector<std::unique_ptr<Region>> regions);
  void yield(std::vector<Value*>);
  // Any op by kind: infers its result types (infer_types.h), throws on a mismatch. All of the above end here.
  Op& create(OpKind, std::vector<Value*> operands, Params params = {});

  Dim dim(int64_t value) { return module.dims.constant(value); }
  Shape shape(std::initializer_list<int64_t> extents);
};

// Types of the results of an op of this kind; throws Error{Fault::Input} when operands or parameters do not fit.
// Group, Composite and Loop take theirs from the region's yield.
std::vector<Type> infer_types(Module&, OpKind, std::span<Value* const> operands, const Params&,
                              std::span<const std::unique_ptr<Region>> regions);
// Elements of an op's results as Dims where its operands' are known (Add on two shapes, Gather from a shape, …).
void infer_elements(Module&, Op&);

}  // namespace lapidary
