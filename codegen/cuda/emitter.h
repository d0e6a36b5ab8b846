// Kernel → CUDA C++ text, for NVRTC and, with the emulator's prelude in place of the device's, for the host.
//
// The function is `extern "C" __global__`: its parameters are the kernel's buffers in order (Stage buffers: an i64
// offset into a thread's share of the stage), then task_begin, task_end, the stage and the bytes of it that are each
// thread's, then the kernel's integers. A task is a thread's, and threads of the whole grid take the tasks in turn; or,
// where the kernel has a block of threads, a block's, and blocks take them in turn. Every buffer is aligned to 16
// bytes.
#pragma once

#include <string>
#include <string_view>

#include "ir/loops.h"

namespace lapidary::codegen::cuda {

constexpr int kThreadsPerBlock = 128;  // of kernels whose tasks are a thread's

// strict_math: all f32 maths as accurate as f32 has it, also where the result is rounded to 16 bits at once.
std::string kernel_text(const loops::Kernel&, const std::string& name, bool strict_math = false);
int64_t shared_bytes(const loops::Kernel&);  // dynamic shared memory of a block
int block_threads(const loops::Kernel&);     // kThreadsPerBlock; or the kernel's own, and those that bring it operands
bool is_persistent(const loops::Kernel&);    // a block for each multiprocessor is enough

}  // namespace lapidary::codegen::cuda
