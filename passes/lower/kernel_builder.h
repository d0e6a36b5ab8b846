// Collects what a kernel needs while a family writes it: buffers, integer parameters, statements; and hands it over as
// a step of the program whose buffers still name values, not places.
//
// Kernel identity: extents and strides become parameters even when they are known, so that layers of different sizes
// share one kernel; `literal` is for those few that shape the instructions of a tile. 0 and 1 are always literals:
// they say that an axis is absent, or contiguous.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "ir/loops.h"
#include "ir/target.h"

namespace lapidary::lowering {

// Where a kernel's buffer comes from; becomes a BufferRef once values have their places.
struct BufferSource {
  enum class Kind : uint8_t { Value, Weight, Scratch, Stage, Flag };
  Kind kind = Kind::Value;
  const Value* value = nullptr;  // Value: of the function's body: an operand or a result of the group
  ConstantId weight{};           // Weight: with all transforms appended
  uint32_t scratch = 0;          // Scratch: index into LoweredGroup::scratch
  std::string message;           // Flag: what the run ends with when it is set
  bool operator==(const BufferSource&) const = default;
};

struct LoweredVariant {  // as ir/program.h's Variant
  loops::Kernel kernel;
  Dim when = nullptr;
  Dim tasks = nullptr;
  Dim rounds = nullptr;
  std::vector<Dim> integers;
  Dim stage_bytes = nullptr;
  std::vector<Dim> stage_offsets;
  std::vector<BufferSource> buffers;  // one for each of the kernel's
};

struct LoweredStep {
  std::vector<LoweredVariant> variants;  // buffers may differ: they are united when the step is placed
  bool barrier_before = true;
  bool serial = false;
  int64_t grain = 1;
  Dim flops = nullptr, bytes = nullptr;  // null: filled in from operands and results
};

struct LoweredGroup {
  std::vector<LoweredStep> steps;  // in order
  std::vector<Dim> scratch;        // bytes of arena buffers that live from the group's first step to its last
};

// Statements in order. Locals live to the end of the block.
class Block {
 public:
  void add(loops::Stmt statement) { entries_.push_back({std::move(statement), nullptr}); }
  loops::Expr let(const std::string& name, loops::Expr value);  // constants and variables come back as they are
  loops::Buffer local(const std::string& name, loops::ExprType element, int64_t size);
  loops::Buffer shared(const std::string& name, DType, int64_t size);    // of a block of threads
  loops::Buffer fragment(const std::string& name, DType, int64_t size);  // of each of its threads
  std::vector<loops::Stmt> take();                                       // leaves the block empty

 private:
  struct Entry {
    loops::Stmt statement;
    loops::Buffer local;
  };
  loops::Buffer allocate(loops::Buffer);

  std::vector<Entry> entries_;
};

class KernelBuilder {
 public:
  KernelBuilder(Module& module, const Target& target, std::string family, std::string schedule = "");

  Module& module;
  const Target& target;
  Block body;            // of one task
  int threads = 0;       // of the block that does a task; 0: one
  bool for_gpu = false;  // with one thread: its tasks are made for those of a GPU, and the kernel is not plain there

  // --- integers
  // An integer parameter, one for each Dim; 0 and 1 are literals. A GPU's claims powers of two up to 16 that divide it:
  // what addresses are multiples of decides how wide a load may be.
  loops::Expr parameter(Dim);
  loops::Expr argument(Dim);  // a parameter of its own, even where it is 0, 1 or equal to another
  loops::Expr literal(Dim);   // a literal when known, else a parameter
  loops::Expr divisor(Dim);   // literal(max(dim, 1)): what may be divided by even where nothing is
  loops::Expr parameter_multiple_of(Dim, int64_t multiple);  // when the kernel relies on it
  Dim dim(int64_t value) { return module.dims.constant(value); }

  // --- buffers, one for each source
  loops::Buffer operand(const Value*);            // of the function's body, read
  loops::Buffer result(const Value*);             // of the function's body, written
  loops::Buffer result_read_back(const Value*);   // written, then read by the same task
  loops::Buffer operand_as(const Value*, DType);  // the bits as elements of another type of that width
  loops::Buffer result_as(const Value*, DType);
  loops::Buffer weight(ConstantId);            // Constant op of a group's operand, or with transforms appended
  loops::Buffer weight_as(ConstantId, DType);  // its bytes as elements of another type
  loops::Buffer scratch(uint32_t index, DType, bool written, bool reads_own_writes = false);
  loops::Buffer flag(const std::string& message);                     // to be set when the data are wrong
  loops::Buffer stage(const std::string& name, DType, Dim elements);  // private to a thread, 64-byte aligned

  // The task index as a variable, 0 <= task < tasks.
  const loops::Var& task() const { return task_; }
  // The task index taken apart into axes of these extents, outermost first (Lets in `body`).
  std::vector<loops::Expr> split_task(const std::vector<Dim>& extents);

  // Wraps `body` into the Task loop. The builder is spent. With rounds, `tasks` is of one round.
  LoweredVariant finish(Dim tasks, Dim when = nullptr, Dim rounds = nullptr);

 private:
  loops::Buffer global(const BufferSource&, const std::string& prefix, DType, bool written, bool reads_own_writes);

  std::string family_, schedule_;
  loops::Var task_;
  std::vector<loops::Var> integers_;
  std::vector<Dim> integer_dims_;
  std::vector<bool> shared_;  // may stand for every equal Dim
  std::vector<loops::Buffer> buffers_;
  std::vector<BufferSource> sources_;
  std::vector<Dim> stage_sizes_;  // bytes, in order of the Stage buffers
};

// `flat` taken apart into axes of these extents, outermost first, by Lets in the block.
std::vector<loops::Expr> split_index(KernelBuilder&, Block&, loops::Expr flat, const std::vector<Dim>& extents);

// A step of one kernel.
LoweredStep single_step(LoweredVariant);

}  // namespace lapidary::lowering
