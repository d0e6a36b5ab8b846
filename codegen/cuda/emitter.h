// Kernel → CUDA C++ text, for NVRTC and, with the emulator's prelude in place of the device's, for the host.
//
// The function is `extern "C" __global__`: its parameters are the kernel's buffers in order (Stage buffers: an i64
// offset into a thread's share of the stage), then task_begin, task_end, the stage and the bytes of it that are each
// thread's, then the kernel's integers. A task is a thread's; threads of the whole grid take the tasks in turn.
#pragma once

#include <string>

#include "ir/loops.h"

namespace lapidary::codegen::cuda {

constexpr int kThreadsPerBlock = 128;

std::string kernel_text(const loops::Kernel&, const std::string& name);

}  // namespace lapidary::codegen::cuda
