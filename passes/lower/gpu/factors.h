// Factors of a product that a step before it makes, as the copy engine and Hopper's warpgroups want them: whole packets
// of 16 bytes along k, in the type that is multiplied. Operands that lie or are otherwise would come by the threads of
// the producer, word by word, and all others would wait: words whose neighbours lie along rows or columns (a and b of
// a^T b, b of a b; 4096^3 of tf32 took 1949 us so on an H200, cuBLAS 351), and f32 to be rounded to bf16. To turn 64 MB
// first is 128 MB through memory, some 40 us. Bytes lie along k for all tensor cores.
//
// f32 as the sum of two tf32 (3xtf32) is a product of tf32 whose depth is three times as long, small terms first:
//
//   x = big + small to 2^-22 |x|:  a' = [big(a) | small(a) | big(a)], b' = [small(b) | big(b) | big(b)] along k
//
//   scratch[batch][line][piece][k], k padded with zeros to whole packets; a line is a row of a or a column of b
#pragma once

#include "passes/lower/gpu/product.h"

namespace lapidary::lowering::gpu {

// May they be made? Of f32 that Hopper multiplies in another form, and of bytes.
bool may_make_factors(const Context&, const ProductForm&);

// Of the form's operands, where f32 is multiplied so; of more pieces than one, both are made.
MadeFactors made_factors(DimPool&, const ProductForm&, passes::F32Products);
// Through memory: those of the operand and those of its factors.
Dim moved_bytes(DimPool&, const ProductForm&, const MadeFactors&, bool of_a);

struct Making {  // of which operands
  bool a = false, b = false;
};
// The form of a product whose operands lie in scratch memory; the group's bytes of it.
ProductForm made_form(Context&, const ProductForm&, const Making&, std::vector<Dim>& scratch);
// Element k of the line, the pieces one after the other.
loops::Expr made_element(KernelBuilder&, const ProductForm& made, bool of_a, const loops::Expr& batch,
                         const loops::Expr& line, const loops::Expr& k);
// The steps before that of the product, which is the first. `form`: of operands as they are.
void add_steps_of_factors(Context&, const Op& group, const ProductForm& form, const ProductForm& made, LoweredGroup&);

}  // namespace lapidary::lowering::gpu
