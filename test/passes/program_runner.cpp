#include "test/passes/program_runner.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "ir/error.h"
#include "ir/loops_interpreter.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "test/passes/run_values.h"

namespace lapidary::test {

namespace {

constexpr int64_t kAlignment = 64;
constexpr auto kPoison = std::byte{0xFF};   // NaN as a float, -1 as an integer

struct Memory {
  std::vector<std::byte> storage;
  explicit Memory(int64_t bytes) : storage(static_cast<size_t>(bytes + kAlignment), kPoison) {}
  std::byte* data() {
    const auto address = reinterpret_cast<uintptr_t>(storage.data());
    return storage.data() + (kAlignment - address % kAlignment) % kAlignment;
  }
};

class Runner {
 public:
  Runner(const Program& program, const EntryPoint& entry, std::span<const Tensor> inputs)
      : program_(program), entry_(entry), value(entry, inputs), arena_(0) {
    for (const Tensor& input : inputs) inputs_.push_back(copy(input.to_bytes()));
    for (const TensorInfo& output : entry.outputs) outputs_.emplace_back(value.bytes(output));
    for (ConstantId weight : program.weights) weights_.push_back(copy(program.module->constants.bytes_of(weight)));
    arena_ = Memory(value(entry.arena_bytes));
  }

  std::vector<Tensor> run() {
    for (uint32_t i = 0; i < entry_.steps.size(); ++i) {
      run_step(entry_.steps[i], i);
      for (const ArenaBuffer& buffer : entry_.arena)
        if (buffer.last_step == i) std::memset(arena_.data() + value(buffer.offset), 0xFF, static_cast<size_t>(value(buffer.bytes)));
    }
    std::vector<Tensor> results;
    for (size_t i = 0; i < outputs_.size(); ++i) {
      const TensorInfo& info = entry_.outputs[i];
      const std::span bytes(outputs_[i].data(), static_cast<size_t>(value.bytes(info)));
      results.push_back(Tensor::from_bytes(info.dtype, value.shape(info.shape), bytes));
    }
    return results;
  }

 private:
  static Memory copy(const std::vector<std::byte>& bytes) {
    Memory memory(static_cast<int64_t>(bytes.size()));
    std::memcpy(memory.data(), bytes.data(), bytes.size());
    return memory;
  }

  loops::BoundBuffer bind(const BufferRef& buffer, DType dtype) {
    const int64_t offset = value.or_zero(buffer.offset), width = bit_width(dtype) / 8;
    switch (buffer.base) {
      case BufferRef::Base::None: break;
      case BufferRef::Base::Arena: {
        const ArenaBuffer& place = entry_.arena.at(buffer.index);
        const int64_t begin = value(place.offset);
        EXPECT_EQ(begin % kAlignment, 0);
        EXPECT_LE(begin + value(place.bytes), value(entry_.arena_bytes));
        return {arena_.data() + begin + offset, (value(place.bytes) - offset) / width};
      }
      case BufferRef::Base::Weights:
        return {weights_.at(buffer.index).data() + offset,
                (program_.module->constants[program_.weights[buffer.index]].bytes() - offset) / width};
      case BufferRef::Base::Input: return {inputs_.at(buffer.index).data(), value.bytes(entry_.inputs[buffer.index]) / width};
      case BufferRef::Base::Output: return {outputs_.at(buffer.index).data(), value.bytes(entry_.outputs[buffer.index]) / width};
    }
    return {nullptr, 0};
  }

  void run_step(const Step& step, uint32_t index) {
    const Variant* variant = value.chosen(step);
    ASSERT_TRUE(variant) << "no variant of step " << index << " applies";
    run_variant(step, *variant, index);
  }

  void run_variant(const Step& step, const Variant& variant, uint32_t index) {
    const loops::Kernel& kernel = program_.kernels.at(variant.kernel);
    ASSERT_EQ(kernel.buffers.size(), step.buffers.size());
    std::vector<loops::BoundBuffer> buffers;
    const std::vector<int64_t> stages = value.stage_sizes(variant);
    size_t stage = 0;
    for (size_t i = 0; i < step.buffers.size(); ++i) {
      if (kernel.buffers[i]->space != loops::Space::Stage) {
        buffers.push_back(bind(step.buffers[i], kernel.buffers[i]->element.dtype));
        continue;
      }
      buffers.push_back({nullptr, stages.at(stage++) / (bit_width(kernel.buffers[i]->element.dtype) / 8)});
    }
    std::vector<int64_t> integers;
    for (Dim dim : variant.integers) integers.push_back(value(dim));
    const int64_t tasks = value(variant.tasks), rounds = variant.rounds ? value(variant.rounds) : 1;
    try {
      for (int64_t round = 0; round < rounds; ++round)
        loops::interpret(kernel, buffers, integers, round * tasks, (round + 1) * tasks);
    } catch (const Error& error) {
      FAIL() << "step " << index << " (" << kernel.family << "): " << error.what() << "\n" << print_kernel(kernel);
    }
  }

  const Program& program_;
  const EntryPoint& entry_;
  const RunValues value;
  std::vector<Memory> inputs_, outputs_, weights_;
  Memory arena_;
};

}  // namespace

std::vector<Tensor> run_program(const Program& program, const EntryPoint& entry, std::span<const Tensor> inputs) {
  return Runner(program, entry, inputs).run();
}

void expect_close(const Tensor& actual, const Tensor& expected, double tolerance, const std::string& what) {
  ASSERT_EQ(actual.shape, expected.shape) << what;
  ASSERT_EQ(actual.dtype, expected.dtype) << what;
  for (int64_t i = 0; i < expected.elements(); ++i) {
    const Scalar a = actual.at(i), e = expected.at(i);
    const bool same = is_float(e.dtype) ? a.number == e.number || (std::isnan(a.number) && std::isnan(e.number)) ||
                                              std::abs(a.number - e.number) <= tolerance * (1 + std::abs(e.number))
                                        : a.integer == e.integer;
    if (same) continue;
    FAIL() << what << " element " << i << ": " << (is_float(e.dtype) ? a.number : static_cast<double>(a.integer))
           << ", expected " << (is_float(e.dtype) ? e.number : static_cast<double>(e.integer));
  }
}

Program expect_lowered_equal(Module& module, const std::vector<std::vector<Tensor>>& input_sets, const Lowering& lowering) {
  std::vector<std::vector<Tensor>> expected;
  for (const auto& inputs : input_sets) expected.push_back(interpret(module, *module.function("run"), inputs));
  passes::run_passes(module, lowering.passes, lowering.options);
  Program program = passes::lower(module, lowering.options);
  for (const loops::Kernel& kernel : program.kernels)
    for (const std::string& line : verify(kernel)) ADD_FAILURE() << line << "\n" << print_kernel(kernel);
  for (size_t set = 0; set < input_sets.size(); ++set) {
    const std::vector<Tensor> actual = run_program(program, program.entries[0], input_sets[set]);
    for (size_t i = 0; i < expected[set].size(); ++i)
      expect_close(actual[i], expected[set][i], lowering.tolerance, fmt::format("input set {}, result {}", set, i));
    if (!::testing::Test::HasFailure()) continue;
    for (const loops::Kernel& kernel : program.kernels) ADD_FAILURE() << print_kernel(kernel);
    ADD_FAILURE() << print_module(module) << print_program(program);
    break;
  }
  return program;
}

}  // namespace lapidary::test
