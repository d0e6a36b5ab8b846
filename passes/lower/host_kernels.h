// Host or device: which kernels of a program for a GPU the host runs, as it would on a machine without one. Their
// buffers are copied for them (StepKind::HostKernel). Test: test/passes/lower/host_kernels.graph.
#pragma once

#include "ir/program.h"
#include "passes/lower/kernel_builder.h"

namespace lapidary::lowering {

constexpr size_t kMostHostBuffers = 16;  // of a kernel that the host runs: LPD_MOST_VIEWS

// Is a step that has no schedule for GPUs done sooner by the host? The step's flops, bytes and buffer_bytes are there.
bool belongs_on_host(const Target&, const LoweredStep&, const Step&);
// Its name in reports says so, and keeps it apart from equal kernels of the device's.
void name_host_kernel(loops::Kernel&);

}  // namespace lapidary::lowering
