// Kernels → object code: what codegen/cpu/link builds a product from.
#pragma once

#include <string>
#include <vector>

#include "codegen/codegen.h"

namespace lapidary::codegen::cpu {

// The ELF relocatable objects of all kernels of a program. Kernel i is the hidden symbol kernel_symbol(i) of type
// lpd_kernel (runtime/abi.h) in one of them; what they leave undefined is libm's alone (tanf, pow, …).
// Which kernels share an object, and every byte of it, depends on program and target only, never on options.jobs.
// `level` keeps the names of several programs in one product apart.
std::vector<std::vector<char>> compile_kernels(const Program&, const Target&, const ArtifactOptions&,
                                               uint32_t level = 0);
// The same of those that the host runs, of a program for a GPU.
std::vector<std::vector<char>> compile_host_kernels(const Program&, const Target& host, const ArtifactOptions&,
                                                    uint32_t level);

std::string kernel_symbol(uint32_t kernel, uint32_t level = 0);  // "lpd_k0", "lpd_k0_1"

}  // namespace lapidary::codegen::cpu
