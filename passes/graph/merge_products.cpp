// Merge products: products of one value with several constant weights are one product with the columns of all, and
// what each was are slices of it. The projections to q, k and v of a transformer are three kernels that read the same
// rows; merged they are one, which reads them once and fills a device's last wave better, or leaves a few rows one
// parallel region in place of three.
//
//   %3 = contract %0, @1 spec="mk,kn->mn"        %5 = contract %0, @[1 2] spec="mk,kn->mn"
//   %4 = contract %0, @2 spec="mk,kn->mn"    →   %3 = slice %5 …   %4 = slice %5 …
//
// What follows all of them alike (a bias each, conversions, an activation, reshapes that leave the columns whole) is
// done once, before the slices.
//
// A slice must cost nothing: it is merged only when its readers walk by strides (attention, further products), or read
// it through an index map anyway (a rotary embedding, a cache that grows). Not merged are, so,
//  - a product whose own epilogue would become a pass over memory: silu(x·w1) · (x·w2), a residual;
//  - results of the function, and what a kernel wants dense;
//  - weights that others read too: merged ones are stored once, and theirs as well;
//  - products with others between them: their slices would share a buffer that lives long.
// Gains, on one thread of a Zen5: BERT-base 1 to 3 % at 8 to 128 tokens. BERT-base in f16, 32 sequences of 128, has 90
// kernels on a GPU in place of 114 and moves 2.19 GB in place of 2.34.
//
// Parts begin at multiples of 64 bytes, so that vectors, lines and packets of a GPU's copies are where they were.
// Test: test/passes/merge_products/.
#include <algorithm>
#include <map>

#include "ir/composites.h"
#include "ir/contract_spec.h"
#include "ir/graph_builder.h"
#include "passes/graph/clusters.h"
#include "passes/graph/fusion_rules.h"
#include "passes/graph/graph_passes.h"
#include "passes/graph/views.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

constexpr int64_t kPartBits = 64 * 8;  // what each part begins at a multiple of

// --- weights that nobody else reads --------------------------------------------------------------------------------

// How many ops of the module read a source: bytes of the model, or another constant.
class Readers {
 public:
  explicit Readers(const Module& module) : module_(module) {
    for (const auto& function : module.functions) count(*function->body);
  }

  bool alone(const Value* weight) const {
    const auto id = constant_of(weight);
    return id && weight->has_one_use() && readers_.at(key_of(*id)) == 1;
  }

 private:
  using Key = std::pair<const void*, ConstantId>;

  Key key_of(ConstantId id) const {
    const auto* bytes = std::get_if<ByteSource>(&module_.constants[id].source);
    return bytes ? Key{bytes->bytes.data(), {}} : Key{nullptr, id};
  }

  void count(const Region& region) {
    for (const Op& op : region.ops) {
      if (op.is(OpKind::Constant)) readers_[key_of(op.params.constant("value"))]++;
      for (const auto& inner : op.regions) count(*inner);
    }
  }

  const Module& module_;
  std::map<Key, int> readers_;
};

// --- products ------------------------------------------------------------------------------------------------------

bool is_packed(const Op& op) { return op.is_composite("matmul_packed"); }

// The columns of a product: a letter that only its weights have, the first in the result if it ends with such.
std::optional<char> column_letter(const ContractSpec& spec) {
  auto in = [](const std::string& letters, char letter) { return letters.find(letter) != std::string::npos; };
  for (char letter : spec.right)
    if (in(spec.left, letter) == in(spec.result, letter)) return {};  // of a batch, or summed alone
  if (spec.result.empty() || in(spec.left, spec.result.back())) return {};
  return *std::ranges::find_if(spec.result, [&](char letter) { return !in(spec.left, letter); });
}

// The axis of an op's result that holds the columns of its constant weights; nothing when it is no such product.
std::optional<int> column_axis(const Op& op, const Readers& readers) {
  if (!op.is(OpKind::Contract) && !is_packed(op)) return {};
  if (names_dims(op.result()) ||
      !std::ranges::all_of(std::span(op.operands).subspan(1), [&](const Value* v) { return readers.alone(v); }))
    return {};
  int axis = op.type().rank() - 1;
  if (op.is(OpKind::Contract)) {
    const ContractSpec spec = contract_spec(op);
    const std::optional<char> letter = column_letter(spec);
    if (!letter) return {};
    axis = static_cast<int>(spec.result.find(*letter));
  }
  int64_t bits = bit_width(op.type().dtype);
  for (int i = axis; i < op.type().rank(); ++i) bits *= value_of(op.type().shape[static_cast<size_t>(i)]).value_or(0);
  if (bits == 0 || bits % kPartBits != 0) return {};
  return axis;
}

bool equal_but_along(const Type& a, const Type& b, int axis) {
  if (a.dtype != b.dtype || a.rank() != b.rank()) return false;
  for (int i = 0; i < a.rank(); ++i)
    if (i != axis && !known_equal(a.shape[static_cast<size_t>(i)], b.shape[static_cast<size_t>(i)])) return false;
  return true;
}

bool alike(const Op& a, const Op& b, int axis) {
  if (a.kind != b.kind || a.params != b.params || a.operands.size() != b.operands.size()) return false;
  for (size_t i = 1; i < a.operands.size(); ++i)
    if (a.operands[i]->type.dtype != b.operands[i]->type.dtype) return false;
  return a.operand(0) == b.operand(0) && equal_but_along(a.type(), b.type(), axis);
}

// --- what follows all of them ----------------------------------------------------------------------------------------

// One op of each product, all alike: the products themselves, then what reads them.
struct Level {
  std::vector<Op*> ops;
  uint32_t operand = 0;  // by which each reads the one before
  int axis = 0;          // of their results, where the columns are

  int64_t extent(size_t i) const { return *value_of(ops[i]->type().shape[static_cast<size_t>(axis)]); }
};

Shape merged_shape(DimPool& dims, const Level& level) {
  Shape shape = level.ops[0]->type().shape;
  int64_t total = 0;
  for (size_t i = 0; i < level.ops.size(); ++i) total += level.extent(i);
  shape[static_cast<size_t>(level.axis)] = dims.constant(total);
  return shape;
}

// Where a reshape leaves the axis, and as many elements behind it.
std::optional<int> axis_after(DimPool& dims, const Op& reshape, int axis) {
  const Shape &from = reshape.operand(0)->type.shape, &to = reshape.type().shape;
  auto behind = [&](const Shape& shape, size_t i) { return dims.product(Shape(shape.begin() + i + 1, shape.end())); };
  const Dim wanted = behind(from, static_cast<size_t>(axis));
  for (size_t i = 0; i < to.size(); ++i)
    if (known_equal(to[i], from[static_cast<size_t>(axis)]) && known_equal(behind(to, i), wanted))
      return static_cast<int>(i);
  return {};
}

class Siblings {
 public:
  Siblings(Module& module, Region& body, std::vector<Op*> products, int axis)
      : module_(module), body_(body), products_(std::move(products)), axis_(axis) {}

  bool merge() {
    for (;;) {
      if (products_.size() < 2) return false;
      find_levels();
      const size_t before = products_.size();
      drop_dear();
      if (products_.size() == before) break;
    }
    build();
    return true;
  }

 private:
  // --- levels

  void find_levels() {
    levels_ = {{products_, 0, axis_}};
    while (auto next = next_level(levels_.back())) levels_.push_back(std::move(*next));
  }

  std::optional<Level> next_level(const Level& at) {
    Level next{{}, at.ops[0]->result()->uses[0].operand, at.axis};
    for (const Op* op : at.ops) {
      const Value* value = op->result();
      if (!value->has_one_use() || value->uses[0].operand != next.operand) return {};
      Op* reader = value->uses[0].op;
      if (std::ranges::find(next.ops, reader) != next.ops.end() || reader->results.size() != 1) return {};
      if (names_dims(reader->result())) return {};
      next.ops.push_back(reader);
    }
    return follows(next) ? std::optional(next) : std::nullopt;
  }

  // Can these readers be one? Sets where their columns are.
  bool follows(Level& level) {
    const Op& first = *level.ops[0];
    const int before = level.axis;
    if (first.is(OpKind::Reshape)) {
      const auto axis = axis_after(module_.dims, first, before);
      if (!axis) return false;
      level.axis = *axis;
    } else if (!is_elementwise(first)) {
      return false;
    }
    for (const Op* op : level.ops) {
      if (op->kind != first.kind || !equal_but_along(first.type(), op->type(), level.axis)) return false;
      if (op->is(OpKind::Reshape) && axis_after(module_.dims, *op, before) != level.axis) return false;
    }
    for (uint32_t i = 0; i < first.operands.size(); ++i)
      if (i != level.operand && !shared_source(level, i) && !vectors(level, i)) return false;
    return true;
  }

  // What all of them broadcast at this operand, when it is the same for all columns.
  static Op* shared_source(const Level& level, uint32_t operand) {
    Op* first = producer_of_kind(level.ops[0]->operands[operand], OpKind::Broadcast);
    if (!first) return nullptr;
    const auto& axes = first->params.integers("axes");
    for (size_t i = 0; i < axes.size(); ++i)
      if (axes[i] == level.axis && value_of(first->operand(0)->type.shape[i]) != 1) return nullptr;
    for (const Op* op : level.ops) {
      const Op* broadcast = producer_of_kind(op->operands[operand], OpKind::Broadcast);
      if (!broadcast || broadcast->operand(0) != first->operand(0) || broadcast->params.integers("axes") != axes)
        return nullptr;
    }
    return first;
  }

  // The constants, one for each column, that they have at this operand.
  std::optional<std::vector<ConstantId>> vectors(const Level& level, uint32_t operand) {
    std::vector<ConstantId> parts;
    for (size_t i = 0; i < level.ops.size(); ++i) {
      const Value* value = level.ops[i]->operands[operand];
      const auto part = constant_along(module_, value, level.axis, level.extent(i));
      if (!part || bit_width(value->type.dtype) < 8) return {};
      parts.push_back(*part);
    }
    return parts;
  }

  // --- readers of the slices

  // Leaves out the products whose slices would cost something.
  void drop_dear() {
    const Level& last = levels_.back();
    const std::vector<Dim> strides = dense_strides(module_.dims, merged_shape(module_.dims, last));
    std::vector<Op*> kept;
    for (size_t i = 0; i < products_.size(); ++i) {
      readers_ = {};
      const bool walked = walk_readers(last.ops[i]->result(), {.strides = strides});
      if (walked && (readers_.others || !readers_.elementwise)) kept.push_back(products_[i]);
    }
    products_ = std::move(kept);
  }

  // The shape ops between a slice and its reader.
  struct Path {
    std::vector<Dim> strides;  // of the slice
    int depth = 0;
    bool rows = true;    // they leave vectors along the last axis
    bool moved = false;  // not only reshaped and transposed, which a product's own kernel does
  };

  // Does all that reads a value walk by strides or index maps? Notes whether a product's epilogue could be among it.
  bool walk_readers(Value* value, const Path& path) {
    const auto view = strided_view(module_.dims, value, path.depth, path.strides);
    if (!view) return false;
    const bool vectors = view->strides.empty() || value_of(view->strides.back()) == 1;
    return std::ranges::all_of(value->uses, [&](const Use& use) {
      if (is_view_op(*use.op)) return walk_readers(use.op->result(), behind(*use.op, path));
      if (is_elementwise(*use.op)) {
        (path.moved ? readers_.others : readers_.elementwise) = true;
        return true;
      }
      readers_.others = true;
      return takes(use, path, vectors);
    });
  }

  static Path behind(const Op& op, Path path) {
    path.depth++;
    path.rows &= keeps_last_axis(op);
    path.moved |= op.is(OpKind::Slice) || op.is(OpKind::Broadcast);
    return path;
  }

  static bool takes(const Use& use, const Path& path, bool vectors) {
    const std::string_view family = family_of(*use.op);
    if (family == "contraction") return true;
    if (family == "attention") return use.operand < 3 && vectors;
    if (family == "row") return use.operand == 0 && path.rows;
    if (use.op->is(OpKind::Concat)) return path.moved || copies_anyway(*use.op);
    return use.op->is(OpKind::Pad) || (use.op->is(OpKind::Gather) && use.operand == 0);
  }

  // A part that no kernel makes is copied, and the others with it; else a product is written where it belongs.
  static bool copies_anyway(const Op& concat) {
    return concat.operands.size() == 2 && std::ranges::any_of(concat.operands, [](const Value* part) {
             return !part->producer || part->producer->is(OpKind::Constant);
           });
  }

  // --- the merged ones

  void build() {
    GraphBuilder b(module_, body_, products_[0]->self);
    b.origin = products_[0]->origin;
    Value* merged = merged_product(b);
    for (size_t i = 1; i < levels_.size(); ++i) merged = merged_level(b, levels_[i], merged);
    const Level& last = levels_.back();
    int64_t begin = 0;
    for (size_t i = 0; i < last.ops.size(); ++i) {
      b.origin = products_[i]->origin;
      replace_value(last.ops[i]->result(), b.slice_axis(merged, last.axis, b.dim(begin), b.dim(last.extent(i))));
      begin += last.extent(i);
    }
    for (Op* op : last.ops) erase_with_dead_producers(*op);
  }

  Value* joined(GraphBuilder& b, uint32_t operand, int64_t axis) {
    std::vector<ConstantId> parts;
    for (const Op* product : products_) parts.push_back(*constant_of(product->operands[operand]));
    return b.constant(module_.constants.joined(std::move(parts), axis));
  }

  Value* merged_product(GraphBuilder& b) {
    const Op& first = *products_[0];
    if (is_packed(first)) {
      composites::PackedWeights weights = composites::packed_weights(first);
      weights.n = *value_of(merged_shape(module_.dims, levels_[0]).back());
      weights.codes = joined(b, 1, 0);
      weights.scales = joined(b, 2, 0);
      if (weights.zero_points) weights.zero_points = joined(b, 3, 0);
      return composites::matmul_packed(b, first.operand(0), weights);
    }
    const ContractSpec spec = contract_spec(first);
    const size_t axis = spec.right.find(spec.result[static_cast<size_t>(axis_)]);
    return b.contract(first.operand(0), joined(b, 1, static_cast<int64_t>(axis)), to_string(spec));
  }

  Value* merged_level(GraphBuilder& b, const Level& level, Value* merged) {
    const Op& first = *level.ops[0];
    const Shape shape = merged_shape(module_.dims, level);
    b.origin = first.origin;
    if (first.is(OpKind::Reshape)) return b.reshape(merged, shape);
    std::vector<Value*> operands;
    for (uint32_t i = 0; i < first.operands.size(); ++i) {
      if (i == level.operand)
        operands.push_back(merged);
      else if (Op* broadcast = shared_source(level, i))
        operands.push_back(b.broadcast(broadcast->operand(0), broadcast->params.integers("axes"), shape));
      else
        operands.push_back(
            b.broadcast(b.constant(module_.constants.joined(*vectors(level, i), 0)), {level.axis}, shape));
    }
    return b.create(first.kind, operands, first.params).result();
  }

  Module& module_;
  Region& body_;
  std::vector<Op*> products_;
  int axis_;
  std::vector<Level> levels_;
  struct {
    bool elementwise = false, others = false;
  } readers_;  // of the slice looked at
};

// --- runs of products ------------------------------------------------------------------------------------------------

// Reads memory again and again, so that it is a kernel by itself wherever it stands.
bool is_heavy(const Op& op) {
  const std::string_view family = family_of(op);
  return family != "elementwise" && family != "row" && family != "reduce";
}

// Products alike of one value with no other kernel's work between them.
std::vector<Siblings> siblings_of(Module& module, Region& body, const Readers& readers) {
  std::vector<Siblings> result;
  std::vector<Op*> run;
  int axis = 0;
  auto end_run = [&] {
    if (run.size() > 1) result.emplace_back(module, body, run, axis);
    run.clear();
  };
  for (Op& op : body.ops) {
    const std::optional<int> columns = column_axis(op, readers);
    if (columns && !run.empty() && *columns == axis && alike(*run[0], op, axis)) {
      run.push_back(&op);
      continue;
    }
    if (!columns && !is_heavy(op)) continue;
    end_run();
    if (columns) run = {&op}, axis = *columns;
  }
  end_run();
  return result;
}

}  // namespace

bool merge_products(Module& module, const Options&) {
  const Readers readers(module);
  bool changed = false;
  for_each_body(module, [&](Region& body) {
    bool merged = false;
    for (Siblings& siblings : siblings_of(module, body, readers)) merged |= siblings.merge();
    if (merged) sort_by_definition(body);
    changed |= merged;
  });
  return changed;
}

}  // namespace lapidary::passes
