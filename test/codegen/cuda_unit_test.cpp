// A unit begins with what its kernels use, and nothing else that costs time.
#include <gtest/gtest.h>

#include "codegen/cuda/unit.h"

namespace lapidary::codegen::cuda {
namespace {

bool holds(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST(CudaUnit, PlainKernelsGetNoMore) {
  const std::string text = unit_text("y = op_add(x, x);");
  EXPECT_TRUE(holds(text, "op_add"));
  EXPECT_FALSE(holds(text, "CONVERSION"));
  EXPECT_FALSE(holds(text, "reduce_threads"));
  EXPECT_FALSE(holds(text, "struct product_fma"));
}

TEST(CudaUnit, EachConversionThatIsUsedOnce) {
  const std::string text = unit_text("convert_f32_f16(convert_i64_f32(x)), convert_f32_f16(y), my_convert_f64_i8(z)");
  EXPECT_TRUE(text.ends_with("\nconvert_f32_f16(convert_i64_f32(x)), convert_f32_f16(y), my_convert_f64_i8(z)"));
  EXPECT_TRUE(holds(text, "CONVERSION(f32, f16)\nCONVERSION(i64, f32)\n"));
  EXPECT_FALSE(holds(text, "CONVERSION(f64, i8)"));
}

TEST(CudaUnit, ProductsBringWhatTheyNeed) {
  const std::string fma = unit_text("typedef product_fma<f32, f32, 32, 32, 16, 64, 2> p;");
  EXPECT_TRUE(holds(fma, "struct operand"));
  EXPECT_TRUE(holds(fma, "struct product_fma"));
  EXPECT_FALSE(holds(fma, "struct product_mma"));
  const std::string mma = unit_text("typedef product_mma<atom_f16, 64, 64, 32, 2, 2, 3> p;");
  EXPECT_TRUE(holds(mma, "struct product_mma"));
  EXPECT_FALSE(holds(mma, "struct product_fma"));
  EXPECT_FALSE(holds(unit_text("f32 product_fma_3 = x;"), "struct product_fma")) << "a variable's name";
}

TEST(CudaUnit, TheDevicesOwnPartIsForItsCompiler) {
  const std::string text = unit_text("");
  EXPECT_TRUE(text.starts_with("#ifdef __CUDACC__\n"));
  EXPECT_TRUE(holds(text, "__device__"));
}

}  // namespace
}  // namespace lapidary::codegen::cuda
