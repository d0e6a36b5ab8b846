// Runs a kernel of Loops compiled and in the interpreter, on equal copies of the same data.
#pragma once

#include <cstring>
#include <vector>

#include "codegen/cpu/load.h"
#include "ir/loops_interpreter.h"

namespace lapidary::testing {

struct Array {
  DType dtype;
  int64_t elements;
  std::vector<char> bytes;

  Array(DType dtype, int64_t elements)
      : dtype(dtype), elements(elements), bytes(static_cast<size_t>(*byte_size(dtype, elements))) {}
  Array(DType dtype, const std::vector<Scalar>& values) : Array(dtype, static_cast<int64_t>(values.size())) {
    for (size_t i = 0; i < values.size(); i++) store_scalar(values[i], bytes.data(), static_cast<int64_t>(i));
  }
  Scalar at(int64_t i) const { return load_scalar(dtype, bytes.data(), i); }
};

// The targets this machine can run.
inline std::vector<std::string> runnable_targets() {
  std::vector<std::string> names = {"x86-64-v3"};
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    names.push_back("x86-64-v4");
  return names;
}

// With the level below, which has neither fused multiply-adds nor conversions of 16-bit floats.
inline std::vector<std::string> targets_of_all_levels() {
  std::vector<std::string> names = runnable_targets();
  names.insert(names.begin(), "x86-64-v2");
  return names;
}

inline std::vector<Array> run_loaded(lpd_kernel entry, const loops::Kernel& kernel, std::vector<Array> buffers,
                                     const std::vector<int64_t>& integers, int64_t tasks) {
  std::vector<void*> pointers;
  std::vector<char> stage;
  for (size_t i = 0; i < buffers.size(); i++) {
    if (kernel.buffers[i]->space == loops::Space::Stage) {  // its slot holds an offset
      pointers.push_back(reinterpret_cast<void*>(stage.size()));
      stage.resize(stage.size() + buffers[i].bytes.size());
    } else {
      pointers.push_back(buffers[i].bytes.data());
    }
  }
  const lpd_frame frame{pointers.data(), integers.data()};
  entry(&frame, 0, tasks, stage.data());
  return buffers;
}

inline std::vector<Array> run_compiled(const loops::Kernel& kernel, std::vector<Array> buffers,
                                       const std::vector<int64_t>& integers, int64_t tasks, const Target& target,
                                       const codegen::ArtifactOptions& options = {}) {
  Program program;
  program.kernels = {kernel};
  const codegen::cpu::LoadedKernels loaded(program, target, options);
  return run_loaded(loaded[0], kernel, std::move(buffers), integers, tasks);
}

inline std::vector<Array> run_interpreted(const loops::Kernel& kernel, std::vector<Array> buffers,
                                          const std::vector<int64_t>& integers, int64_t tasks) {
  std::vector<loops::BoundBuffer> bound;
  for (Array& buffer : buffers) bound.push_back({buffer.bytes.data(), buffer.elements});
  loops::interpret(kernel, bound, integers, 0, tasks);
  return buffers;
}

}  // namespace lapidary::testing
