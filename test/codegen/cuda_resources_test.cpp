// Logs as NVRTC 12.1 and 13.0 wrote them.
#include <gtest/gtest.h>

#include "codegen/cuda/resources.h"

namespace lapidary::codegen::cuda {
namespace {

TEST(CudaResources, OfEachKernel) {
  const auto found = parse_resources(
      "ptxas info    : 100 bytes gmem, 256 bytes cmem[4]\n"
      "ptxas info    : Compiling entry function 'lpd_k1' for 'sm_80'\n"
      "ptxas info    : Function properties for lpd_k1\n"
      "ptxas         .     80 bytes stack frame, 76 bytes spill stores, 88 bytes spill loads\n"
      "ptxas info    : Used 255 registers, used 1 barriers, 80 bytes cumulative stack size, 33792 bytes smem, 400 "
      "bytes cmem[0]\n"
      "ptxas info    : Compile time = 1.362 ms\n"
      "ptxas info    : Compiling entry function 'lpd_k0_1' for 'sm_80'\n"
      "ptxas info    : Function properties for lpd_k0_1\n"
      "ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
      "ptxas info    : Used 10 registers, used 0 barriers, 368 bytes cmem[0]\n");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].kernel, "lpd_k1");
  EXPECT_EQ(found[0].registers, 255);
  EXPECT_EQ(found[0].stack_bytes, 80);
  EXPECT_EQ(found[0].spill_store_bytes, 76);
  EXPECT_EQ(found[0].spill_load_bytes, 88);
  EXPECT_EQ(found[0].shared_bytes, 33792);
  EXPECT_EQ(found[1].kernel, "lpd_k0_1");
  EXPECT_EQ(found[1].registers, 10);
  EXPECT_EQ(found[1].shared_bytes, 0);
}

TEST(CudaResources, WordsOfOtherVersions) {
  const auto found = parse_resources(
      "ptxas info    : 404 bytes gmem\n"
      "ptxas info    : Compiling entry function 'lpd_k0' for 'sm_90a'\n"
      "ptxas info    : Function properties for lpd_k0\n"
      "    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads\n"
      "ptxas info    : Used 32 registers");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].registers, 32);
  EXPECT_EQ(found[0].spill_store_bytes, 4);
  EXPECT_EQ(found[0].spill_load_bytes, 12);
}

TEST(CudaResources, FunctionsThatAreNotInlinedAreNotTheKernel) {
  const auto found = parse_resources(
      "ptxas info    : Compiling entry function 'lpd_k0' for 'sm_80'\n"
      "ptxas info    : Function properties for helper\n"
      "ptxas         .     40 bytes stack frame, 36 bytes spill stores, 36 bytes spill loads\n"
      "ptxas info    : Function properties for lpd_k0\n"
      "ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
      "ptxas info    : Used 40 registers\n");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].spill_store_bytes, 0);
  EXPECT_EQ(found[0].registers, 40);
}

TEST(CudaResources, OtherTextsHaveNone) {
  for (const char* log :
       {"", "\n\n", "ptxas info    : Used 40 registers\n", "ptxas info : Compiling entry function 'x"})
    EXPECT_TRUE(parse_resources(log).empty()) << log;
}

}  // namespace
}  // namespace lapidary::codegen::cuda
