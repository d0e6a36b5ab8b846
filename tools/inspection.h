// What a compile tells of a model before anything runs: operators, groups, work, the memory plan. Amounts are formulas
// of the model's symbols; they have a value as well where the symbols are fixed. Strings are printable: names of the
// model may hold anything. What of it is printed how: inspect_report.h. Test: test/tools/inspect.test.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "codegen/cuda/resources.h"
#include "tools/driver.h"
#include "tools/plain_steps.h"

namespace lapidary::tools {

using Extents = std::map<std::string, int64_t>;  // of symbols, by name

struct Amount {
  struct Sample {
    std::string at;  // "N=8"
    int64_t value;
  };
  static constexpr size_t kLongestFormula = 160;  // that a line of text has room for

  std::string formula;
  std::optional<int64_t> value;
  std::vector<Sample> samples = {};  // of a longer one without a value, such as those of steps with several kernels
};

struct Inspection {
  struct Tensor {
    std::string name, type;  // "f32[M, 64]"
    Amount bytes;
    bool known_by_run = false;  // its extents depend on what the inputs hold
  };
  struct Step {
    std::string kernel, schedule, origin;  // "host" for the steps that decide
    bool plain = false;                    // loops::is_plain
    Amount flops, bytes;
    bool known_by_run = false;
    bool looped = false;       // in loops whose trips are known at most: the amounts are of all of them
    bool repeated = false;     // in a loop whose trips only a run can tell: of one
    bool conditional = false;  // in a branch: as if taken
  };
  struct Groups {
    int groups = 0, ops = 0, largest = 0;
  };
  struct Kernels {
    int steps = 0;
    Amount flops, bytes;
  };
  struct Buffer {
    Amount offset, bytes;
    uint32_t first_step, last_step;
  };
  struct Register {
    std::string origin;  // of the step that needs it first
    uint32_t slot, first_step, last_step;
  };

  struct DeviceKernel {
    std::string arch, family, schedule;
    codegen::cuda::KernelResources needs;
  };

  std::string model;
  Extents extents;                       // that are given
  std::vector<std::string> open;         // symbols that are not
  std::map<std::string, int> operators;  // "Conv" → nodes
  std::vector<Tensor> inputs, outputs;
  int64_t parameters = 0, parameter_bytes = 0, weight_bytes = 0;  // as the model has them; as kernels read them
  std::map<std::string, Groups> groups;                           // by family
  std::map<std::string, Kernels> kernels;                         // by family, of steps
  std::vector<Step> steps;
  Amount flops, bytes;                                              // of all steps but those only a run can size
  int known_by_run = 0, looped = 0, repeated = 0, conditional = 0;  // steps
  Amount peak, workspace;                                           // of the arena; of each thread
  std::vector<Buffer> buffers;
  std::vector<Register> registers;
  uint32_t register_slots = 0;
  std::string f32_products;               // of GPUs: "ieee", "tf32", … of the best level's
  std::optional<PlainSteps> plain;        // of GPUs: what has no schedule for them
  std::vector<DeviceKernel> device_code;  // of CUDA targets, a row for each kernel and cubin
  std::optional<Amount> register_bytes;   // of all slots; nothing where only a run can tell
};

// Compiles, except for the code of CPUs. Extents are of symbols of the inputs; an unknown one is wrong usage.
Inspection inspect(const CompileOptions&, const Extents&);
Inspection inspect(const CompileOptions&, const std::vector<std::vector<int64_t>>& shapes);  // of the inputs

}  // namespace lapidary::tools
