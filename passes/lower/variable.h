// Numbers that loops change, and questions about all lanes of a vector.
#pragma once

#include "passes/lower/coords.h"
#include "passes/lower/kernel_builder.h"

namespace lapidary::lowering {

// Does it hold in some lane?
inline loops::Expr any_lane(const loops::Expr& condition) {
  const auto number = [&](int64_t value) {
    return splat_to(loops::constant(Scalar::of_integer(DType::I32, value)), condition->type.lanes);
  };
  return loops::less(loops::constant(Scalar::of_integer(DType::I32, 0)),
                     loops::reduce(ScalarOp::Max, loops::select(condition, number(1), number(0))));
}

// A number that loops change: a Local of one element.
class Variable {
 public:
  Variable(Block& block, const char* name, const loops::Expr& start) : buffer_(block.local(name, start->type, 1)) {
    set(block, start);
  }
  loops::Expr get(Block& block) const { return block.let(buffer_->name, loops::load(buffer_, loops::integer(0))); }
  void set(Block& block, const loops::Expr& value) const { block.add(loops::store(buffer_, loops::integer(0), value)); }

 private:
  loops::Buffer buffer_;
};

}  // namespace lapidary::lowering
