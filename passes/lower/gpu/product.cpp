// Tiles of a product. The step's kernel:
//
//   task: batch, tile of rows, tile of columns, the last one fastest
//     thread: acc = 0
//     product acc: a(i, k) and b(k, j) as expressions, masked at the ends, prologues included
//     thread: for each element it holds: epilogue, stored by two or four neighbours
//
// Where there are few tiles and k is long, a task has a part of k and stores its sums as they are (product_parts.h).
//
// A copied operand, one that is a load and no more, is fetched asynchronously, up to 16 bytes at once where the axis
// that is contiguous in memory allows it: its extent, all other strides and the offset are multiples of so many.
#include "passes/lower/gpu/product.h"

#include <algorithm>

#include "ir/error.h"
#include "ir/fragment.h"
#include "passes/lower/gpu/factors.h"
#include "passes/lower/gpu/few_rows.h"
#include "passes/lower/gpu/operand.h"
#include "passes/lower/gpu/product_kernel.h"
#include "passes/lower/gpu/product_parts.h"
#include "passes/lower/gpu/threads.h"
#include "passes/lower/gpu/tiles.h"
#include "passes/lower/work.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

bool is_zero(Dim dim) { return lapidary::value_of(dim) == 0; }

class ProductEmitter : ProductKernel {
 public:
  ProductEmitter(Context& context, const Op& group, const ProductForm& form, const Tile& tile, SplitDepth split)
      : ProductKernel(context, group, form, "product", tile.text()), tile_(tile), factor_(tile.factor), split_(split) {
    node_.atom = tile.atom;
    node_.rows = tile.rows, node_.columns = tile.columns, node_.depth = tile.depth, node_.stages = tile.stages;
    node_.warp_rows = tile.warp_rows, node_.warp_columns = tile.warp_columns;
    node_.warpgroups = tile.warpgroups;
    node_.row = make_var("i", {}, 0, tile.rows - 1);
    node_.column = make_var("j", {}, 0, tile.columns - 1);
    node_.k = make_var("k", {}, 0, most_k());
    builder_.threads = 32 * tile.warp_rows * tile.warp_columns;
  }

  // Where the tile lies and what it is made of; false where an operand is no expression. Then emit(), once.
  bool begin() {
    Dim row_tiles = dims_.ceildiv(rows_, builder_.dim(tile_.rows)),
        column_tiles = dims_.ceildiv(columns_, builder_.dim(tile_.columns));
    std::vector<Dim> task_extents = form_.batch;
    task_extents.push_back(builder_.dim(split_.count));
    task_extents.push_back(dims_.product(std::vector<Dim>{row_tiles, column_tiles}));
    const std::vector<Expr> parts = builder_.split_task(task_extents);
    take_batch(parts);
    part_ = parts[parts.size() - 2];
    const auto [row, column] = place_of_tile(parts.back(), row_tiles, column_tiles);
    first_row_ = first("row", row, tile_.rows, rows_);
    first_column_ = first("column", column, tile_.columns, columns_);
    tasks_ = dims_.product(task_extents);
    return operands();
  }

  SingleElements single_elements() const {
    const auto loaded = [](const ProductOperand& operand) { return operand.vector == 1 && is_loaded(operand.value); };
    return {node_.a.vector == 1, node_.b.vector == 1, loaded(node_.a), loaded(node_.b)};
  }

  // Of operands that neither the copy engine can bring as they are, nor, of bytes, any tensor core takes.
  Making others_than_packets() const {
    const auto is_other = [](const ProductOperand& operand) {
      const int bits = bit_width(operand.value->type.dtype);
      const bool loads = operand.value->kind == ExprKind::Load;
      if (bits == 8) return loads && !operand.along_k;
      return !loads || operand.vector * bits != 128 || (!operand.along_k && bits != 16);
    };
    return {is_other(node_.a), is_other(node_.b)};
  }

  LoweredVariant emit(Dim when) {
    const DType sum = sum_type(factor_);
    accumulator_ = builder_.body.fragment("acc", sum, tile_layout(node_).elements());
    for_each_held(builder_, accumulator_, 1, [&](Block& block, const Expr&, const Expr& element) {
      block.add(store(accumulator_, element, zero_of(sum)));
    });
    Expr begin = integer(0), end = builder_.parameter(depth_);
    if (split_.count > 1) {
      const auto known = lapidary::value_of(split_.depth);
      const Expr each = known ? integer(*known) : builder_.parameter_multiple_of(split_.depth, tile_.depth);
      begin = builder_.body.let("begin", mul(part_, each));
      end = min(end, add(begin, each));
      end = builder_.body.let("end", known ? end : max(end, begin));
    }
    builder_.body.add(product(accumulator_, node_, begin, end));
    const int together = lanes();
    for_each_held(builder_, accumulator_, together, [&](Block& block, const Expr& thread, const Expr& element) {
      epilogue(block, thread, element, together);
    });
    return builder_.finish(tasks_, when);
  }

 private:
  // Column by column in bands of kBand rows of tiles: those that run at the same time share rows of a and columns of b
  // in the cache.
  std::pair<Expr, Expr> place_of_tile(const Expr& number, Dim down, Dim across) {
    constexpr int64_t kBand = 16;
    if (value_of(across) == 1) return {number, integer(0)};
    const auto known = value_of(down);
    if (known == 1) return {integer(0), number};
    Block& block = builder_.body;
    if (known && *known <= kBand)
      return {block.let("down", mod(number, integer(*known))), block.let("across", floordiv(number, integer(*known)))};
    const Expr columns = builder_.parameter(dims_.max(across, builder_.dim(1)));
    const Dim tiles = dims_.product(std::vector<Dim>{down, across});
    const Expr first = bounded("band", mul(floordiv(number, mul(columns, integer(kBand))), integer(kBand)), tiles);
    const Expr rest = bounded("rest", sub(number, mul(first, columns)), tiles);
    const Expr rows = block.let("rows", max(min(sub(builder_.parameter(down), first), integer(kBand)), integer(1)));
    return {add(first, block.let("down", mod(rest, rows))), block.let("across", floordiv(rest, rows))};
  }

  // Of an index below the extent, or in the tile that its end is in: what fits 32 bits is divided in 32 bits.
  static int64_t most(Dim extent) { return range(extent).hi <= kSmall ? kSmall + kSmall / 2 : INT64_MAX / 4; }
  // A depth of several axes is taken apart by their extents, so kernels of others differ anyway: the bound may say what
  // the outermost of them is below.
  int64_t most_k() const {
    const auto count =
        std::ranges::count_if(form_.depth.extents, [](Dim extent) { return lapidary::value_of(extent) != 1; });
    return count > 1 ? std::min(std::max<int64_t>(range(depth_).hi, 1) - 1, most(depth_)) : most(depth_);
  }
  // A Let of what is not negative and belongs to such an index.
  Expr bounded(const char* name, const Expr& value, Dim extent) {
    if (value->kind == ExprKind::Const) return value;
    const Var var = make_var(name, value->type, 0, most(extent), value->multiple);
    builder_.body.add(let(var, value));
    return variable(var);
  }
  Expr first(const char* name, const Expr& tile, int size, Dim extent) {
    return bounded(name, mul(tile, integer(size)), extent);
  }

  // Neighbours of a row that a thread holds one after the other.
  int lanes() const {
    int lanes = tile_.atom == Atom::Fma && bit_width(factor_) < 64 && accumulator_->size >= 8 ? 4 : 2;
    while (!known_multiple(stored_columns_, lanes)) lanes /= 2;
    return lanes;
  }

  Expr inside(const Expr& index, Dim extent, int tile) {
    return known_multiple(extent, tile) ? nullptr : less(index, builder_.parameter(extent));
  }

  bool operands() {
    const Expr row = add(first_row_, variable(node_.row)), column = add(first_column_, variable(node_.column)),
               k = variable(node_.k);
    node_.a.value = operand_value(emit_, factor_, inside(row, rows_, tile_.rows), [&] {
      if (form_.a_made) return made_element(builder_, form_, true, flat_batch_, row, k);
      return emit_.value(form_.a, form_.a_at(emit_, batch_, parts(row, form_.rows), parts(k, form_.depth)));
    });
    node_.b.value = operand_value(emit_, factor_, inside(column, columns_, tile_.columns), [&] {
      if (form_.b_value) return form_.b_value(builder_, column, k);
      if (form_.b_made) return made_element(builder_, form_, false, flat_batch_, column, k);
      if (form_.b_rows)
        return load(builder_.weight(*form_.b_rows), add(mul(column, builder_.parameter(form_.b_pitch)), k));
      return emit_.value(form_.b, form_.b_at(emit_, batch_, parts(k, form_.depth), parts(column, form_.columns)));
    });
    if (!node_.a.value || !node_.b.value) return false;
    if (form_.a_made) {
      node_.a.vector = form_.made.run();
    } else {
      widen(node_.a, form_.rows, [&](GroupEmitter& emit, const Parts& row_parts, const Parts& depth_parts) {
        return emit.value(form_.a, form_.a_at(emit, unknown_positions(form_.batch), row_parts, depth_parts));
      });
    }
    if (form_.b_value) {
      node_.b.vector = std::min(form_.b_together, 16 * 8 / bit_width(factor_));
      return true;
    }
    if (form_.b_made) {
      node_.b.vector = form_.made.run();
    } else if (form_.b_rows) {
      while (2 * node_.b.vector <= 16 * 8 / bit_width(factor_) && known_multiple(form_.b_pitch, 2 * node_.b.vector))
        node_.b.vector *= 2;
    } else {
      widen(node_.b, form_.columns, [&](GroupEmitter& emit, const Parts& column_parts, const Parts& depth_parts) {
        return emit.value(form_.b, form_.b_at(emit, unknown_positions(form_.batch), depth_parts, column_parts));
      });
    }
    return true;
  }

  // Which axis the operand's elements follow in memory, and how many of them at once.
  using At = std::function<Expr(GroupEmitter&, const Parts& tile, const Parts& depth)>;
  void widen(ProductOperand& operand, const ProductAxis& tile_axis, const At& at) {
    for (const bool along_k : {true, false}) {
      const ProductAxis& axis = along_k ? form_.depth : tile_axis;
      if (axis.extents.empty()) continue;
      const std::optional<int> width =
          width_along(emit_, factor_, axis.extents.back(), [&](GroupEmitter& emit, const Coord& position) {
            Parts tile = unknown_positions(tile_axis.extents), depth = unknown_positions(form_.depth.extents);
            (along_k ? depth : tile).back() = position;
            return at(emit, tile, depth);
          });
      if (!width) continue;
      operand.along_k = along_k;
      operand.vector = *width;
      return;
    }
  }

  void epilogue(Block& block, const Expr& thread, const Expr& element, int lanes) {
    const FragmentPlace place = fragment_place(tile_layout(node_), thread, element);
    const Expr row = block.let("row", add(first_row_, place.row)),
               column = block.let("column", add(first_column_, place.column));
    Block inner;
    const Expr sum = load(accumulator_, element, lanes);
    if (split_.count > 1) {
      const Buffer sums = builder_.scratch(split_.scratch, accumulator_->element.dtype, true);
      inner.add(store(sums, place_in_parts(part_, split_.count, row, column), sum));
    } else {
      store_result(inner, row, column, sum, lanes);
    }
    const Expr guard = both(inside(row, rows_, tile_.rows), inside(column, stored_columns_, tile_.columns));
    if (!guard) return block.add(loops::block(inner.take()));
    block.add(if_then(guard, inner.take()));
  }

  static constexpr int64_t kSmall = INT64_C(1) << 30;

  const Tile tile_;
  const DType factor_;
  const SplitDepth split_;
  ProductNode node_;
  Expr first_row_, first_column_, part_;
  Dim tasks_ = nullptr;
  Buffer accumulator_;
};

std::vector<TileChoice> tiles_of(Context& context, const Op& group, const ProductForm& form,
                                 const SingleElements& single, const Making& making) {
  constexpr int kMostParts = 8, kMostOfUnknown = 32;
  DimPool& dims = context.module.dims;
  ProductSize size = {dims.product(form.batch),
                      form.rows.extent(dims),
                      form.columns.extent(dims),
                      form.depth.extent(dims),
                      vector_instructions(*group.regions[0], form.anchor),
                      form.b_value != nullptr};
  const MadeFactors made = made_factors(dims, form, context.options.f32_products);
  if (making.a && making.b) size.pieces = made.pieces;
  for (const bool of_a : {true, false})
    if (of_a ? making.a : making.b)
      size.moved = dims.add(size.moved ? size.moved : dims.constant(0), moved_bytes(dims, form, made, of_a));
  const int most_parts = form.splits_unknown_depth ? kMostOfUnknown : lapidary::value_of(size.depth) ? kMostParts : 1;
  return choose_tiles(dims, context.options, form.a->type.dtype, size, single, most_parts);
}

// 1 where it takes the fewest clocks, of equal ones the first; null: always.
Dim when_soonest(DimPool& dims, const std::vector<TileChoice>& tiles, size_t at) {
  Dim when = dims.constant(1);
  for (size_t i = 0; i < tiles.size(); ++i)
    if (i != at) {
      const Dim mine = tiles[at].clocks, other = tiles[i].clocks;
      when = dims.mul(when, i < at ? dims.less(mine, other) : dims.less(mine, dims.add(other, dims.constant(1))));
    }
  return lapidary::value_of(when) == 1 ? nullptr : when;
}

}  // namespace

// Extents that are symbols get several tiles, of which a run takes what is soonest done for its own.
std::optional<LoweredGroup> lower_product(Context& context, const Op& group, const ProductForm& form,
                                          std::vector<LoweredVariant> given) {
  DimPool& dims = context.module.dims;
  const Dim rows = form.rows.extent(dims), columns = form.columns.extent(dims), depth = form.depth.extent(dims),
            batch = dims.product(form.batch);
  if (is_zero(depth)) return std::nullopt;
  LoweredGroup lowered;
  LoweredStep& step = lowered.steps.emplace_back();
  step.variants = given.empty() ? few_rows_variants(context, group, form) : std::move(given);
  step.flops = dims.product(std::vector<Dim>{dims.constant(2), batch, rows, columns, depth});
  if (!step.variants.empty() && !step.variants.back().when) return lowered;
  const bool may = may_make_factors(context, form);
  ProductEmitter any(context, group, form, any_tile(context.options, form.a->type.dtype), {});
  if (!any.begin()) return std::nullopt;
  const bool splits = made_factors(dims, form, context.options.f32_products).pieces > 1;
  const Making making = !may || splits ? Making{may, may} : any.others_than_packets();
  SingleElements single = any.single_elements();
  single.made_a = making.a, single.made_b = making.b;
  const std::vector<TileChoice> tiles = tiles_of(context, group, form, single, making);
  Dim others = dims.constant(1);  // 1 where no variant runs that stands before
  Dim scratch = dims.constant(0);
  std::vector<LoweredStep> sums;
  const bool makes = std::ranges::any_of(tiles, [](const TileChoice& choice) { return takes_factors(choice.tile); });
  const ProductForm made = makes ? made_form(context, form, making, lowered.scratch) : form;
  for (const LoweredVariant& variant : step.variants)
    others = dims.mul(others, dims.equal(variant.when, dims.constant(0)));
  for (size_t i = 0; i < tiles.size(); ++i) {
    const Dim when = i + 1 < tiles.size() ? when_soonest(dims, tiles, i) : nullptr;
    if (when && lapidary::value_of(when) == 0) continue;
    const ProductForm& multiplied = takes_factors(tiles[i].tile) ? made : form;
    SplitDepth split = split_of(dims, tiles[i].tile, tiles[i].parts, multiplied.depth.extent(dims));
    split.scratch = static_cast<uint32_t>(lowered.scratch.size());
    ProductEmitter emitter(context, group, multiplied, tiles[i].tile, split);
    LPD_CHECK(emitter.begin(), "an operand that was an expression is none");
    step.variants.push_back(emitter.emit(when));
    if (split.count > 1) {
      const Dim runs = when ? dims.mul(others, when) : others;
      const Dim bytes = scratch_of_parts(dims, form, tiles[i].tile, split);
      // Not by when it runs: the formulas of all products that share the memory are parts of one.
      scratch = dims.max(scratch, tiles[i].never ? dims.select(tiles[i].never, dims.constant(0), bytes) : bytes);
      sums.push_back(
          sum_of_parts(context, group, form, tiles[i].tile, split, lapidary::value_of(runs) ? nullptr : runs));
    }
    if (!when) break;
    others = dims.mul(others, dims.equal(when, dims.constant(0)));
  }
  if (!sums.empty()) lowered.scratch.push_back(scratch);
  for (LoweredStep& sum : sums) lowered.steps.push_back(std::move(sum));
  add_steps_of_factors(context, group, form, made, lowered);
  return lowered;
}

}  // namespace lapidary::lowering::gpu
