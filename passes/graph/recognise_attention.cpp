// Finds scaled dot-product attention spelled as a product, a softmax and another product, and makes it the composite:
//
//   contract(softmax(contract(q, k)·scale + mask), v) == attention(q, k, v, mask; scale)
//
// Exporters put the scale before the product on one operand, on both as its square root, or after it, as a
// multiplication or a division; masks are added after that; keys come transposed in many ways, and with grouped heads
// repeated through a broadcast. Three-dimensional products (heads merged into the batch) count as one head each.
// What the masks are made of is not looked at: an additive mask of any broadcastable shape is an operand.
//
// On a GPU the same of f16 and bf16, however the scores and weights are rounded on their way: scores are never stored
// there, so they stay f32. A CPU computes halves as it is told to.
#include <algorithm>

#include "ir/composites.h"
#include "ir/contract_spec.h"
#include "passes/graph/graph_passes.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

bool has(const std::string& letters, char letter) { return letters.find(letter) != std::string::npos; }

// The value with its axes, named by `letters`, in the order `wanted`; nothing when the names differ.
Value* reordered(GraphBuilder& b, Value* value, const std::string& letters, const std::string& wanted) {
  std::vector<int64_t> perm;
  for (char letter : wanted) {
    if (!has(letters, letter)) return nullptr;
    perm.push_back(static_cast<int64_t>(letters.find(letter)));
  }
  return letters.size() == wanted.size() ? b.transpose(value, perm) : nullptr;
}

// x·c or x/c with a number c: x, and the factor into `scale`. Looks through shape ops on the way.
Value* without_scale(GraphBuilder& b, Value* value, double& scale) {
  Op* op = value->producer;
  if (!op) return value;
  if (op->is(OpKind::Transpose) || op->is(OpKind::Reshape)) {
    Value* inner = without_scale(b, op->operand(0), scale);
    if (inner == op->operand(0)) return value;
    return op->is(OpKind::Transpose) ? b.transpose(inner, op->params.integers("perm"))
                                     : b.reshape(inner, op->type().shape);
  }
  bool product = op->is(OpKind::Mul), quotient = op->is(OpKind::Div);
  if (!product && !quotient) return value;
  for (int side : {1, 0}) {
    if (quotient && side == 0) break;
    auto number = number_of(b.module, op->operand(side));
    if (!number) continue;
    scale = product ? scale * *number : scale / *number;
    return without_scale(b, op->operand(1 - side), scale);
  }
  return value;
}

bool is_one(Dim dim) { return value_of(dim) == 1; }

// The smallest value a mask of the scores' shape is broadcast from, with an extent of 1 for each missing axis.
Value* narrow_mask(GraphBuilder& b, Value* mask) {
  Op* op = producer_of_kind(mask, OpKind::Broadcast);
  if (!op) return mask;
  Shape shape(mask->type.shape.size(), b.dim(1));
  const std::vector<int64_t>& axes = op->params.integers("axes");
  for (size_t i = 0; i < axes.size(); ++i) shape[static_cast<size_t>(axes[i])] = op->operand(0)->type.shape[i];
  return b.reshape(op->operand(0), shape);
}

// Of a broadcast's shape and axes, unless its source has that axis.
void drop_unit_axis(Shape& shape, std::vector<int64_t>& axes, int64_t dropped) {
  shape.erase(shape.begin() + dropped);
  if (std::ranges::find(axes, dropped) != axes.end()) return shape.clear();
  for (int64_t& axis : axes) axis -= axis > dropped;
}

// [B, G, T, D] of keys repeated to [B, G·R, T, D] for grouped heads; the value itself when they are not.
Value* without_repeats(GraphBuilder& b, Value* value) {
  Op* merge = producer_of_kind(value, OpKind::Reshape);
  Op* repeat = merge ? producer_of_kind(merge->operand(0), OpKind::Broadcast) : nullptr;
  if (!repeat || value->type.rank() != 4) return value;
  Shape wide = repeat->type().shape;
  std::vector<int64_t> axes = repeat->params.integers("axes");
  while (wide.size() > 5 && is_one(wide[3])) drop_unit_axis(wide, axes, 3);  // as Tile leaves them
  if (wide.size() != 5) return value;
  const Shape& merged = value->type.shape;
  bool merges_heads = wide[0] == merged[0] && wide[3] == merged[2] && wide[4] == merged[3];
  const Value* source = repeat->operand(0);
  Shape grouped = {wide[0], wide[1], wide[3], wide[4]};
  for (size_t i = 0; i < axes.size(); ++i) {
    Dim extent = source->type.shape[i];
    if (axes[i] == 2 ? !is_one(extent) : extent != wide[static_cast<size_t>(axes[i])]) return value;
  }
  bool keeps_keys = axes == std::vector<int64_t>{0, 1, 3, 4} || axes.size() == 5;
  if (!merges_heads || !keeps_keys) return value;
  return b.reshape(repeat->operand(0), grouped);
}

struct Scores {
  Op* product = nullptr;  // q·k
  Value* mask = nullptr;
  double scale = 1;
};

bool is_half(const Value* value) { return value->type.dtype == DType::F16 || value->type.dtype == DType::BF16; }

Value* widened(GraphBuilder& b, Value* value) { return is_half(value) ? b.convert(value, DType::F32) : value; }

// scores = (q·k)·scale + masks
std::optional<Scores> find_scores(GraphBuilder& b, Value* value, bool of_halves) {
  Scores found;
  for (;;) {
    Op* op = value->producer;
    if (!op || value->uses.size() != 1) return std::nullopt;
    if (of_halves && op->is(OpKind::Convert) && is_half(op->operand(0)) && !is_half(value)) {
      value = op->operand(0);
      continue;
    }
    if (op->is(OpKind::Contract)) {
      found.product = op;
      return found;
    }
    if (op->is(OpKind::Reshape) && op->operand(0)->type.shape == value->type.shape) {
      value = op->operand(0);
      continue;
    }
    if (op->is(OpKind::Add) && found.scale == 1) {
      int side = op->operand(0)->producer &&
                         (op->operand(0)->producer->is(OpKind::Contract) || op->operand(0)->producer->is(OpKind::Mul) ||
                          op->operand(0)->producer->is(OpKind::Div)) &&
                         op->operand(0)->uses.size() == 1
                     ? 0
                     : 1;
      Value* mask = widened(b, narrow_mask(b, op->operand(1 - side)));
      found.mask = found.mask ? b.add(found.mask, mask) : mask;
      value = op->operand(side);
      continue;
    }
    double scale = 1;
    Value* inner = op->is(OpKind::Mul) || op->is(OpKind::Div) ? nullptr : value;
    if (!inner) {
      for (int side : {1, 0}) {
        if (op->is(OpKind::Div) && side == 0) break;
        auto number = number_of(b.module, op->operand(side));
        if (!number) continue;
        scale = op->is(OpKind::Mul) ? *number : 1 / *number;
        inner = op->operand(1 - side);
        break;
      }
    }
    if (!inner || inner == value) return std::nullopt;
    found.scale *= scale;
    value = inner;
  }
}

Value* with_head_axis(GraphBuilder& b, Value* value) {
  return value->type.rank() == 4 ? value : b.expand_axes(value, {1});
}

// The softmax that makes the weights, rounded to halves or not.
Op* softmax_of(Value* weights, bool of_halves) {
  const Op* rounded = producer_of_kind(weights, OpKind::Convert);
  if (of_halves && rounded && is_half(weights) && weights->has_one_use()) weights = rounded->operand(0);
  return producer_of_kind(weights, OpKind::Composite);
}

// The attention that `product`, softmax(…)·v, computes; null when it is none.
Value* recognise(GraphBuilder& b, Op& product, bool of_halves) {
  ContractSpec outer = contract_spec(product);
  for (int side : {0, 1}) {
    Op* softmax = softmax_of(product.operand(side), of_halves);
    if (!softmax || !softmax->is_composite("softmax") || !softmax->result()->has_one_use()) continue;
    int rank = softmax->type().rank();
    if ((rank != 3 && rank != 4) || softmax->params.integer("axis") != rank - 1 || softmax->type().dtype != DType::F32)
      continue;
    auto scores = find_scores(b, softmax->operand(0), of_halves);
    if (!scores) continue;
    ContractSpec inner = contract_spec(*scores->product);
    if (static_cast<int>(inner.result.size()) != rank) continue;
    char query = inner.result[static_cast<size_t>(rank) - 2], key = inner.result.back();
    std::string batch = inner.result.substr(0, inner.result.size() - 2), depth;
    bool swapped = has(inner.right, query);
    const std::string &q_letters = swapped ? inner.right : inner.left, &k_letters = swapped ? inner.left : inner.right;
    for (char letter : q_letters) {
      if (!has(inner.result, letter)) depth += letter;
    }
    if (depth.size() != 1 || !has(k_letters, key)) continue;
    // The outer product names the softmax's axes by its own letters.
    const std::string &p_letters = side == 0 ? outer.left : outer.right,
                      &v_letters = side == 0 ? outer.right : outer.left;
    std::string outer_batch = p_letters.substr(0, p_letters.size() - 2), width;
    char outer_query = p_letters[p_letters.size() - 2], outer_key = p_letters.back();
    for (char letter : v_letters) {
      if (!has(p_letters, letter)) width += letter;
    }
    if (width.size() != 1 || has(outer.result, outer_key)) continue;

    Value* q = reordered(b, scores->product->operand(swapped ? 1 : 0), q_letters, batch + query + depth);
    Value* k = reordered(b, scores->product->operand(swapped ? 0 : 1), k_letters, batch + key + depth);
    Value* v = reordered(b, product.operand(1 - side), v_letters, outer_batch + outer_key + width);
    if (!q || !k || !v) continue;
    double scale = scores->scale;
    q = with_head_axis(b, without_scale(b, q, scale));
    k = with_head_axis(b, without_scale(b, k, scale));
    v = with_head_axis(b, v);
    Value *grouped_k = without_repeats(b, k), *grouped_v = without_repeats(b, v);
    if (grouped_k != k && grouped_v != v && grouped_k->type.shape[1] == grouped_v->type.shape[1]) {
      k = grouped_k;
      v = grouped_v;
    }
    Value* mask =
        scores->mask && rank == 3 && scores->mask->type.rank() == 3 ? b.expand_axes(scores->mask, {1}) : scores->mask;
    if (!value_of(q->type.shape[3]) || value_of(v->type.shape[3]).value_or(1) % 16 != 0)
      continue;  // what the kernel takes
    Value* result = composites::attention(b, widened(b, q), widened(b, k), widened(b, v), mask, scale, false);
    result = b.convert(result, product.type().dtype);
    if (rank == 3) result = b.drop_axes(result, {1});
    return reordered(b, result, outer_batch + outer_query + width, outer.result);
  }
  return nullptr;
}

}  // namespace

bool recognise_attention(Module& module, const Options& options) {
  return for_each_op(module, [&](Region& body, Op& op) {
    if (!op.is(OpKind::Contract)) return false;
    GraphBuilder b(module, body, op.self);
    b.origin = op.origin;
    Value* attention = recognise(b, op, options.target.is_gpu());
    if (!attention) return false;
    replace_value(op.result(), attention);
    erase_with_dead_producers(op);
    return true;
  });
}

}  // namespace lapidary::passes
