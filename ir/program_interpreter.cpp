#include "ir/program_interpreter.h"

#include <algorithm>
#include <cstring>

#include "ir/error.h"
#include "ir/loops_interpreter.h"
#include "ir/program_walk.h"
#include "ir/text.h"

namespace lapidary {

namespace {

constexpr int64_t kAlignment = 64;
constexpr auto kPoison = std::byte{0xFF};  // NaN as a float, -1 as an integer

struct Memory {
  std::vector<std::byte> storage;
  explicit Memory(int64_t bytes) : storage(static_cast<size_t>(bytes + kAlignment), kPoison) {}
  int64_t bytes() const { return static_cast<int64_t>(storage.size()) - kAlignment; }
  std::byte* data() {
    const auto address = reinterpret_cast<uintptr_t>(storage.data());
    return storage.data() + (kAlignment - address % kAlignment) % kAlignment;
  }
};

class Runner : public ProgramWalk {
 public:
  Runner(const Program& program, const EntryPoint& entry, std::span<const Tensor> inputs, std::span<Tensor> states)
      : ProgramWalk(program, entry, inputs), given_states_(states), arena_(0) {
    LPD_CHECK(states.size() == program.module->states.size(), "{} states, expected {}", states.size(),
              program.module->states.size());
    for (const Tensor& state : states) states_.push_back(copy(state.to_bytes()));
    for (const Tensor& input : inputs) inputs_.push_back(copy(input.to_bytes()));
    for (const TensorInfo& output : entry.outputs) outputs_.emplace_back(is_known(output) ? value_.bytes(output) : 0);
    for (uint32_t slot = 0; slot < entry.register_slots; ++slot) registers_.emplace_back(0);
    for (ConstantId weight : program.weights) weights_.push_back(copy(program.module->constants.bytes_of(weight)));
    arena_ = Memory(value_(entry.arena_bytes));
    flags_.resize(program.flags.size());
  }

  std::vector<Tensor> run() {
    walk();
    for (size_t i = 0; i < flags_.size(); ++i)
      if (flags_[i]) throw Error(Fault::Input, program_.flags[i]);
    std::vector<Tensor> results;
    for (size_t i = 0; i < outputs_.size(); ++i) {
      const TensorInfo& info = entry_.outputs[i];
      const std::span bytes(outputs_[i].data(), static_cast<size_t>(value_.bytes(info)));
      results.push_back(Tensor::from_bytes(info.dtype, value_.shape(info.shape), bytes));
    }
    for (size_t i = 0; i < states_.size(); ++i) {
      Tensor& state = given_states_[i];
      state = Tensor::from_bytes(state.dtype, state.shape, std::span(states_[i].data(), state_bytes(i)));
    }
    return results;
  }

 private:
  size_t state_bytes(size_t index) const {
    return static_cast<size_t>(program_.module->constants[program_.module->states[index].initial].bytes());
  }
  static bool is_known(const TensorInfo& output) { return std::ranges::none_of(output.shape, speaks_of_elements); }

  void kernel_step(const Step& step, uint32_t index) override {
    const Variant* variant = value_.chosen(step);
    if (variant) run_variant(step, *variant, index);
  }
  void after_step(uint32_t index) override {  // a value is poisoned at the end of its life
    for (const ArenaBuffer& buffer : entry_.arena)
      if (buffer.last_step == index)
        std::memset(arena_.data() + value_(buffer.offset), 0xFF, static_cast<size_t>(value_(buffer.bytes)));
  }
  std::byte* address(const BufferRef& buffer) override { return static_cast<std::byte*>(bind(buffer, DType::U8).data); }
  void reserve(uint32_t slot, int64_t bytes, bool keep) override {
    Memory& memory = registers_.at(slot);
    LPD_CHECK(bytes >= 0, "a register of {} bytes", bytes);
    if (keep && memory.bytes() >= bytes) return;
    Memory grown(bytes);
    if (keep) std::memcpy(grown.data(), memory.data(), static_cast<size_t>(memory.bytes()));
    memory = std::move(grown);
  }
  void swap(uint32_t slot, uint32_t other) override { std::swap(registers_.at(slot), registers_.at(other)); }
  void provide(uint32_t output, int64_t bytes) override { outputs_.at(output) = Memory(bytes); }

  static Memory copy(const std::vector<std::byte>& bytes) {
    Memory memory(static_cast<int64_t>(bytes.size()));
    std::ranges::copy(bytes, memory.data());
    return memory;
  }

  loops::BoundBuffer bind(const BufferRef& buffer, DType dtype) {
    const int64_t offset = value_.or_zero(buffer.offset), width = bit_width(dtype) / 8;
    switch (buffer.base) {
      case BufferRef::Base::None:
        break;
      case BufferRef::Base::Arena: {
        const ArenaBuffer& place = entry_.arena.at(buffer.index);
        const int64_t begin = value_(place.offset);
        LPD_CHECK(begin % kAlignment == 0 && begin + value_(place.bytes) <= value_(entry_.arena_bytes),
                  "arena{} lies at {}, {} bytes of {}", buffer.index, begin, value_(place.bytes),
                  value_(entry_.arena_bytes));
        return {arena_.data() + begin + offset, std::max<int64_t>(value_(place.bytes) - offset, 0) / width};
      }
      case BufferRef::Base::Weights:
        return {weights_.at(buffer.index).data() + offset,
                (program_.module->constants[program_.weights[buffer.index]].bytes() - offset) / width};
      case BufferRef::Base::Input:
        return {inputs_.at(buffer.index).data(), value_.bytes(entry_.inputs[buffer.index]) / width};
      case BufferRef::Base::Output:
        return {outputs_.at(buffer.index).data() + offset,
                std::max<int64_t>(value_.bytes(entry_.outputs[buffer.index]) - offset, 0) / width};
      case BufferRef::Base::Flag:
        return {&flags_.at(buffer.index), 1};
      case BufferRef::Base::State:
        return {states_.at(buffer.index).data(), static_cast<int64_t>(state_bytes(buffer.index)) / width};
      case BufferRef::Base::Register: {
        Memory& memory = registers_.at(entry_.registers.at(buffer.index).slot);
        return {memory.data() + offset, std::max<int64_t>(memory.bytes() - offset, 0) / width};
      }
    }
    return {nullptr, 0};
  }

  void run_variant(const Step& step, const Variant& variant, uint32_t index) {
    const loops::Kernel& kernel = program_.kernels.at(variant.kernel);
    LPD_CHECK(kernel.buffers.size() == step.buffers.size(), "step {} binds {} buffers of {}", index,
              step.buffers.size(), kernel.buffers.size());
    std::vector<loops::BoundBuffer> buffers;
    const std::vector<int64_t> stages = value_.stage_sizes(variant);
    size_t stage = 0;
    for (size_t i = 0; i < step.buffers.size(); ++i) {
      if (kernel.buffers[i]->space != loops::Space::Stage) {
        buffers.push_back(bind(step.buffers[i], kernel.buffers[i]->element.dtype));
        continue;
      }
      buffers.push_back({nullptr, stages.at(stage++) / (bit_width(kernel.buffers[i]->element.dtype) / 8)});
    }
    std::vector<int64_t> integers;
    for (Dim dim : variant.integers) integers.push_back(value_(dim));
    const int64_t tasks = value_(variant.tasks), rounds = variant.rounds ? value_(variant.rounds) : 1;
    try {
      for (int64_t round = 0; round < rounds; ++round)
        loops::interpret(kernel, buffers, integers, round * tasks, (round + 1) * tasks);
    } catch (const Error& error) {
      throw Error(error.fault,
                  fmt::format("step {} ({}): {}\n{}", index, kernel.family, error.what(), print_kernel(kernel)));
    }
  }

  std::span<Tensor> given_states_;
  std::vector<Memory> inputs_, outputs_, weights_, registers_, states_;
  Memory arena_;
  std::vector<int32_t> flags_;
};

}  // namespace

std::vector<Tensor> interpret(const Program& program, const EntryPoint& entry, std::span<const Tensor> inputs,
                              std::span<Tensor> states) {
  return Runner(program, entry, inputs, states).run();
}

}  // namespace lapidary
