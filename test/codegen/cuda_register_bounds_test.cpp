#include <gtest/gtest.h>

#include "codegen/cuda/register_bounds.h"

namespace lapidary::codegen::cuda {
namespace {

std::string text_of(const std::string& bounds) {
  return "__global__ void __launch_bounds__(256) lpd_k1(int n) {}\n__global__ void __launch_bounds__(" + bounds +
         ") lpd_k10(int n) {}\n";
}

KernelResources spilling(int threads, int registers, int64_t shared_bytes = 0) {
  return {.kernel = "lpd_k10",
          .threads = threads,
          .registers = registers,
          .spill_store_bytes = 4,
          .shared_bytes = shared_bytes};
}

TEST(CudaRegisterBounds, WhatDoesNotSpillStays) {
  KernelResources kernel = spilling(128, 128);
  kernel.spill_store_bytes = 0;
  EXPECT_EQ(with_more_registers(text_of("128"), {kernel}), text_of("128"));
}

TEST(CudaRegisterBounds, WhatPtxasChoseIsAskedFor) {
  EXPECT_EQ(with_more_registers(text_of("128"), {spilling(128, 128)}), text_of("128, 4"));
}

TEST(CudaRegisterBounds, NoMoreBlocksThanSharedMemoryHas) {
  EXPECT_EQ(with_more_registers(text_of("128"), {spilling(128, 64, 40 << 10)}), text_of("128, 5"));
}

TEST(CudaRegisterBounds, EachTryGivesMoreUntilOneBlockIsLeft) {
  EXPECT_EQ(with_more_registers(text_of("128, 6"), {spilling(128, 80)}), text_of("128, 5"));
  EXPECT_EQ(with_more_registers(text_of("32, 24"), {spilling(32, 80)}), text_of("32, 21"));
  EXPECT_EQ(with_more_registers(text_of("256, 2"), {spilling(256, 128)}), text_of("256, 1"));
  EXPECT_EQ(with_more_registers(text_of("256, 1"), {spilling(256, 255)}), text_of("256, 1"));
  EXPECT_EQ(with_more_registers(text_of("1024"), {spilling(1024, 64)}), text_of("1024, 1"));
}

}  // namespace
}  // namespace lapidary::codegen::cuda
