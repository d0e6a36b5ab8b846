// What --target=cuda:LIST names: sorted images, once each, and what all devices that may run them have.
#include <gtest/gtest.h>

#include "codegen/codegen.h"
#include "codegen/cuda/target.h"
#include "ir/error.h"

namespace lapidary::codegen {
namespace {

using Images = std::vector<std::string>;

Images images_of(const std::string& target) { return resolve_target(target).images; }

TEST(CudaTarget, ImagesAreSortedAndThereOnce) {
  EXPECT_EQ(images_of("cuda:sm_120,sm_90a,sm_80,sm_90a"), (Images{"sm_80", "sm_90a", "sm_120", "compute_120"}));
  EXPECT_EQ(images_of("cuda:sm_90a,sm_90"), (Images{"sm_90", "sm_90a", "compute_90"}));
  EXPECT_EQ(resolve_target("cuda:sm_80,sm_75").name, "cuda:sm_75,sm_80,compute_80");
}

TEST(CudaTarget, PtxIsOfTheNewestWithoutALetterUnlessToldOtherwise) {
  EXPECT_EQ(images_of("cuda:sm_80"), (Images{"sm_80", "compute_80"}));
  EXPECT_EQ(images_of("cuda:sm_80,no-ptx"), (Images{"sm_80"}));
  EXPECT_EQ(images_of("cuda:sm_120,compute_80"), (Images{"sm_120", "compute_80"}));
  EXPECT_EQ(images_of("cuda:compute_90"), (Images{"compute_90"}));
  EXPECT_EQ(images_of("cuda:sm_90a"), (Images{"sm_90a"}));
}

TEST(CudaTarget, WordsAloneMeanTheDefaultList) {
  EXPECT_EQ(images_of("cuda"), images_of(std::string("cuda:") + cuda::kDefaultList));
  EXPECT_EQ(images_of("cuda").back(), "compute_120");
}

TEST(CudaTarget, IsWhatAllDevicesHave) {
  const Target both = resolve_target("cuda:sm_120,sm_80");
  EXPECT_EQ(both.arch, Arch::Cuda);
  EXPECT_TRUE(both.is_gpu());
  EXPECT_EQ(both.capability, 80);
  EXPECT_FALSE(both.capability_only);
  EXPECT_EQ(both.shared_bytes, 99 << 10);
  EXPECT_EQ(resolve_target("cuda:sm_90,sm_80,no-ptx").shared_bytes, 163 << 10);
  EXPECT_EQ(resolve_target("cuda:sm_80").shared_bytes, 99 << 10) << "the PTX may meet a later device";
  EXPECT_EQ(resolve_target("cuda:sm_75").shared_bytes, 64 << 10);
}

TEST(CudaTarget, LevelsAreGenerations) {
  std::vector<Images> levels;
  for (const Target& level : cuda::resolve_targets("cuda")) levels.push_back(level.images);
  EXPECT_EQ(levels, (std::vector<Images>{
                        {"sm_90a"}, {"sm_80", "sm_86", "sm_89", "sm_100", "sm_120", "compute_120"}, {"sm_75"}}));
  EXPECT_EQ(cuda::resolve_targets("cuda:sm_80").size(), 1);
}

TEST(CudaTarget, OnlyALetterAloneIsOfOneCapability) {
  EXPECT_TRUE(resolve_target("cuda:sm_90a").capability_only);
  EXPECT_EQ(resolve_target("cuda:sm_90a").shared_bytes, 227 << 10);
  EXPECT_FALSE(resolve_target("cuda:sm_90").capability_only);
  EXPECT_FALSE(resolve_target("cuda:sm_90,sm_90a").capability_only);
  EXPECT_FALSE(resolve_target("cuda:sm_80,sm_90a").capability_only);
}

TEST(CudaTarget, WrongListsAreWrongUsage) {
  for (const char* wrong :
       {"cuda:", "cuda:sm_77", "cuda:sm_80,", "cuda:,sm_80", "cuda:80", "cuda:sm_", "cuda:sm_90b", "cuda:sm_80;sm_90",
        "cuda:no-ptx", "cuda:compute_80,no-ptx", "cuda:SM_80", "cudas", "cuda_80"}) {
    try {
      resolve_target(wrong);
      ADD_FAILURE() << wrong;
    } catch (const Error& error) { EXPECT_EQ(error.fault, Fault::Usage) << wrong; }
  }
}

}  // namespace
}  // namespace lapidary::codegen
