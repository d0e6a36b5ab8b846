// Data-parallel training. Each rank runs the step with its share of the batch; what is a sum over the batch is summed
// over the ranks: the number of samples, or of labels that count, by which the loss divides, so that shares may differ;
// the gradients; and, for whoever looks, the loss and how many predictions were right. All that follows, from clipping
// to the moments, is then the same on every rank, and the parameters stay equal without being sent.
//
//   g2, g1  …the rest of the backward pass…  update    →
//   g2, g1  %b = concat g2, g1   %f = start_reduction %b   …the rest…   %s = finish_reduction %f   update by slices of
//   %s
//
// Gradients are gathered in buckets, in the order in which the backward pass makes them, and a bucket is on its way
// while the pass goes on (Li et al., "PyTorch Distributed", VLDB 2020). A start takes the one before it as an operand:
// the order is the same on all ranks, whatever moves ops. What is summed is written over: form_groups makes it a
// kernel's. Test: test/train/parallel.py, test/train/parallel.test.
#pragma once

#include <list>
#include <vector>

#include "passes/train/updates.h"

namespace lapidary::train {

class Reductions {
 public:
  explicit Reductions(GraphBuilder& builder) : b_(builder) {}

  // Of what the inputs alone decide: begun before anything else is.
  Value* sum_of_inputs(Value*);
  // Of what nobody but the caller of the entry point reads: awaited at the end.
  Value* sum_for_report(Value*);
  // Gradients become their sums, in buckets of so many bytes or a little more.
  void sum(std::vector<Parameter>&, int64_t bucket_bytes);
  // Random numbers, which the number of the step decides, become others on each rank.
  void tell_apart(Value* step);
  // Behind all else that the entry point does.
  void finish();

 private:
  struct Bucket {
    std::vector<Parameter*> parts;
    Value* in_flight = nullptr;
  };
  Value* start(GraphBuilder&, Value*);
  Value* finish(GraphBuilder&, Value* in_flight);
  std::vector<Bucket> buckets(std::vector<Parameter>&, int64_t bucket_bytes);
  std::list<Op>::iterator behind(const Bucket&);
  void start(Bucket&);
  void finish(const Bucket&);

  GraphBuilder& b_;
  int64_t count_ = 0;        // of sums
  Value* before_ = nullptr;  // what was started last
  std::vector<Op*> reports_;
};

}  // namespace lapidary::train
