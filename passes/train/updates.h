// From gradients to the parameters' new values: loss scaling, accumulation over several steps, clipping, the learning
// rate's schedule, and the optimiser.
#pragma once

#include "passes/train/entry.h"
#include "passes/train/optimizers.h"

namespace lapidary::train {

struct UpdateOptions {
  Schedule schedule;
  double clip_norm = 0;      // of all gradients together, at most; 0: any
  int64_t accumulate = 1;    // steps whose gradients are averaged before the parameters move
  bool scales_loss = false;  // by a power of two that shrinks when a gradient overflows, and then nothing moves
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
  struct Stored {  // the states of one parameter beside itself
    std::vector<size_t> slots;
    size_t sum = 0;  // of gradients so far, with accumulation
  };
  Value* all_finite(const std::vector<Parameter>&);
  void unscale(std::vector<Parameter>&);
  void write_scale();
  void gather(std::vector<Parameter>&);
  void clip(std::vector<Parameter>&);
  void move(const Parameter&, const Optimizer::Step&);
  void write_if(Value* condition, size_t state, Value* value);  // null: always

  EntryWriter& entry_;
  GraphBuilder& b_;
  const Optimizer& optimizer_;
  const UpdateOptions& options_;
  const size_t step_state_;
  size_t scale_state_ = 0, since_state_ = 0;
  Value *done_, *scale_ = nullptr;
  Value* finite_ = nullptr;  // bool []: nothing overflowed; null: nobody asks
  Value* moves_ = nullptr;   // bool []: the parameters move in this step; null: they do in each
};

}  // namespace lapidary::train
