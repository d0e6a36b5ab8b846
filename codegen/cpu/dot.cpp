// With VNNI one instruction, vpdpbusd. Without, four bytes of a lane are two pairs of 16-bit numbers, the even and the
// odd ones, each pair multiplied and summed exactly by vpmaddwd; vpmaddubsw would saturate. Test:
// test/codegen/dot_test.cpp.
#include "codegen/cpu/dot.h"

#include <llvm/IR/IntrinsicsX86.h>
#include <llvm/IR/Module.h>

#include "ir/error.h"

namespace lapidary::codegen::cpu {
namespace {

using llvm::Value;

llvm::Type* vector_like(Builder& b, Value* sum, unsigned bits) {
  return llvm::FixedVectorType::get(b.getIntNTy(bits), lanes_of(sum) * 32 / bits);
}

// The intrinsic's own types, whichever this LLVM spells them with.
Value* call_with(Builder& b, llvm::Intrinsic::ID id, llvm::ArrayRef<Value*> args) {
  llvm::Function* function = llvm::Intrinsic::getOrInsertDeclaration(b.GetInsertBlock()->getModule(), id);
  llvm::SmallVector<Value*, 3> cast;
  for (size_t i = 0; i < args.size(); i++)
    cast.push_back(b.CreateBitCast(args[i], function->getFunctionType()->getParamType(static_cast<unsigned>(i))));
  return b.CreateCall(function, cast);
}

llvm::Intrinsic::ID dot_of(unsigned lanes) {
  if (lanes == 16) return llvm::Intrinsic::x86_avx512_vpdpbusd_512;
  if (lanes == 8) return llvm::Intrinsic::x86_avx512_vpdpbusd_256;
  LPD_CHECK(lanes == 4, "a dot of {} lanes", lanes);
  return llvm::Intrinsic::x86_avx512_vpdpbusd_128;
}

llvm::Intrinsic::ID pairs_of(unsigned lanes) {
  if (lanes == 16) return llvm::Intrinsic::x86_avx512_pmaddw_d_512;
  if (lanes == 8) return llvm::Intrinsic::x86_avx2_pmadd_wd;
  LPD_CHECK(lanes == 4, "a dot of {} lanes", lanes);
  return llvm::Intrinsic::x86_sse2_pmadd_wd;
}

// On other machines, and for other widths: four multiplications of 32 bits.
Value* plain_dot(Builder& b, Value* x, Value* y, Value* sum, bool x_is_signed) {
  const int lanes = static_cast<int>(lanes_of(sum));
  const bool one_for_all = lanes_of(x) == 4;
  for (int j = 0; j < 4; j++) {
    llvm::SmallVector<int, 16> every_fourth, same(static_cast<size_t>(lanes), j);
    for (int lane = 0; lane < lanes; lane++) every_fourth.push_back(4 * lane + j);
    auto widened = [&](Value* bytes, const llvm::SmallVector<int, 16>& from, bool is_signed) {
      return b.CreateIntCast(b.CreateShuffleVector(bytes, from), sum->getType(), is_signed);
    };
    Value* left = widened(x, one_for_all ? same : every_fourth, x_is_signed);
    sum = b.CreateAdd(sum, b.CreateMul(left, widened(y, every_fourth, !x_is_signed)));
  }
  return sum;
}

// The even and the odd bytes of 16-bit lanes as numbers.
Value* even_bytes(Builder& b, Value* x, bool is_signed) {
  return is_signed ? b.CreateAShr(b.CreateShl(x, 8), 8) : b.CreateAnd(x, whole(x, 0xff));
}
Value* odd_bytes(Builder& b, Value* x, bool is_signed) { return is_signed ? b.CreateAShr(x, 8) : b.CreateLShr(x, 8); }

bool is_x86(Builder& b) { return b.GetInsertBlock()->getModule()->getTargetTriple().isX86(); }

}  // namespace

Value* emit_dot(const Emission& e, Value* a, Value* b, Value* sum, bool a_is_signed) {
  Builder& build = e.build;
  const unsigned lanes = lanes_of(sum);
  LPD_CHECK((lanes_of(a) == 4 || lanes_of(a) == 4 * lanes) && lanes_of(b) == 4 * lanes, "a dot of {} numbers",
            lanes_of(a));
  if (!is_x86(build) || (lanes != 4 && lanes != 8 && lanes != 16)) return plain_dot(build, a, b, sum, a_is_signed);
  const bool one_for_all = lanes_of(a) == 4;
  Value* repeated = one_for_all ? splat(build, build.CreateBitCast(a, build.getInt32Ty()), lanes)
                                : build.CreateBitCast(a, sum->getType());
  if (e.target.byte_dots)  // unsigned bytes first
    return call_with(build, dot_of(lanes), {sum, a_is_signed ? b : repeated, a_is_signed ? repeated : b});
  llvm::Type* halves = vector_like(build, sum, 16);
  Value *x = build.CreateBitCast(repeated, halves), *y = build.CreateBitCast(b, halves);
  auto pairs = [&](auto bytes) {
    return call_with(build, pairs_of(lanes), {bytes(build, x, a_is_signed), bytes(build, y, !a_is_signed)});
  };
  Value *even = pairs(even_bytes), *odd = pairs(odd_bytes);
  return build.CreateAdd(sum, build.CreateAdd(even, odd));
}

}  // namespace lapidary::codegen::cpu
