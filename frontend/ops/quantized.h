// Numbers stored as integer codes: x ≈ (code - zero point) · scale. What the quantised operators share.
#pragma once

#include "frontend/ops/common.h"
#include "ir/composites.h"

namespace lapidary::frontend {

// A scale or zero point as it broadcasts to x: a scalar as it is, a vector along `axis`, and with block_size > 0 one
// number for each block of that many elements along `axis`.
Value* aligned(Node&, Value* parameter, const Shape& x, int axis, int64_t block_size = 0);

// x as i32 less its zero point (null: 0), which broadcasts to it.
Value* centred(Node&, Value* x, Value* zero_point);

// A zero point of this type: `given`, or 0 when it is null.
inline Value* zero_point_or(Node& node, Value* given, DType dtype) {
  return given ? given : node.build.scalar(dtype, 0);
}

// DynamicQuantizeLinear: u8 codes, scale and zero point of all of x.
struct Quantized {
  Value *codes, *scale, *zero_point;
};
Quantized dynamically_quantized(Node&, Value* x);

}  // namespace lapidary::frontend
