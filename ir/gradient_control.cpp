// Gradients of If and Loop: what goes forward in a region is done again in a region that goes back.
//
// An If's gradient is an If of the same condition: each branch does its forward ops again and hands gradients back.
// A Loop's is a Loop the other way. The loop itself is made to stack the values it carries, as they are when each
// iteration begins; the other one reads them, last iteration first, does the iteration again and hands back the
// gradients of what it made. It carries the gradients of the carried values, and for each captured one the sum:
//
//   for i: (c, s_i) = body(i, c, k)        for i from the last: (dc, δk) = body'(i, c_i, k; dc, ds_i);   dk += δk
//
// So memory is that of the carried values of all iterations, and forward work is done twice. A captured tensor that the
// body reads a slice of, as by iteration, gets its gradient slice by slice: they are stacked and added in one scatter
// behind the loop, not each to a tensor of the whole's size.
#include <algorithm>

#include "ir/differentiate.h"
#include "ir/error.h"

namespace lapidary {

namespace {

Value* or_zeros(GraphBuilder& b, Value* gradient, const Value* of) {
  return gradient ? gradient : b.splat(of->type.dtype, of->type.shape, 0);
}

[[noreturn]] void refuse(const GraphBuilder& b, const Op& op, std::string_view what) {
  throw Error(Fault::Unsupported, fmt::format("{}: the gradient of {}", b.module.describe(op.origin), what));
}

// --- if ----------------------------------------------------------------------------------------------------------

void if_rule(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  std::vector<Value*> operands = op.operands, wanted;
  std::vector<size_t> handed;  // results that have a gradient, in order
  for (size_t i = 0; i < op.results.size(); ++i) {
    Value* g = gradients.of(op.result(static_cast<int>(i)));
    if (!g) continue;
    if (holder_of_shape(op.params, i) >= 0) refuse(b, op, "an if whose branches give different shapes");
    handed.push_back(i);
    operands.push_back(g);
  }
  std::vector<std::unique_ptr<Region>> branches;
  for (const auto& branch : op.regions) {
    Region& back = *branches.emplace_back(std::make_unique<Region>());
    std::vector<Value*> arguments, inside;
    for (const Value* operand : operands) arguments.push_back(add_argument(b.module, back, operand->type));
    GraphBuilder in(b.module, back);
    in.origin = op.origin;
    const std::span given(arguments.begin(), op.operands.size());
    const std::vector<Value*> made = inline_region(b.module, *branch, given, back, back.ops.end());
    std::vector<Seed> seeds;
    for (size_t i = 0; i < handed.size(); ++i) seeds.push_back({made[handed[i]], arguments[op.operands.size() + i]});
    for (size_t i = 0; i < given.size(); ++i)
      if (gradients.wants(op.operands[i])) inside.push_back(given[i]);
    std::vector<Value*> results = pull_back(in, seeds, inside);
    for (size_t i = 0; i < results.size(); ++i) results[i] = or_zeros(in, results[i], inside[i]);
    in.yield(results);
  }
  const std::vector<Value*> results =
      b.with_regions(OpKind::If, operands, {{"condition", op.params.dim("condition")}}, std::move(branches));
  size_t next = 0;
  for (Value* operand : op.operands)
    if (gradients.wants(operand)) gradients.add(operand, results[next++]);
}

// --- loop --------------------------------------------------------------------------------------------------------

// How many iterations a loop with a condition has done: as its stacks' types say it, if there are some.
Dim count_of(Module& module, const Op& loop) {
  Value* count = loop.results.back().get();
  for (const Use& use : count->uses)
    if (use.op->is(OpKind::ToHost)) return use.op->result()->elements[0];
  GraphBuilder behind(module, *loop.region, std::next(loop.self));
  return behind.to_host(count, {0, kDimMax})->elements[0];
}

// Makes the loop stack one more value of its body.
Value* stack_of(Module& module, Op& loop, Value* inside, Dim iterations) {
  const bool counts = loop.params.integer_or("while", 0) != 0;
  const size_t index = loop.results.size() - (counts ? 1 : 0);
  Type type = inside->type;
  type.shape.insert(type.shape.begin(), iterations);
  auto stack = std::make_unique<Value>();
  stack->id = module.next_value_id++;
  stack->producer = &loop;
  stack->region = loop.region;
  stack->type = std::move(type);
  loop.results.insert(loop.results.begin() + static_cast<int64_t>(index), std::move(stack));
  for (size_t i = index; i < loop.results.size(); ++i) loop.results[i]->index = static_cast<uint32_t>(i);
  loop.regions[0]->yield().add_operand(inside);
  return loop.result(static_cast<int>(index));
}

// Ops that nobody reads go; what the host reads, types and parameters may speak of.
void drop_unread(Region& region) {
  for (auto op = region.ops.end(); op != region.ops.begin();) {
    --op;
    const auto read = [](const auto& result) { return !result->uses.empty(); };
    if (op->is(OpKind::Yield) || op->is(OpKind::ToHost) || std::ranges::any_of(op->results, read)) continue;
    const auto next = std::next(op);
    erase_op(*op);
    op = next;
  }
}

void drop_unread_arguments(Region& region, size_t first) {
  const auto unread = [](const auto& argument) { return argument->uses.empty(); };
  const auto begin = region.arguments.begin() + static_cast<int64_t>(first);
  region.arguments.erase(std::remove_if(begin, region.arguments.end(), unread), region.arguments.end());
  for (size_t i = 0; i < region.arguments.size(); ++i) region.arguments[i]->index = static_cast<uint32_t>(i);
}

// Does a body read nothing of an argument but slices?
bool is_read_by_slices(const Value& argument) {
  return std::ranges::all_of(argument.uses, [](const Use& use) {
    return use.op->is(OpKind::Gather) && use.operand == 0 && use.op->operand(1)->type.rank() == 0;
  });
}

// Adds slices of a tensor's gradient, stacked, where the gather has found each.
void add_slices(Gradients& gradients, const Op& gather, Value* tensor, Value* places, Value* stack) {
  GraphBuilder& b = gradients.build;
  const auto axis = gather.params.integer("axis");
  std::vector<int64_t> perm;
  for (int64_t i = 1; i < stack->type.rank(); ++i) perm.push_back(i);
  perm.insert(perm.begin() + axis, 0);
  Value* none = b.splat(tensor->type.dtype, tensor->type.shape, 0);
  gradients.add(tensor, b.scatter(none, counted_from_the_front(b, gather, places, tensor->type.shape[axis]),
                                  b.transpose(stack, perm), static_cast<int>(axis), false, "add"));
}

class LoopGradient {
 public:
  LoopGradient(Gradients& gradients, Op& loop)
      : gradients_(gradients),
        b_(gradients.build),
        loop_(loop),
        body_(*loop.regions[0]),
        carried_(static_cast<size_t>(loop.params.integer("carried"))),
        iterations_(loop.params.dim("trips")) {
    if (loop.params.has("shapes")) refuse(b_, loop, "a loop whose values change their shapes");
    if (loop.params.integer_or("while", 0) != 0) iterations_ = count_of(b_.module, loop);
  }

  void run() {
    find_active();
    make_arguments();
    GraphBuilder in(b_.module, *region_);
    in.origin = loop_.origin;
    in.yield(hand_back(in, do_again(in)));
    hand_on(finish());
  }

 private:
  Value* operand(size_t k) const { return loop_.operands[k]; }
  Value* inside(size_t k) const { return body_.arguments[1 + k].get(); }
  bool is_sliced(size_t k) const { return is_read_by_slices(*inside(k)); }

  // What of the body depends on something wanted, by this iteration or an earlier one.
  void find_active() {
    for (size_t k = 0; k < loop_.operands.size(); ++k)
      if (gradients_.wants(operand(k))) reached_.insert(inside(k));
    for (size_t before = SIZE_MAX; before != reached_.size();) {
      before = reached_.size();
      for (const Op& op : body_.ops)
        if (passes_on(op, reached_))
          for (const auto& result : op.results)
            if (is_float(result->type.dtype)) reached_.insert(result.get());
      for (size_t k = 0; k < carried_; ++k)
        if (reached_.contains(body_.results()[k])) reached_.insert(inside(k));
    }
    for (size_t k = 0; k < loop_.operands.size(); ++k)
      if (reached_.contains(inside(k)) && (k < carried_ || !is_sliced(k))) summed_.push_back(k);
    for (size_t i = carried_; i < body_.results().size(); ++i)
      if (gradients_.of(loop_.result(static_cast<int>(i))) && reached_.contains(body_.results()[i]))
        stacked_.push_back(i);
  }

  // Of the other loop's body: the iteration, gradients of carried values and sums of those of captured ones; then
  // captured: the stacks of what the loop carried, what it captured, gradients of its stacks.
  void make_arguments() {
    const auto add = [&](Type type) { return add_argument(b_.module, *region_, std::move(type)); };
    const auto stack = [&](Type type) {
      type.shape.insert(type.shape.begin(), iterations_);
      return add(std::move(type));
    };
    add(Type::tensor(DType::I64, {}));
    for (size_t k : summed_) sums_.push_back(add(operand(k)->type));
    for (size_t k = 0; k < loop_.operands.size(); ++k)
      given_.push_back(k < carried_ ? stack(inside(k)->type) : add(operand(k)->type));
    for (size_t i : stacked_) gradient_stacks_.push_back(stack(body_.results()[i]->type));
  }

  // An iteration's own ops, on what it had; → what it yields.
  std::vector<Value*> do_again(GraphBuilder& in) {
    Value* turn = region_->arguments[0].get();
    Value* iteration = in.sub(in.dims_tensor({b_.module.dims.sub(iterations_, in.dim(1))}, {}), turn);
    place_ = loop_.params.integer_or("reverse", 0) != 0 ? turn : iteration;
    std::vector<Value*> arguments = {iteration};
    for (size_t k = 0; k < given_.size(); ++k)
      arguments.push_back(k < carried_ ? in.gather(given_[k], place_, 0, true) : given_[k]);
    had_ = {arguments.begin() + 1, arguments.end()};
    return inline_region(b_.module, body_, arguments, *region_, region_->ops.end());
  }

  std::vector<Value*> hand_back(GraphBuilder& in, const std::vector<Value*>& made) {
    std::vector<Seed> seeds;
    std::vector<Value*> wanted;
    for (size_t i = 0; i < summed_.size(); ++i) {
      if (summed_[i] < carried_) seeds.push_back({made[summed_[i]], sums_[i]});
      wanted.push_back(had_[summed_[i]]);
    }
    for (size_t i = 0; i < stacked_.size(); ++i)
      seeds.push_back({made[stacked_[i]], in.gather(gradient_stacks_[i], place_, 0, true)});
    for (size_t k = carried_; k < given_.size(); ++k)
      if (reached_.contains(inside(k)) && is_sliced(k))
        for (const Use& use : given_[k]->uses) slices_.push_back({k, use.op});
    for (const Slice& slice : slices_) wanted.push_back(slice.gather->result());
    std::vector<Value*> yields = pull_back(in, seeds, wanted);
    for (size_t i = 0; i < summed_.size(); ++i) {
      const bool adds = summed_[i] >= carried_;
      if (adds) yields[i] = yields[i] ? in.add(sums_[i], yields[i]) : sums_[i];
      yields[i] = or_zeros(in, yields[i], sums_[i]);
    }
    for (size_t i = summed_.size(); i < yields.size(); ++i) yields[i] = or_zeros(in, yields[i], wanted[i]);
    for (const Slice& slice : slices_) yields.push_back(slice.gather->operand(1));
    return yields;
  }

  // The other loop, with what its body reads; → its results.
  std::vector<Value*> finish() {
    drop_unread(*region_);
    std::vector<Value*> operands;
    for (size_t k : summed_) {
      Value* g = k < carried_ ? gradients_.of(loop_.result(static_cast<int>(k))) : nullptr;
      operands.push_back(or_zeros(b_, g, operand(k)));
    }
    for (size_t k = 0; k < given_.size(); ++k)
      if (!given_[k]->uses.empty())
        operands.push_back(k < carried_ ? stack_of(b_.module, loop_, inside(k), iterations_) : operand(k));
    for (size_t i = 0; i < stacked_.size(); ++i)
      if (!gradient_stacks_[i]->uses.empty())
        operands.push_back(gradients_.of(loop_.result(static_cast<int>(stacked_[i]))));
    drop_unread_arguments(*region_, 1 + summed_.size());
    std::vector<std::unique_ptr<Region>> regions;
    regions.push_back(std::move(region_));
    return b_.with_regions(OpKind::Loop, operands,
                           {{"trips", iterations_}, {"carried", static_cast<int64_t>(summed_.size())}},
                           std::move(regions));
  }

  void hand_on(const std::vector<Value*>& results) {
    for (size_t i = 0; i < summed_.size(); ++i) gradients_.add(operand(summed_[i]), results[i]);
    for (size_t i = 0; i < slices_.size(); ++i) {
      Value *stack = results[summed_.size() + i], *places = results[summed_.size() + slices_.size() + i];
      add_slices(gradients_, *slices_[i].gather, operand(slices_[i].capture), places, stack);
    }
  }

  struct Slice {  // of a captured value, in the other loop's body
    size_t capture;
    Op* gather;
  };

  Gradients& gradients_;
  GraphBuilder& b_;
  Op& loop_;
  const Region& body_;
  const size_t carried_;
  Dim iterations_;
  std::unordered_set<const Value*> reached_;
  std::vector<size_t> summed_;   // operands whose gradients the other loop carries
  std::vector<size_t> stacked_;  // results
  std::unique_ptr<Region> region_ = std::make_unique<Region>();
  std::vector<Value*> sums_, given_, gradient_stacks_, had_;
  Value* place_ = nullptr;  // of this iteration's elements in stacks
  std::vector<Slice> slices_;
};

void loop_rule(Gradients& gradients, const Op& op) { LoopGradient(gradients, *op.result()->producer).run(); }

}  // namespace

GradientRule control_rule(const Op& op) { return op.is(OpKind::If) ? if_rule : loop_rule; }

}  // namespace lapidary
