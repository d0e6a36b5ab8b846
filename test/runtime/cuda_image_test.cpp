// Which image a device runs, by the rules of NVIDIA's compatibility guide, written out as a table.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "runtime/abi.h"

extern "C" const lpd_device_image* lpd_cuda_pick_image(const lpd_device_code*, uint32_t capability);  // runtime/cuda.h

namespace lapidary::test {
namespace {

lpd_device_image cubin(const char* arch, uint32_t capability, bool exact = false) {
  return {.arch = arch, .capability = capability, .exact = exact};
}
lpd_device_image ptx(const char* arch, uint32_t capability, bool exact = false) {
  return {.arch = arch, .capability = capability, .is_ptx = 1, .exact = exact};
}

// "" when none runs.
std::string picked(const std::vector<lpd_device_image>& images, uint32_t capability) {
  const lpd_device_code code{nullptr, images.data(), nullptr, 0, static_cast<uint32_t>(images.size())};
  const lpd_device_image* image = lpd_cuda_pick_image(&code, capability);
  return image ? image->arch : "";
}

const std::vector<lpd_device_image> kCommon = {cubin("sm_75", 75),   cubin("sm_80", 80),        cubin("sm_86", 86),
                                               cubin("sm_90", 90),   cubin("sm_90a", 90, true), cubin("sm_100", 100),
                                               cubin("sm_120", 120), ptx("compute_120", 120)};

TEST(CudaImage, NearestOfTheSameMajorCapability) {
  const std::pair<uint32_t, const char*> table[] = {
      {70, ""},        {72, ""},        {75, "sm_75"},       {80, "sm_80"},   {86, "sm_86"},
      {87, "sm_86"},   {89, "sm_86"},   {90, "sm_90a"},      {100, "sm_100"}, {103, "sm_100"},
      {120, "sm_120"}, {121, "sm_120"}, {130, "compute_120"}};
  for (const auto& [capability, arch] : table) EXPECT_EQ(picked(kCommon, capability), arch) << capability;
}

TEST(CudaImage, OneForADeviceAloneRunsThereAlone) {
  const std::vector<lpd_device_image> images = {cubin("sm_90a", 90, true)};
  EXPECT_EQ(picked(images, 90), "sm_90a");
  EXPECT_EQ(picked(images, 91), "");
  EXPECT_EQ(picked(images, 100), "");
}

TEST(CudaImage, TheOrderOfTheImagesIsTheSame) {
  std::vector<lpd_device_image> images = kCommon;
  for (size_t turn = 0; turn < images.size(); ++turn) {
    std::rotate(images.begin(), images.begin() + 1, images.end());
    EXPECT_EQ(picked(images, 90), "sm_90a");
    EXPECT_EQ(picked(images, 89), "sm_86");
    EXPECT_EQ(picked(images, 130), "compute_120");
  }
}

TEST(CudaImage, PtxIsForWhatHasNoCubin) {
  const std::vector<lpd_device_image> images = {ptx("compute_75", 75), cubin("sm_80", 80), ptx("compute_80", 80),
                                                ptx("compute_90a", 90, true)};
  EXPECT_EQ(picked(images, 75), "compute_75");
  EXPECT_EQ(picked(images, 80), "sm_80");
  EXPECT_EQ(picked(images, 86), "sm_80");
  EXPECT_EQ(picked(images, 90), "compute_90a");
  EXPECT_EQ(picked(images, 100), "compute_80");
  EXPECT_EQ(picked(images, 70), "");
  EXPECT_EQ(picked({}, 80), "");
}

}  // namespace
}  // namespace lapidary::test
