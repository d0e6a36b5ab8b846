// What passes must know of a machine, as plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lapidary {

enum class Arch { X86_64, AArch64, Cuda };

struct Target {
  Arch arch = Arch::X86_64;
  std::string name = "x86-64-v4";  // as given to --target, "native" resolved
  std::string cpu = "x86-64-v4";   // LLVM's -mcpu: also chooses the scheduling model
  std::string features;            // LLVM's "+avx512f,…" of a native CPU; empty when the cpu name says it all
  int vector_bytes = 64;           // width of a vector register: 64 with AVX-512, 32 with AVX2, 16 below and NEON
  int vector_registers = 32;
  bool byte_dots = false;  // VNNI: sums of four products of bytes in one instruction
  int64_t l1_bytes = 32 << 10, l2_bytes = 1 << 20, l3_bytes = 16 << 20;  // data caches, L3 as one core's share
  int threads = 1;  // expected at run time: only a hint for grain sizes

  // Cuda: what kernels may use of a device, and the devices they are compiled for.
  int capability = 0;               // compute capability, 10 * major + minor: the least of `images`
  bool capability_only = false;     // only that one, with what it has alone ("sm_90a")
  std::vector<std::string> images;  // "sm_80", "compute_80"
  int64_t shared_bytes = 48 << 10;  // that a block of threads may have
  bool is_gpu() const { return arch == Arch::Cuda; }
  // Tensor cores that multiply f16, bf16, tf32 and bytes, fed by asynchronous copies. Those of 7.5 stand idle.
  bool has_tensor_cores() const { return is_gpu() && capability >= 80; }
  // Whole warpgroups multiply out of shared memory (wgmma), which a copy engine fills (TMA): sm_90a.
  bool has_warpgroups() const { return is_gpu() && capability == 90 && capability_only; }

  int f32_lanes() const { return vector_bytes / 4; }
  bool has_fma() const { return arch != Arch::X86_64 || vector_bytes >= 32; }  // and 16-bit floats' conversions
};

}  // namespace lapidary
