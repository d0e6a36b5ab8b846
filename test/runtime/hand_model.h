// A model's tables written by hand, for tests of the runtime alone. Kernels are C++ functions of this program.
//
// HandModel builds: inputs "a" and "b" of f32[N, 3], output "y" of f32[N, 3], and `depth` steps in which each task
// adds 1 to what its right neighbour had, ping-pong between two arena buffers:
//   x0 = a + b;  x[i+1][t] = x[i][(t + 1) mod T] + 1;  y = x[depth]
// Every step reads what other threads wrote, so a missing barrier shows as a wrong number.
#pragma once

#include <vector>

#include "runtime/abi.h"

namespace lapidary::test {

inline float* at(const lpd_frame* frame, int buffer) { return static_cast<float*>(frame->buffers[buffer]); }

inline void add_kernel(const lpd_frame* frame, int64_t begin, int64_t end, void*) {
  for (int64_t i = begin; i < end; ++i) at(frame, 2)[i] = at(frame, 0)[i] + at(frame, 1)[i];
}

inline void shift_kernel(const lpd_frame* frame, int64_t begin, int64_t end, void*) {
  const int64_t count = frame->integers[0];
  for (int64_t i = begin; i < end; ++i) at(frame, 1)[i] = at(frame, 0)[(i + 1) % count] + 1;
}

struct HandModel {
  std::vector<lpd_dim> dims;
  std::vector<int64_t> constants = {3, 4, 64, 15, 16, 2};
  std::vector<uint32_t> shape, integer_slots;
  std::vector<int64_t> static_dims = {-1, 3};
  std::vector<const char*> dim_names = {"N", nullptr}, symbol_names = {"N"}, features = {nullptr};
  std::vector<uint32_t> symbol_slots = {0};
  std::vector<lpd_signature> inputs, outputs;
  std::vector<lpd_entry> entries;
  std::vector<lpd_step> steps;
  std::vector<lpd_variant> variants;
  std::vector<lpd_buffer_ref> refs;
  std::vector<lpd_kernel> kernels = {add_kernel, shift_kernel};
  std::vector<const char*> kernel_names = {"add", "shift"};
  std::vector<lpd_check> checks;
  lpd_model model{};

  explicit HandModel(uint32_t depth, int64_t grain = 1) {
    // 0 N, 1 three, 2 N*3, 3 four, 4 bytes of one buffer = ceil(N*3*4 / 64) * 64, then its double
    dims = {{LPD_DIM_EXTENT, 0, 0, 0},   {LPD_DIM_CONSTANT, 0, 0, 0}, {LPD_DIM_MUL, 0, 1, 0},
            {LPD_DIM_CONSTANT, 3, 0, 0}, {LPD_DIM_ADD, 2, 3, 0},      {LPD_DIM_CONSTANT, 4, 0, 0},
            {LPD_DIM_FLOORDIV, 4, 5, 0}, {LPD_DIM_CONSTANT, 2, 0, 0}, {LPD_DIM_MUL, 6, 7, 0},
            {LPD_DIM_CONSTANT, 5, 0, 0}, {LPD_DIM_MUL, 8, 9, 0}};
    const uint32_t elements = 2, second = 8, arena = 10;
    shape = {0, 1};
    const lpd_signature f32{1, 2, 0, 0, "", shape.data(), static_dims.data(), dim_names.data()};
    inputs = {f32, f32};
    outputs = {f32};
    inputs[0].name = "a", inputs[1].name = "b", outputs[0].name = "y";
    integer_slots = {elements, 0, 1, 2};  // then the slots of the entry
    add_step(0, elements, grain, 0,
             {{LPD_BASE_INPUT, 0, LPD_NO_SLOT}, {LPD_BASE_INPUT, 1, LPD_NO_SLOT}, buffer(0, second, depth)});
    for (uint32_t i = 0; i < depth; ++i)
      add_step(1, elements, grain, 1, {buffer(i, second, depth), buffer(i + 1, second, depth)});
    steps[0].flags |= LPD_STEP_BEGINS_REGION;
    entries = {{"run", 0, static_cast<uint32_t>(steps.size()), arena, 1, 3, 0}};
    fill();
  }

  static lpd_buffer_ref buffer(uint32_t i, uint32_t second, uint32_t depth) {
    if (i == depth) return {LPD_BASE_OUTPUT, 0, LPD_NO_SLOT};
    return {LPD_BASE_ARENA, 0, i % 2 ? second : LPD_NO_SLOT};
  }

  void add_step(uint32_t kernel, uint32_t tasks, int64_t grain, uint32_t integers,
                std::vector<lpd_buffer_ref> buffers) {
    steps.push_back({"test", grain, LPD_STEP_KERNEL, LPD_STEP_BARRIER_BEFORE, static_cast<uint32_t>(variants.size()), 1,
                     static_cast<uint32_t>(refs.size()), static_cast<uint32_t>(buffers.size()), LPD_NO_SLOT,
                     LPD_NO_SLOT});
    variants.push_back({kernel, LPD_NO_SLOT, tasks, LPD_NO_SLOT, 0, integers, LPD_NO_SLOT, 0, 0});
    refs.insert(refs.end(), buffers.begin(), buffers.end());
  }

  void fill() {
    model.abi_version = LPD_ABI_VERSION;
    model.name = "hand";
    model.cpu_features = features.data();
    model.input_count = inputs.size(), model.inputs = inputs.data();
    model.output_count = outputs.size(), model.outputs = outputs.data();
    model.dim_count = dims.size(), model.dims = dims.data(), model.constants = constants.data();
    model.entry_count = entries.size(), model.entries = entries.data();
    model.steps = steps.data(), model.variants = variants.data(), model.buffer_refs = refs.data();
    model.integer_slots = integer_slots.data(), model.kernels = kernels.data();
    model.kernel_names = kernel_names.data();
    model.symbol_count = symbol_slots.size(), model.symbol_names = symbol_names.data();
    model.symbol_slots = symbol_slots.data();
    model.check_count = checks.size(), model.checks = checks.data();
  }
};

inline lpd_tensor tensor(std::vector<float>& data, const int64_t* dims) {
  return {sizeof(lpd_tensor), 0, data.data(), static_cast<int64_t>(data.size() * sizeof(float)), 1, 2, dims, nullptr};
}

// What HandModel computes.
inline std::vector<float> expected_output(const std::vector<float>& a, const std::vector<float>& b, uint32_t depth) {
  std::vector<float> y(a.size());
  for (size_t i = 0; i < y.size(); ++i) {
    const size_t from = (i + depth) % y.size();
    y[i] = a[from] + b[from] + static_cast<float>(depth);
  }
  return y;
}

}  // namespace lapidary::test
