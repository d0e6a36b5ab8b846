// What is packed comes back as it was; what was changed since is found out, and nothing beyond it read or written.
#include "codegen/cuda/packing.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "runtime/abi.h"

extern "C" char* lpd_cuda_unpack_image(const lpd_device_image*, int* damaged);  // runtime/cuda.h

namespace lapidary::codegen::cuda {
namespace {

// Alike and yet not the same, as kernels are.
std::vector<char> module(size_t bytes, unsigned seed) {
  std::vector<char> content(bytes);
  for (size_t i = 0; i < bytes; ++i) content[i] = static_cast<char>(i % 61 == 0 ? i * seed : i / 8 % 13);
  return content;
}

std::vector<Image> images() {
  return {{.arch = "sm_80", .bytes = module(5000, 1)},
          {.arch = "sm_80", .bytes = module(7001, 2)},
          {.arch = "compute_80", .bytes = module(3000, 3)},
          {.arch = "sm_75", .bytes = module(5000, 4), .level = 1}};
}

struct Unpacked {
  std::unique_ptr<char, decltype(&std::free)> bytes{nullptr, std::free};
  int damaged = 0;
};

// From a copy that ends where it ends, so that a sanitizer sees who reads on.
Unpacked unpack(const PackedImage& image, const std::vector<char>& frame) {
  const auto copy = std::make_unique<char[]>(frame.size());
  std::copy(frame.begin(), frame.end(), copy.get());
  const lpd_device_image entry{
      .content = copy.get(), .bytes = static_cast<int64_t>(frame.size()), .plain_bytes = image.plain_bytes};
  Unpacked unpacked;
  unpacked.bytes.reset(lpd_cuda_unpack_image(&entry, &unpacked.damaged));
  return unpacked;
}

TEST(CudaPacking, ModulesComeBackEachEndedByAZero) {
  const std::vector<PackedImage> packed = pack(images(), 2);
  ASSERT_EQ(packed.size(), 3U);
  EXPECT_EQ(packed[0].arch, "sm_80");
  EXPECT_EQ(packed[1].arch, "compute_80");
  EXPECT_EQ(packed[2].level, 1U);
  size_t next = 0;
  for (const PackedImage& image : packed) {
    EXPECT_LT(image.frame.size(), static_cast<size_t>(image.plain_bytes) / 2);
    const Unpacked unpacked = unpack(image, image.frame);
    ASSERT_TRUE(unpacked.bytes);
    EXPECT_FALSE(unpacked.damaged);
    for (const int64_t at : image.modules) {
      const std::vector<char> expected = images()[next++].bytes;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(unpacked.bytes.get() + at) % LPD_MODULE_ALIGNMENT, 0U);
      EXPECT_EQ(std::memcmp(unpacked.bytes.get() + at, expected.data(), expected.size()), 0);
      EXPECT_EQ(unpacked.bytes.get()[at + static_cast<int64_t>(expected.size())], 0);
    }
  }
  EXPECT_EQ(next, images().size());
}

TEST(CudaPacking, TheNumberOfThreadsChangesNothing) {
  const std::vector<PackedImage> one = pack(images(), 1), two = pack(images(), 2);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_EQ(one[i].frame, two[i].frame);
}

void expect_damage(const PackedImage& image, const std::vector<char>& frame, size_t at) {
  const Unpacked unpacked = unpack(image, frame);
  EXPECT_FALSE(unpacked.bytes) << at;
  EXPECT_TRUE(unpacked.damaged) << at;
}

// Bits that pad the frame's parts have no meaning.
TEST(CudaPacking, AChangedByteIsFoundOrChangesNothing) {
  const PackedImage image = pack(images(), 1)[0];
  const Unpacked expected = unpack(image, image.frame);
  size_t found = 0;
  for (size_t i = 0; i < image.frame.size(); ++i) {
    std::vector<char> frame = image.frame;
    frame[i] = static_cast<char>(frame[i] ^ (1 << i % 8));
    const Unpacked unpacked = unpack(image, frame);
    found += static_cast<size_t>(unpacked.damaged);
    if (unpacked.bytes)
      EXPECT_EQ(std::memcmp(unpacked.bytes.get(), expected.bytes.get(), static_cast<size_t>(image.plain_bytes)), 0);
    else
      EXPECT_TRUE(unpacked.damaged);
  }
  EXPECT_GT(found, image.frame.size() * 9 / 10);
}

TEST(CudaPacking, WhatIsCutOffOrOfAnotherSizeIsDamaged) {
  PackedImage image = pack(images(), 1)[0];
  for (size_t bytes = 0; bytes < image.frame.size(); bytes += 7)
    expect_damage(image, {image.frame.begin(), image.frame.begin() + static_cast<int64_t>(bytes)}, bytes);
  for (const int64_t more : {-1000, -1, 1, 1000}) {
    PackedImage other = image;
    other.plain_bytes += more;
    expect_damage(other, other.frame, static_cast<size_t>(more));
  }
}

}  // namespace
}  // namespace lapidary::codegen::cuda
