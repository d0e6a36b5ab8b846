#include "passes/train/reductions.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "ir/error.h"
#include "passes/graph/walk.h"

namespace lapidary::train {

namespace {

// Of random numbers of different ranks: more than there are steps.
constexpr double kStepsOfRank = 1099511627776;  // 2^40

Value* host_call(GraphBuilder& b, const char* function, std::vector<Value*> operands, std::vector<Dim> arguments) {
  const DType dtype = operands[0]->type.dtype;
  Params params = {{"function", std::string(function)}, {"to", dtype}};
  if (!arguments.empty()) params.set("arguments", std::move(arguments));
  return b.create(OpKind::HostCall, std::move(operands), std::move(params)).result();
}

// The op and all it needs, in their order.
std::vector<Op*> with_producers(Region& body, Op& op) {
  std::unordered_set<const Op*> needed = {&op};
  std::vector<Op*> ops;
  for (auto it = std::next(op.self); it != body.ops.begin();) {
    --it;
    if (!needed.contains(&*it)) continue;
    ops.push_back(&*it);
    for (const Value* operand : it->operands) needed.insert(operand->producer);
  }
  std::ranges::reverse(ops);
  return ops;
}

// Before everything else; not where extents are read by the host first.
void move_to_front(Region& body, Op& op) {
  const std::vector<Op*> ops = with_producers(body, op);
  if (std::ranges::any_of(ops, [](const Op* each) { return !passes::elements_needed_by(*each).empty(); })) return;
  const auto front =
      std::ranges::find_if(body.ops, [&](const Op& other) { return std::ranges::find(ops, &other) == ops.end(); });
  for (Op* each : ops) move_before(*each, body, front);
}

Value* flat(GraphBuilder& b, Value* x) { return b.reshape(x, {b.module.dims.product(x->type.shape)}); }

}  // namespace

Value* Reductions::start(GraphBuilder& b, Value* x) {
  std::vector<Value*> operands = {x};
  if (before_) operands.push_back(before_);
  before_ = host_call(b, "start_reduction", operands, {b.dim(static_cast<int64_t>(x->type.dtype)), b.dim(count_++)});
  return before_;
}

Value* Reductions::finish(GraphBuilder& b, Value* in_flight) {
  return host_call(b, "finish_reduction", {in_flight}, in_flight->producer->params.dims("arguments"));
}

Value* Reductions::sum_of_inputs(Value* x) {
  Value* in_flight = start(b_, x);
  move_to_front(b_.region, *in_flight->producer);
  return finish(b_, in_flight);
}

Value* Reductions::sum_for_report(Value* x) {
  Value* sum = finish(b_, start(b_, x));
  reports_.push_back(sum->producer);
  return sum;
}

void Reductions::finish() {
  for (Op* report : reports_) move_before(*report, b_.region, b_.region.yield().self);
}

void Reductions::tell_apart(Value* step) {
  const std::vector<Use> readers = step->uses;
  if (readers.empty()) return;
  GraphBuilder front(b_.module, b_.region, b_.region.ops.begin());
  Value* rank = host_call(front, "reduction_rank", {step}, {});
  Value* apart = front.add(step, front.mul(rank, front.like(rank, kStepsOfRank)));
  for (const Use& use : readers) use.op->set_operand(use.operand, apart);
}

// --- gradients ---------------------------------------------------------------------------------------------------

std::vector<Reductions::Bucket> Reductions::buckets(std::vector<Parameter>& parameters, int64_t bucket_bytes) {
  std::unordered_map<const Op*, int64_t> positions = {{nullptr, -1}};  // of an argument
  for (const Op& op : b_.region.ops) positions.emplace(&op, std::ssize(positions));
  std::vector<Parameter*> order;
  for (Parameter& parameter : parameters) order.push_back(&parameter);
  std::ranges::stable_sort(order, {}, [&](const Parameter* p) { return positions.at(p->gradient->producer); });
  std::vector<Bucket> buckets;
  int64_t room = 0;
  for (Parameter* parameter : order) {
    if (room <= 0) buckets.emplace_back(), room = bucket_bytes;
    buckets.back().parts.push_back(parameter);
    room -= *value_of(b_.module.dims.product(parameter->value->type.shape)) * bit_width(DType::F32) / 8;
  }
  return buckets;
}

// Where all its gradients are there, and what was started before has been.
std::list<Op>::iterator Reductions::behind(const Bucket& bucket) {
  std::unordered_set<const Op*> makers;
  for (const Parameter* part : bucket.parts) makers.insert(part->gradient->producer);
  if (before_) makers.insert(before_->producer);
  auto place = b_.region.ops.begin();
  for (auto op = place; op != b_.region.ops.end(); ++op)
    if (makers.contains(&*op)) place = std::next(op);
  return place;
}

void Reductions::start(Bucket& bucket) {
  GraphBuilder b(b_.module, b_.region, behind(bucket));
  std::vector<Value*> parts;
  for (const Parameter* part : bucket.parts) parts.push_back(b.convert(part->gradient, DType::F32));
  if (parts.size() > 1)
    for (Value*& part : parts) part = flat(b, part);
  bucket.in_flight = start(b, b.concat(parts, 0));
}

void Reductions::finish(const Bucket& bucket) {
  Value* sums = finish(b_, bucket.in_flight);
  if (bucket.parts.size() == 1) {
    bucket.parts[0]->gradient = sums;
    return;
  }
  Dim begin = b_.dim(0);
  for (Parameter* part : bucket.parts) {
    const Shape& shape = part->value->type.shape;
    const Dim size = b_.module.dims.product(shape);
    part->gradient = b_.reshape(b_.slice_axis(sums, 0, begin, size), shape);
    begin = b_.module.dims.add(begin, size);
  }
}

void Reductions::sum(std::vector<Parameter>& parameters, int64_t bucket_bytes) {
  std::vector<Bucket> all = buckets(parameters, bucket_bytes);
  for (Bucket& bucket : all) start(bucket);
  for (const Bucket& bucket : all) finish(bucket);
}

}  // namespace lapidary::train
