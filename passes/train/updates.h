// From gradients to the parameters' new values: loss scaling, accumulation over several steps, clipping, the learning
// rate's schedule, and the optimiser.
#pragma once

#include "passes/train/entry.h"
#include "passes/train/optimizers.h"

namespace lapidary::train {

struct UpdateOptions {
  Schedule schedule;
  double clip_norm = 0;         // of all gradients together, at most; 0: any
  int64_t accumulate = 1;       // steps whose gradients are averaged before the parameters move
  bool reports_finite = false;  // a result `finite`, bool []: the parameters may be kept
  bool scales_loss = false;     // by a power of two that shrinks when a gradient overflows, and then nothing moves
};

struct Parameter {
  size_t state;
  Value *value, *gradient = nullptr;
};

class Updates {
 public:
  // `step`: the state that counts the steps.
  Updates(EntryWriter&, const Optimizer&, const UpdateOptions&, size_t step);

  Value* scaled(Value* loss);  // what is to be differentiated
  // Writes the new values of all states that training moves, but for statistics.
  void write(std::vector<Parameter>);

 private:
  Value* all_finite(const std::vector<Parameter>&);
  void unscale(std::vector<Parameter>&);
  void write_scale();
  Value* whole();
  void report_finite();
  void gather(std::vector<Parameter>&);
  void clip(std::vector<Parameter>&);
  void move(const Parameter&, const Optimizer::Step&);
  void write_if(Value* condition, size_t state, Value* value);  // null: always

  EntryWriter& entry_;
  GraphBuilder& b_;
  const Optimizer& optimizer_;
  const UpdateOptions& options_;
  const size_t step_state_;
  // With loss scaling; the last counts the steps in which parameters moved.
  size_t scale_state_ = 0, since_state_ = 0, moved_state_ = 0;
  Value *done_, *scale_ = nullptr;
  Value* squares_ = nullptr;  // f32 []: of the gradients' norm, with clipping
  // bool []
  Value* finite_ = nullptr;   // nothing overflowed in this step; null: nobody asks
  Value* is_last_ = nullptr;  // of those whose gradients are averaged; null: each is
  Value* moves_ = nullptr;    // the parameters move in this step; null: they do in each
};

}  // namespace lapidary::train
