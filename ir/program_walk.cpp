#include "ir/program_walk.h"

#include <algorithm>
#include <cstring>

#include "ir/host_functions.h"

namespace lapidary {

ProgramWalk::ProgramWalk(const Program& program, const EntryPoint& entry, std::span<const Tensor> inputs)
    : program_(program), entry_(entry), value_(entry, inputs) {}

// What can be evaluated now: checks that speak of elements wait for those, and are asked again when they change.
void ProgramWalk::check() {
  for (const Check& check : program_.checks)
    if (speaks_of_elements(check.must_hold) && value_.knows(check.must_hold) && value_(check.must_hold) == 0)
      throw Error(Fault::Input, check.message);
}

void ProgramWalk::read_elements(const Step& step) {
  const int64_t known = step.amount ? value_(step.amount) : 0;
  const std::byte* data = step.amount ? reinterpret_cast<const std::byte*>(&known) : address(step.buffers[0]);
  const int64_t width = bit_width(step.dtype) / 8;
  for (size_t i = 0; i < step.elements.size(); ++i) {
    int64_t value = 0;
    std::memcpy(&value, data + static_cast<int64_t>(i) * width, static_cast<size_t>(width));
    if (step.dtype == DType::I32) value = static_cast<int32_t>(value);
    const Interval interval = range(step.elements[i]);
    if (value < interval.lo || value > interval.hi)
      throw Error(Fault::Input, fmt::format("{}: {} is out of range, {} to {}", program_.module->describe(step.origin),
                                            value, interval.lo, interval.hi));
    value_.set(step.elements[i], value);
  }
  check();
}

void ProgramWalk::host_call(const Step& step) {
  if (works_in_place(step.call->params.text("function"))) return;  // a sum over one rank
  const auto bytes_at = [&](const BufferRef& buffer, DType dtype, int64_t elements) {
    return std::span(address(buffer), static_cast<size_t>(*byte_size(dtype, elements)));
  };
  std::vector<Tensor> operands;
  for (size_t i = 0; i < step.call->operands.size(); ++i) {
    const Type& type = step.call->operands[i]->type;
    Tensor operand = Tensor::zeros(type.dtype, value_.shape(type.shape));
    const auto bytes = bytes_at(step.buffers[i + 1], type.dtype, operand.elements());
    operands.push_back(Tensor::from_bytes(type.dtype, operand.shape, bytes));
  }
  const Tensor result =
      interpret_host_call(*program_.module, *step.call, operands, [&](Dim dim) { return value_(dim); });
  std::ranges::copy(result.to_bytes(), bytes_at(step.buffers.back(), result.dtype, result.elements()).begin());
}

int64_t ProgramWalk::count(const Step& loop, int64_t iteration) {
  value_.set(loop.elements[0], iteration);
  if (!loop.buffers.empty()) std::memcpy(address(loop.buffers[0]), &iteration, sizeof iteration);
  return iteration;
}

uint32_t ProgramWalk::host_step(const Step& step, uint32_t index) {
  switch (step.kind) {
    case StepKind::Kernel:
    case StepKind::HostKernel:
      break;
    case StepKind::Elements:
      read_elements(step);
      break;
    case StepKind::Reserve:
      reserve(slot(step.buffers[0]), value_(step.amount), step.keep);
      break;
    case StepKind::Provide:
      provide(step.buffers[0].index, value_.bytes(entry_.outputs.at(step.buffers[0].index)));
      break;
    case StepKind::Branch:
      return step.amount && value_(step.amount) != 0 ? index + 1 : step.target;
    case StepKind::BranchUnless:
      return *address(step.buffers[0]) != std::byte{0} ? index + 1 : step.target;
    case StepKind::LoopBegin:
      count(step, -1);
      break;
    case StepKind::LoopNext:
      return count(step, value_(step.elements[0]) + 1) >= value_(step.amount) ? step.target : index + 1;
    case StepKind::HostCall:
      host_call(step);
      break;
    case StepKind::Swap:
      swap(slot(step.buffers[0]), slot(step.buffers[1]));
      break;
  }
  return index + 1;
}

void ProgramWalk::walk() {
  for (uint32_t index = 0; index < entry_.steps.size();) {
    const Step& step = entry_.steps[index];
    uint32_t next = index + 1;
    before_step(index);
    if (runs_kernel(step.kind))
      kernel_step(step, index);
    else
      next = host_step(step, index);
    after_step(index);
    index = next;
  }
}

}  // namespace lapidary
