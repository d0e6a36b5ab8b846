#include "test/kernels/guarded_run.h"

#include <setjmp.h>
#include <signal.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "ir/error.h"
#include "ir/program_walk.h"

namespace lapidary::test {

namespace {

// --- what a fault leads to: compiled kernels hold no locks and own no memory, so jumping out of one is harmless

thread_local sigjmp_buf escape;
thread_local const void* fault_address;

void on_fault(int, siginfo_t* info, void*) {
  fault_address = info->si_addr;
  siglongjmp(escape, 1);
}

class FaultHandler {
 public:
  FaultHandler() {
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &action, &before_[i]);
  }
  ~FaultHandler() {
    for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &before_[i], nullptr);
  }

 private:
  static constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
  struct sigaction before_[std::size(kSignals)];
};

// --- one run

constexpr int kPieces = 3;

struct Call {
  lpd_kernel kernel;
  std::vector<void*> pointers;  // Stage entries: offsets from `base`
  std::vector<int64_t> integers;
  std::byte* base = nullptr;
};

class Run : public ProgramWalk {
 public:
  Run(const Program& program, const std::function<lpd_kernel(uint32_t)>& kernel, Placement placement, bool rounds_apart,
      const std::vector<GuardedBlock>& weights, std::span<const Tensor> inputs)
      : ProgramWalk(program, program.entries[0], inputs),
        kernel_(kernel),
        placement_(placement),
        rounds_apart_(rounds_apart),
        weights_(weights),
        outputs_(entry_.outputs.size()),
        registers_(entry_.register_slots) {
    for (const Tensor& input : inputs) {
      const std::vector<std::byte> bytes = input.to_bytes();
      GuardedBlock& block = inputs_.emplace_back(static_cast<int64_t>(bytes.size()), placement, "input");
      if (!bytes.empty()) std::memcpy(block.data(), bytes.data(), bytes.size());
      block.allow(Access::Read);
    }
    for (size_t i = 0; i < program_.flags.size(); ++i) {
      GuardedBlock& block = flags_.emplace_back(static_cast<int64_t>(sizeof(int32_t)), placement, "flag");
      std::memset(block.data(), 0, sizeof(int32_t));
    }
    for (uint32_t i = 0; i < outputs_.size(); ++i)
      if (std::ranges::none_of(entry_.outputs[i].shape, speaks_of_elements))
        provide(i, value_.bytes(entry_.outputs[i]));
    for (uint32_t slot = 0; slot < entry_.register_slots; ++slot) reserve(slot, 0, false);
    for (const ArenaBuffer& buffer : entry_.arena) {
      arena_.emplace_back(value_(buffer.bytes), placement, "arena buffer").allow(Access::None);
      check_plan(buffer);
    }
  }

  std::vector<Tensor> run() {
    walk();
    std::vector<Tensor> results;
    for (size_t i = 0; i < outputs_.size(); ++i) {
      LPD_CHECK(outputs_[i]->surroundings_untouched(), "memory around output {} was written", i);
      const std::span bytes(outputs_[i]->data(), static_cast<size_t>(outputs_[i]->bytes()));
      results.push_back(Tensor::from_bytes(entry_.outputs[i].dtype, value_.shape(entry_.outputs[i].shape), bytes));
    }
    return results;
  }

 private:
  void before_step(uint32_t index) override {
    for (size_t b = 0; b < arena_.size(); ++b)
      if (entry_.arena[b].first_step == index) arena_[b].allow(Access::ReadWrite);
  }
  void after_step(uint32_t index) override {
    for (size_t b = 0; b < arena_.size(); ++b)
      if (entry_.arena[b].last_step == index) end_life(arena_[b], index);
  }
  std::byte* address(const BufferRef& buffer) override {
    return block_of(buffer)->data() + value_.or_zero(buffer.offset);
  }
  void reserve(uint32_t slot, int64_t bytes, bool keep) override {
    std::unique_ptr<GuardedBlock>& block = registers_.at(slot);
    if (keep && block && block->bytes() >= bytes) return;
    auto grown = std::make_unique<GuardedBlock>(bytes, placement_, "register");
    if (keep && block) std::memcpy(grown->data(), block->data(), static_cast<size_t>(block->bytes()));
    block = std::move(grown);
  }
  void swap(uint32_t slot, uint32_t other) override { std::swap(registers_.at(slot), registers_.at(other)); }
  void provide(uint32_t output, int64_t bytes) override {
    outputs_.at(output) = std::make_unique<GuardedBlock>(bytes, placement_, "output");
  }

  void check_plan(const ArenaBuffer& buffer) const {
    const int64_t begin = value_(buffer.offset), bytes = value_(buffer.bytes);
    LPD_CHECK(begin >= 0 && begin % 64 == 0 && begin + bytes <= value_(entry_.arena_bytes),
              "an arena buffer of {} bytes at {} is not in its arena", bytes, begin);
  }

  void end_life(GuardedBlock& block, uint32_t step) {
    LPD_CHECK(block.surroundings_untouched(), "step {}: memory around an arena buffer was written", step);
    block.allow(Access::None);
  }

  const GuardedBlock* block_of(const BufferRef& buffer) const {
    switch (buffer.base) {
      case BufferRef::Base::None:
        break;
      case BufferRef::Base::Arena:
        return &arena_.at(buffer.index);
      case BufferRef::Base::Weights:
        return &weights_.at(buffer.index);
      case BufferRef::Base::Input:
        return &inputs_.at(buffer.index);
      case BufferRef::Base::Output:
        return outputs_.at(buffer.index).get();
      case BufferRef::Base::Flag:
        return &flags_.at(buffer.index);
      case BufferRef::Base::State:
        break;  // of training alone, which has tests of its own
      case BufferRef::Base::Register:
        return registers_.at(entry_.registers.at(buffer.index).slot).get();
    }
    return nullptr;
  }

  void kernel_step(const Step& step, uint32_t index) override {
    const Variant* variant = value_.chosen(step);
    if (!variant) return;
    const loops::Kernel& kernel = program_.kernels.at(variant->kernel);
    LPD_CHECK(kernel.buffers.size() == step.buffers.size());
    Call call{kernel_(variant->kernel), {}, {}};
    for (Dim dim : variant->integers) call.integers.push_back(value_(dim));
    std::vector<GuardedBlock> stages;
    for (int64_t bytes : value_.stage_sizes(*variant)) stages.emplace_back(bytes, placement_, "stage");
    if (!stages.empty()) call.base = stages[0].data();
    size_t stage = 0;
    for (size_t i = 0; i < step.buffers.size(); ++i) {
      if (kernel.buffers[i]->space == loops::Space::Stage) {
        call.pointers.push_back(reinterpret_cast<void*>(stages.at(stage++).data() - call.base));
      } else {
        call.pointers.push_back(block_of(step.buffers[i])->data() + value_.or_zero(step.buffers[i].offset));
      }
    }
    if (const void* address = run_rounds(call, *variant, stages)) fail(step, index, kernel, address, stages);
    for (const GuardedBlock& block : stages)
      LPD_CHECK(block.surroundings_untouched(), "step {}: memory around a stage was written", index);
  }

  // Null, or the address of the access that failed.
  const void* run_rounds(const Call& call, const Variant& variant, std::vector<GuardedBlock>& stages) {
    const int64_t tasks = value_(variant.tasks), rounds = variant.rounds ? value_(variant.rounds) : 1;
    if (tasks <= 0 || rounds <= 0) return nullptr;
    if (placement_ == Placement::BeginsAfterGuard && (!rounds_apart_ || rounds == 1))
      return run_tasks(call, 0, tasks * rounds);
    for (int64_t round = 0; round < rounds; ++round) {
      for (int64_t piece = kPieces - 1; piece >= 0; --piece) {
        const int64_t begin = round * tasks + tasks * piece / kPieces;
        const int64_t end = round * tasks + tasks * (piece + 1) / kPieces;
        for (GuardedBlock& stage : stages) stage.poison();
        if (begin == end) continue;
        if (const void* address = run_tasks(call, begin, end)) return address;
      }
    }
    return nullptr;
  }

  static const void* run_tasks(const Call& call, int64_t begin, int64_t end) {
    const lpd_frame frame{call.pointers.data(), call.integers.data()};
    if (sigsetjmp(escape, 1)) return fault_address;
    call.kernel(&frame, begin, end, call.base);
    return nullptr;
  }

  [[noreturn]] void fail(const Step& step, uint32_t index, const loops::Kernel& kernel, const void* address,
                         const std::vector<GuardedBlock>& stages) const {
    size_t stage = 0;
    std::string where = "no buffer of the program";
    for (size_t i = 0; i < step.buffers.size(); ++i) {
      const bool staged = kernel.buffers[i]->space == loops::Space::Stage;
      const GuardedBlock* block = staged ? &stages.at(stage++) : block_of(step.buffers[i]);
      if (block->owns(address)) where = describe(*block, kernel.buffers[i]->name, address);
    }
    throw Error(Fault::Internal,
                fmt::format("step {} ({} {}): touched {}", index, kernel.family, kernel.schedule, where));
  }

  static std::string describe(const GuardedBlock& block, const std::string& name, const void* address) {
    const int64_t at = static_cast<const std::byte*>(address) - block.data();
    return fmt::format("byte {} of {} '{}', which has {}", at, block.name(), name, block.bytes());
  }

  const std::function<lpd_kernel(uint32_t)>& kernel_;
  Placement placement_;
  bool rounds_apart_;
  const std::vector<GuardedBlock>& weights_;
  std::vector<GuardedBlock> inputs_, arena_, flags_;
  std::vector<std::unique_ptr<GuardedBlock>> outputs_, registers_;
};

}  // namespace

size_t CompiledKernels::add(const Program& program) {
  std::vector<uint32_t> places;
  for (const loops::Kernel& kernel : program.kernels) places.push_back(add_kernel(all_, kernel));
  kernels_of_.push_back(std::move(places));
  return kernels_of_.size() - 1;
}

void CompiledKernels::compile(const Target& target, int jobs) {
  if (target.is_gpu())
    emulated_ = std::make_unique<EmulatedKernels>(all_);
  else
    loaded_ = std::make_unique<codegen::cpu::LoadedKernels>(all_, target, codegen::ArtifactOptions{.jobs = jobs});
}

GuardedProgram::GuardedProgram(const Program& program, std::function<lpd_kernel(uint32_t)> kernel, Placement placement,
                               bool rounds_apart)
    : program_(program), kernel_(std::move(kernel)), placement_(placement), rounds_apart_(rounds_apart) {
  for (ConstantId weight : program.weights) {
    const std::vector<std::byte> bytes = program.module->constants.bytes_of(weight);
    GuardedBlock& block = weights_.emplace_back(static_cast<int64_t>(bytes.size()), placement, "weight");
    if (!bytes.empty()) std::memcpy(block.data(), bytes.data(), bytes.size());
    block.allow(Access::Read);
  }
}

std::vector<Tensor> GuardedProgram::run(std::span<const Tensor> inputs) const {
  const FaultHandler handler;
  return Run(program_, kernel_, placement_, rounds_apart_, weights_, inputs).run();
}

}  // namespace lapidary::test
