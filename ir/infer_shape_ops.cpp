// Result types of what moves elements without arithmetic: reshape, broadcast, slices, gathers.
#include <algorithm>

#include "ir/infer.h"
#include "ir/layout.h"

namespace lapidary {

Type infer_dims_tensor(const Inference& op) {
  const std::vector<int64_t>& extents = op.params.integers("shape");
  int64_t count = 1;
  for (int64_t extent : extents) {
    bool fits = extent >= 0 && !__builtin_mul_overflow(count, extent, &count);
    if (!fits) op.fail("a table of shape [{}]", fmt::join(extents, ", "));
  }
  op.require_length("elements", op.params.dims("elements").size(), static_cast<size_t>(count));
  DType dtype = op.params.dtype("dtype");
  if (!is_integer(dtype) && dtype != DType::Bool) op.fail("dims_tensor of {}", name_of(dtype));
  Shape shape;
  for (int64_t extent : extents) shape.push_back(op.constant(extent));
  return Type::tensor(dtype, std::move(shape));
}

Type infer_iota(const Inference& op) {
  const Shape& shape = op.params.dims("shape");
  op.axis(op.params.integer("axis"), static_cast<int>(shape.size()));
  DType dtype = op.params.dtype("dtype");
  if (!is_integer(dtype) && !is_float(dtype)) op.fail("iota of {}", name_of(dtype));
  return Type::tensor(dtype, shape);
}

Type infer_broadcast(const Inference& op) {
  const std::vector<int64_t>& axes = op.params.integers("axes");
  const Shape& shape = op.params.dims("shape");
  op.require_length("axes", axes.size(), op.shape(0).size());
  op.require_axes(axes, static_cast<int>(shape.size()));
  for (size_t i = 0; i < axes.size(); i++) require_broadcasts(op.module, op.shape(0)[i], shape[axes[i]]);
  return Type::tensor(op.type(0).dtype, shape);
}

Type infer_reshape(const Inference& op) {
  const Shape& shape = op.params.dims("shape");
  Dim before = op.dims().product(op.shape(0)), after = op.dims().product(shape);
  if (known_unequal(before, after)) {
    op.fail("shape {} of {} elements does not reshape to {} of {}", to_string(op.shape(0)), to_string(before),
            to_string(shape), to_string(after));
  }
  std::string what = fmt::format("element counts of shapes {} and {}:", to_string(op.shape(0)), to_string(shape));
  require_equal(op.module, before, after, what);
  return Type::tensor(op.type(0).dtype, shape);
}

Type infer_transpose(const Inference& op) {
  const std::vector<int64_t>& perm = op.params.integers("perm");
  op.require_length("perm", perm.size(), op.shape(0).size());
  std::vector<bool> seen(perm.size());
  Shape shape;
  for (int64_t axis : perm) {
    if (seen[op.axis(axis, op.type(0).rank())]) op.fail("perm [{}] names axis {} twice", fmt::join(perm, ", "), axis);
    seen[axis] = true;
    shape.push_back(op.shape(0)[axis]);
  }
  return Type::tensor(op.type(0).dtype, std::move(shape));
}

namespace {

void check_slice(const Inference& op, int axis, Dim start, int64_t step, Dim size) {
  if (step == 0) op.fail("axis {}: the step of a slice is 0", axis);
  auto first = value_of(start), count = value_of(size), extent = value_of(op.shape(0)[axis]);
  if (count && *count < 0) op.fail("axis {}: a slice of {} elements", axis, *count);
  if (!first || !count || !extent || *count == 0) return;
  std::optional<int64_t> last =
      value_of(op.dims().add(start, op.dims().mul(op.constant(*count - 1), op.constant(step))));
  if (*first < 0 || *first >= *extent || *last < 0 || *last >= *extent) {
    op.fail("axis {}: a slice from {} to {} leaves the extent {}", axis, *first, *last, *extent);
  }
}

}  // namespace

Type infer_slice(const Inference& op) {
  const std::vector<Dim>&starts = op.params.dims("starts"), &sizes = op.params.dims("sizes");
  const std::vector<int64_t>& steps = op.params.integers("steps");
  size_t rank = op.shape(0).size();
  op.require_length("starts", starts.size(), rank);
  op.require_length("steps", steps.size(), rank);
  op.require_length("sizes", sizes.size(), rank);
  for (size_t i = 0; i < rank; i++) check_slice(op, static_cast<int>(i), starts[i], steps[i], sizes[i]);
  return Type::tensor(op.type(0).dtype, sizes);
}

Type infer_concat(const Inference& op) {
  int rank = op.type(0).rank();
  int64_t axis = op.axis(op.params.integer("axis"), rank);
  Shape shape = op.shape(0);
  for (int i = 1; i < static_cast<int>(op.operands.size()); i++) {
    op.require_same_dtype(0, i);
    if (op.type(i).rank() != rank) op.fail("operand {} has rank {}, expected {}", i, op.type(i).rank(), rank);
    for (int k = 0; k < rank; k++) {
      if (k == axis) {
        shape[k] = op.dims().add(shape[k], op.shape(i)[k]);
      } else {
        require_equal(op.module, shape[k], op.shape(i)[k],
                      fmt::format("extents of axis {} of concatenated operands", k));
      }
    }
  }
  return Type::tensor(op.type(0).dtype, std::move(shape));
}

Type infer_pad(const Inference& op) {
  const std::vector<Dim>&lo = op.params.dims("lo"), &hi = op.params.dims("hi");
  const std::string& mode = op.params.text("mode");
  op.require_length("lo", lo.size(), op.shape(0).size());
  op.require_length("hi", hi.size(), op.shape(0).size());
  if (mode != "constant" && mode != "edge" && mode != "reflect" && mode != "wrap")
    op.fail("pad mode '{}'", printable(mode));
  if (op.operands.size() == 2) {
    op.require_same_dtype(0, 1);
    if (op.type(1).rank() != 0) op.fail("the fill value has rank {}, expected 0", op.type(1).rank());
  }
  Shape shape;
  for (size_t i = 0; i < lo.size(); i++) {
    shape.push_back(op.dims().add(op.shape(0)[i], op.dims().add(lo[i], hi[i])));
    if (range(shape[i]).hi < 0) op.fail("axis {} is cropped to extent {}", i, to_string(shape[i]));
  }
  return Type::tensor(op.type(0).dtype, std::move(shape));
}

namespace {

// What lies dense in memory, its last byte padded, read as another type and shape.
Type infer_same_bytes(const Inference& op, DType to, const Shape& shape) {
  const Type result = Type::tensor(to, shape);
  if (bit_width(op.type(0).dtype) == 0 || bit_width(to) == 0)
    op.fail("bits of {} cannot be read as {}", name_of(op.type(0).dtype), name_of(to));
  Dim before = physical_bytes(op.dims(), op.type(0)), after = physical_bytes(op.dims(), result);
  const std::string what = fmt::format("bytes of {} and {}:", to_string(op.type(0)), to_string(result));
  if (known_unequal(before, after)) op.fail("{} {} and {}", what, to_string(before), to_string(after));
  require_equal(op.module, before, after, what);
  return result;
}

}  // namespace

Type infer_bit_cast(const Inference& op) {
  const DType from = op.type(0).dtype, to = op.params.dtype("to");
  if (op.params.has("shape")) return infer_same_bytes(op, to, op.params.dims("shape"));
  if (bit_width(from) == 0 || bit_width(from) != bit_width(to))
    op.fail("bits of {} cannot be read as {}", name_of(from), name_of(to));
  return Type::tensor(to, op.shape(0));
}

namespace {

void require_index(const Inference& op) {
  DType dtype = op.type(1).dtype;
  if (dtype != DType::I64 && dtype != DType::I32) op.fail("indices have type {}, expected i64 or i32", name_of(dtype));
}

}  // namespace

Type infer_gather(const Inference& op) {
  require_index(op);
  int64_t axis = op.axis(op.params.integer("axis"), op.type(0).rank());
  Shape shape(op.shape(0).begin(), op.shape(0).begin() + axis);
  shape.insert(shape.end(), op.shape(1).begin(), op.shape(1).end());
  shape.insert(shape.end(), op.shape(0).begin() + axis + 1, op.shape(0).end());
  return Type::tensor(op.type(0).dtype, std::move(shape));
}

Type infer_gather_elements(const Inference& op) {
  require_index(op);
  op.axis(op.params.integer("axis"), op.type(0).rank());
  if (op.type(1).rank() != op.type(0).rank()) {
    op.fail("indices have rank {}, expected {}", op.type(1).rank(), op.type(0).rank());
  }
  return Type::tensor(op.type(0).dtype, op.shape(1));
}

}  // namespace lapidary
