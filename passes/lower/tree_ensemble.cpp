// Tree ensembles. Two steps: trees, cut into segments, leave a number for each row and segment; then each row's are
// reduced in order, so that the bits depend neither on threads nor on who computed what. Few rows walk down several
// trees at once; many ask all splits of trees that are small (tree_bits.cpp), or walk down one tree at once
// (tree_walk.cpp). Measured on Zen 4 and compared with ONNX Runtime in bench/compare.py.
#include <algorithm>
#include <cmath>

#include "ir/error.h"
#include "passes/lower/register_tile.h"
#include "passes/lower/tree_kernels.h"

namespace lapidary::lowering {

using namespace loops;

Expr combined(const Trees& trees, Expr a, Expr b) {
  return trees.reduce == OpKind::ReduceSum   ? add(std::move(a), std::move(b))
         : trees.reduce == OpKind::ReduceMin ? min(std::move(a), std::move(b))
                                             : max(std::move(a), std::move(b));
}

Expr nothing(const Trees& trees, int lanes) { return constant(Scalar::of_float(trees.dtype, trees.none()), lanes); }

Expr load_index(const Buffer& table, Expr index) { return convert(load(table, std::move(index)), DType::I64); }

namespace {

constexpr int64_t kFewRows = 8, kFewRowsOfBits = 4;  // that are not worth a block
constexpr int64_t kSumBlock = 64;

// Segments are in order of their targets: first_segment[e] … first_segment[e + 1] are of target e.
LoweredVariant reduce_segments(const TreeEnsembleForm& form, const std::vector<int64_t>& targets, Dim when) {
  const Trees& trees = form.trees;
  Module& module = form.context.module;
  KernelBuilder builder(module, form.context.target(), "tree_ensemble", "sum");
  GroupEmitter emit(builder, form.group);
  std::vector<int32_t> first_segment;
  for (int64_t target = 0; target <= trees.targets; ++target)
    first_segment.push_back(static_cast<int32_t>(std::ranges::lower_bound(targets, target) - targets.begin()));
  const int64_t width = trees.leaf_width();
  Buffer partial = builder.scratch(0, trees.dtype, false), first_of;
  if (trees.one_target) first_of = builder.weight(add_table(module, first_segment));
  Dim blocks = module.dims.ceildiv(form.rows, builder.dim(kSumBlock));
  Block& body = builder.body;
  Expr rows = builder.parameter(form.rows),
       first = body.let("first", mul(builder.split_task({blocks})[0], integer(kSumBlock)));
  serial(body, "row", first, min(rows, add(first, integer(kSumBlock))), 1, [&](Block& of_row, Expr row) {
    serial(of_row, "target", integer(0), builder.parameter(builder.dim(trees.targets)), 1,
           [&](Block& each, Expr target) {
             Expr begin = integer(0), end = builder.parameter(builder.dim(static_cast<int64_t>(targets.size())));
             if (trees.one_target)
               begin = load_index(first_of, target), end = load_index(first_of, add(target, integer(1)));
             Buffer sum = each.local("sum", {trees.dtype, 1}, 1);
             each.add(store(sum, integer(0), nothing(trees, 1)));
             serial(each, "segment", begin, end, 1, [&](Block& inner, Expr segment) {
               Expr at = mul(add(mul(segment, rows), row), integer(width));
               if (!trees.one_target) at = add(at, target);
               inner.add(store(sum, integer(0), combined(trees, load(sum, integer(0)), load(partial, at))));
             });
             GroupEmitter::Scope scope(emit, each);
             emit.store_results(form.op.result(), {{at(row), at(target)}}, load(sum, integer(0)));
           });
  });
  return builder.finish(blocks, when);
}

// Comparisons count as operations. A row touches one node of each level, all rows at most all nodes.
void note_work(const TreeEnsembleForm& form, int64_t segments, LoweredStep& walks, LoweredStep& sums) {
  DimPool& dims = form.context.module.dims;
  const int64_t element = bit_width(form.trees.dtype) / 8, partial = segments * form.trees.leaf_width();
  int64_t visits = 0, nodes = 0;
  for (const TreeShape& tree : form.trees.shapes)
    visits += tree.depth + 1, nodes += static_cast<int64_t>(tree.splits.size() + tree.leaves.size());
  auto for_rows = [&](int64_t each) { return dims.mul(form.rows, dims.constant(each)); };
  walks.flops = for_rows(visits);
  walks.bytes = dims.add(for_rows((form.slots.count() + partial) * element),
                         dims.min(for_rows(visits * 2 * element), dims.constant(nodes * 2 * element)));
  sums.flops = for_rows(partial);
  sums.bytes = for_rows((partial + form.trees.targets) * element);
}

}  // namespace

LoweredGroup lower_tree_ensemble(Context& context, const Op& group) {
  const Op& op = anchor_of(group);
  const DType dtype = op.operand(0)->type.dtype;
  if ((dtype != DType::F32 && dtype != DType::F64) || dtype != op.operand(2)->type.dtype || dtype != op.type().dtype)
    unsupported(context.module, group, fmt::format("trees over {}", name_of(dtype)));
  const Trees trees(context, group, op);
  // Leaves as rows of all targets: not of many, nor where most of them say little.
  constexpr int64_t kMostTargets = 1024, kLittle = 1 << 20;
  int64_t leaf_numbers = 0;
  for (const TreeShape& tree : trees.shapes)
    leaf_numbers += static_cast<int64_t>(tree.leaves.size()) * trees.leaf_width();
  if (trees.leaf_width() > kMostTargets || leaf_numbers > std::max(16 * trees.weights(), kLittle))
    unsupported(context.module, group, fmt::format("trees whose leaves speak of several of {} targets", trees.targets));
  const Slots slots(trees);
  DimPool& dims = context.module.dims;
  const TreeEnsembleForm form{context, group, op, trees, slots, op.operand(0)->type.shape[0]};
  const bool bits = has_tree_bits(trees, context.target());
  LoweredStep walks, sums;
  std::vector<std::vector<int64_t>> targets;  // of the segments of each variant
  auto add_variant = [&](TreeVariant variant) {
    targets.push_back(std::move(variant.targets));
    walks.variants.push_back(std::move(variant.variant));
  };
  auto up_to = [&](int64_t rows) { return dims.less(form.rows, dims.constant(rows + 1)); };
  const Dim few = up_to(bits ? kFewRowsOfBits : kFewRows), vector = up_to(bits ? context.target().f32_lanes() : 0);
  if (lapidary::value_of(few) != 0) add_variant(walk_one_row(form, few));
  if (bits && lapidary::value_of(few) != 1 && lapidary::value_of(vector) != 0)
    add_variant(ask_all_splits(form, 1, vector));
  if (lapidary::value_of(few) != 1 && lapidary::value_of(vector) != 1)
    add_variant(bits ? ask_all_splits(form, 2, nullptr) : walk_rows(form, nullptr));
  const bool alike = std::ranges::adjacent_find(targets, std::ranges::not_equal_to{}) == targets.end();
  size_t segments = 0;
  for (size_t i = 0; i < targets.size(); ++i) {
    segments = std::max(segments, targets[i].size());
    if (i == 0 || !alike)
      sums.variants.push_back(reduce_segments(form, targets[i], alike ? nullptr : walks.variants[i].when));
  }
  note_work(form, static_cast<int64_t>(segments), walks, sums);
  LoweredGroup result;
  result.scratch = {dims.product(std::vector<Dim>{
      form.rows, dims.constant(static_cast<int64_t>(segments) * trees.leaf_width() * bit_width(dtype) / 8)})};
  result.steps.push_back(std::move(walks));
  result.steps.push_back(std::move(sums));
  return result;
}

}  // namespace lapidary::lowering
