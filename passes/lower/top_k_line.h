// What the ways of top_k.cpp and gpu/top_k.cpp share: a line, and the order of its elements.
#pragma once

#include "passes/lower/map_kernel.h"
#include "passes/lower/variable.h"

namespace lapidary::lowering {

using loops::Expr;

inline Expr and_of(const Expr& a, const Expr& b) { return loops::apply(ScalarOp::And, {a, b}); }
inline Expr or_of(const Expr& a, const Expr& b) { return loops::apply(ScalarOp::Or, {a, b}); }
inline Expr not_of(const Expr& a) { return loops::apply(ScalarOp::Not, {a}); }

class Line {
 public:
  Line(Context& context, const Op& group, std::string schedule)
      : group_(group),
        op_(anchor_of(group)),
        axis_(static_cast<size_t>(op_.params.integer("axis"))),
        largest_(op_.params.integer("largest") != 0),
        builder(context.module, context.target(), "top_k", std::move(schedule)),
        emit(builder, group) {
    tasks_ = op_.operand(0)->type.shape;
    extent_dim = tasks_[axis_], k_dim = op_.params.dim("k");
    tasks_[axis_] = builder.dim(1);
    extent = builder.parameter(extent_dim), k = builder.parameter(k_dim);
  }

 private:
  const Op& group_;
  const Op& op_;
  const size_t axis_;
  const bool largest_;
  std::vector<Dim> tasks_;
  std::vector<Expr> place_;  // of the line, by axis

 public:
  KernelBuilder builder;
  GroupEmitter emit;
  Dim extent_dim = nullptr, k_dim = nullptr;
  Expr extent, k;

  // What follows is about this line of all.
  void stand_at(Block& block, const Expr& line) { place_ = split_index(builder, block, line, tasks_); }
  Dim lines() const { return builder.module.dims.product(tasks_); }

  DType dtype() const { return compute_dtype(op_.type().dtype); }

  Expr element(Block& block, Coord position, int lanes = 1, Expr mask = nullptr) {
    GroupEmitter::Scope scope(emit, block);
    return block.let("x", emit.value(op_.operand(0), at(std::move(position), lanes, std::move(mask))));
  }

  void store_result(Block& block, const Expr& position, const Expr& value, const Expr& place) {
    GroupEmitter::Scope scope(emit, block);
    const auto& yielded = group_.regions[0]->results();
    for (uint32_t i = 0; i < yielded.size(); ++i)
      emit.store(i, at(lowering::at(position), 1, nullptr), yielded[i]->index == 0 ? value : place);
  }

  // Does a come before b by their values alone?
  Expr ahead(const Expr& a, const Expr& b) const {
    const Expr &high = largest_ ? a : b, &low = largest_ ? b : a;
    Expr result = loops::less(low, high);
    if (!is_float(dtype())) return result;
    return or_of(result, and_of(loops::apply(ScalarOp::IsNan, {high}), not_of(loops::apply(ScalarOp::IsNan, {low}))));
  }

  // Unsigned codes in the order of the result, of a type of 32 bits or 64; equal where neither element is ahead.
  Expr codes(Block&, const Expr& first, int lanes, const Expr& mask);
  // Copies the element of this place, bits as they are, and the place.
  void store_from(Block&, const Expr& position, const Expr& place);
  DType code_dtype() const { return code_bits() == 64 ? DType::U64 : DType::U32; }
  unsigned code_bits() const { return bit_width(op_.type().dtype); }

  LoweredVariant finish(Dim when) { return builder.finish(lines(), when); }

 private:
  DType stored_bits() const;  // the unsigned type as wide as the elements
  const Value* whole() const { return group_.operand(static_cast<int>(op_.operand(0)->index)); }

  Coords at(Coord position, int lanes, Expr mask) const {
    Coords coords;
    for (const Expr& place : place_) coords.axes.push_back(lowering::at(place));
    coords.axes[axis_] = std::move(position);
    coords.lanes = lanes;
    coords.mask = std::move(mask);
    return coords;
  }
};

// Do numbers of the type have codes?
bool has_codes(DType);

// The way for many of a line; see top_k_threshold.cpp.
LoweredVariant lower_top_k_threshold(Context&, const Op& group);

}  // namespace lapidary::lowering
