// A compiled library opened at run time and driven through its C interface: what `run`, `train` and `bench` use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "runtime/lapidary.h"

namespace lapidary::tools {

// A dense host tensor with an ONNX type code: raw bytes, or strings.
struct HostTensor {
  uint8_t dtype = 0;
  std::vector<int64_t> dims;
  std::vector<std::byte> bytes = {};
  std::vector<std::string> strings = {};
  int64_t elements() const;
};

struct SlotInfo {
  std::string name;
  uint8_t dtype;
  std::vector<int64_t> dims;           // -1 where symbolic
  std::vector<std::string> dim_names;  // "" where constant
};

struct StateInfo {
  std::string name;
  lpd_state_kind kind;
  uint8_t dtype;
  std::vector<int64_t> dims;
};

// What a run may take; 0: no limit. lpd_options says of what.
struct RunLimits {
  int64_t max_bytes = 0, max_loop = 0;
};

// Where an instance runs, and with whom.
struct InstanceOptions {
  int cuda_device = 0;
  const lpd_reducer* reducer = nullptr;
};

class LoadedModel {
 public:
  // Opens `library` and creates one instance; throws Error{Fault::File} or the status the product gives.
  LoadedModel(const std::string& library, const std::string& symbol, int threads, const RunLimits& = {},
              const InstanceOptions& = {});
  ~LoadedModel();
  LoadedModel(const LoadedModel&) = delete;
  LoadedModel& operator=(const LoadedModel&) = delete;

  const std::vector<SlotInfo>& inputs() const { return inputs_; }
  const std::vector<SlotInfo>& outputs() const { return outputs_; }
  // The tensor must outlive the runs that read it, and strings those that follow while outputs are read.
  void bind_input(int index, const HostTensor&);
  void run(int entry = 0);
  HostTensor output(int index);
  int entry(const char* name) const;  // its number; -1: there is none

  const std::vector<StateInfo>& states() const { return states_; }
  HostTensor state(int index);
  void set_state(int index, const HostTensor&);
  void save(const std::string& path, const std::string& note);
  // The note; in `warning`, what was wrong where the checkpoint before was taken.
  std::string load(const std::string& path, std::string& warning);

  struct StepProfile {
    std::string kernel, origin;
    int64_t nanoseconds, runs, flops, bytes;
    int registers, local_bytes, shared_bytes;  // of a kernel on a device, else 0
  };
  void profile(bool on);
  std::vector<StepProfile> profiles();

 private:
  template <typename Function>
  Function symbol(const char* name) const;
  void check(lpd_status) const;

  void* handle_ = nullptr;
  std::string symbol_;
  lpd_instance* instance_ = nullptr;
  std::vector<SlotInfo> inputs_, outputs_;
  std::vector<StateInfo> states_;
  std::map<int, std::vector<lpd_string>> views_;  // of inputs that are strings
  decltype(&lpd_run) run_ = nullptr;
};

}  // namespace lapidary::tools
