// One run of an entry point's steps: the order they are taken in, and what the host's own steps do. The kernels and the
// memory are the caller's. What the interpreter of programs and the tests of compiled kernels share.
#pragma once

#include <cstddef>

#include "ir/run_values.h"

namespace lapidary {

class ProgramWalk {
 public:
  ProgramWalk(const Program&, const EntryPoint&, std::span<const Tensor> inputs);
  virtual ~ProgramWalk() = default;

  void walk();  // throws Error{Fault::Input} when a check fails
  const RunValues& values() const { return value_; }

 protected:
  virtual void kernel_step(const Step&, uint32_t index) = 0;
  virtual std::byte* address(const BufferRef&) = 0;
  virtual void reserve(uint32_t slot, int64_t bytes, bool keep) = 0;  // of a register
  virtual void swap(uint32_t slot, uint32_t other) = 0;
  virtual void provide(uint32_t output, int64_t bytes) = 0;
  virtual void before_step(uint32_t) {}
  virtual void after_step(uint32_t) {}

  const Program& program_;
  const EntryPoint& entry_;
  RunValues value_;

 private:
  uint32_t host_step(const Step&, uint32_t index);  // gives the next one
  void read_elements(const Step&);
  int64_t count(const Step& loop, int64_t iteration);
  void host_call(const Step&);
  void check();
  uint32_t slot(const BufferRef& ref) const { return entry_.registers.at(ref.index).slot; }
};

}  // namespace lapidary
