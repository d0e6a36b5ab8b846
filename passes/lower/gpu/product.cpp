// Tiles of a product. The step's kernel:
//
//   task: batch, tile of rows, tile of columns, the last one fastest
//     thread: acc = 0
//     product acc: a(i, k) and b(k, j) as expressions, masked at the ends, prologues included
//     thread: for each element it holds: epilogue, stored by two or four neighbours
//
// A copied operand, one that is a load and no more, is fetched asynchronously, up to 16 bytes at once where the axis
// that is contiguous in memory allows it: its extent, all other strides and the offset are multiples of so many.
#include "passes/lower/gpu/product.h"

#include <algorithm>

#include "ir/error.h"
#include "ir/fragment.h"
#include "passes/lower/gpu/operand.h"
#include "passes/lower/gpu/threads.h"
#include "passes/lower/gpu/tiles.h"
#include "passes/lower/work.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

using Parts = ProductForm::Parts;

bool is_zero(Dim dim) { return lapidary::value_of(dim) == 0; }

class ProductEmitter {
 public:
  ProductEmitter(Context& context, const Op& group, const ProductForm& form, const Tile& tile)
      : dims_(context.module.dims),
        form_(form),
        tile_(tile),
        factor_(tile.factor),
        builder_(context.module, context.target(), "product", tile.text()),
        emit_(builder_, group),
        rows_(form.rows.extent(dims_)),
        columns_(form.columns.extent(dims_)),
        stored_columns_(form.stored_columns ? form.stored_columns : columns_),
        depth_(form.depth.extent(dims_)) {
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
    task_extents.push_back(row_tiles);
    task_extents.push_back(column_tiles);
    const std::vector<Expr> parts = builder_.split_task(task_extents);
    for (size_t i = 0; i < form_.batch.size(); ++i) batch_.push_back(at(parts[i]));
    first_row_ = first("row", parts[parts.size() - 2], tile_.rows, rows_);
    first_column_ = first("column", parts.back(), tile_.columns, columns_);
    tasks_ = dims_.product(task_extents);
    return operands();
  }

  bool has_single_elements() const { return node_.a.vector == 1 || node_.b.vector == 1; }

  LoweredVariant emit(Dim when) {
    const DType sum = factor_ == DType::F64 ? DType::F64 : is_float(factor_) ? DType::F32 : DType::I32;
    accumulator_ = builder_.body.fragment("acc", sum, tile_layout(node_).elements());
    for_each_held(builder_, accumulator_, 1, [&](Block& block, const Expr&, const Expr& element) {
      block.add(store(accumulator_, element, zero_of(sum)));
    });
    builder_.body.add(product(accumulator_, node_, integer(0), builder_.parameter(depth_)));
    const int together = lanes();
    for_each_held(builder_, accumulator_, together, [&](Block& block, const Expr& thread, const Expr& element) {
      epilogue(block, thread, element, together);
    });
    return builder_.finish(tasks_, when);
  }

 private:
  // Of an index below the extent, or in the tile that its end is in: what fits 32 bits is divided in 32 bits.
  static int64_t most(Dim extent) { return range(extent).hi <= kSmall ? kSmall + kSmall / 2 : INT64_MAX / 4; }
  // A depth of several axes is taken apart by their extents, so kernels of others differ anyway: the bound may say what
  // the outermost of them is below.
  int64_t most_k() const {
    const auto count =
        std::ranges::count_if(form_.depth.extents, [](Dim extent) { return lapidary::value_of(extent) != 1; });
    return count > 1 ? std::min(std::max<int64_t>(range(depth_).hi, 1) - 1, most(depth_)) : most(depth_);
  }
  Expr first(const char* name, const Expr& tile, int size, Dim extent) {
    const Expr value = mul(tile, integer(size));
    if (value->kind == ExprKind::Const) return value;
    const Var var = make_var(name, value->type, 0, most(extent), value->multiple);
    builder_.body.add(let(var, value));
    return variable(var);
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

  Parts parts(const Expr& flat, const ProductAxis& axis, int lanes = 1) {
    return emit_.reshape({lanes > 1 ? along(flat) : at(flat)}, {axis.extent(dims_)}, axis.extents, lanes);
  }

  bool operands() {
    const Expr row = add(first_row_, variable(node_.row)), column = add(first_column_, variable(node_.column)),
               k = variable(node_.k);
    node_.a.value = operand_value(emit_, factor_, inside(row, rows_, tile_.rows), [&] {
      return emit_.value(form_.a, form_.a_at(emit_, batch_, parts(row, form_.rows), parts(k, form_.depth)));
    });
    node_.b.value = operand_value(emit_, factor_, inside(column, columns_, tile_.columns), [&] {
      if (form_.b_rows)
        return load(builder_.weight(*form_.b_rows), add(mul(column, builder_.parameter(form_.b_pitch)), k));
      return emit_.value(form_.b, form_.b_at(emit_, batch_, parts(k, form_.depth), parts(column, form_.columns)));
    });
    if (!node_.a.value || !node_.b.value) return false;
    widen(node_.a, form_.rows, [&](GroupEmitter& emit, const Parts& row_parts, const Parts& depth_parts) {
      return emit.value(form_.a, form_.a_at(emit, unknown(form_.batch), row_parts, depth_parts));
    });
    if (form_.b_rows) {
      while (2 * node_.b.vector <= 16 * 8 / bit_width(factor_) && known_multiple(form_.b_pitch, 2 * node_.b.vector))
        node_.b.vector *= 2;
    } else {
      widen(node_.b, form_.columns, [&](GroupEmitter& emit, const Parts& column_parts, const Parts& depth_parts) {
        return emit.value(form_.b, form_.b_at(emit, unknown(form_.batch), depth_parts, column_parts));
      });
    }
    return true;
  }

  static Parts unknown(const std::vector<Dim>& extents) {
    Parts parts;
    for (Dim extent : extents) parts.push_back(unknown_position(extent));
    return parts;
  }

  // Which axis the operand's elements follow in memory, and how many of them at once.
  using At = std::function<Expr(GroupEmitter&, const Parts& tile, const Parts& depth)>;
  void widen(ProductOperand& operand, const ProductAxis& tile_axis, const At& at) {
    for (const bool along_k : {true, false}) {
      const ProductAxis& axis = along_k ? form_.depth : tile_axis;
      if (axis.extents.empty()) continue;
      const std::optional<int> width =
          width_along(emit_, factor_, axis.extents.back(), [&](GroupEmitter& emit, const Coord& position) {
            Parts tile = unknown(tile_axis.extents), depth = unknown(form_.depth.extents);
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
    {
      GroupEmitter::Scope scope(emit_, inner);
      Coords where = form_.result_at(emit_, batch_, parts(row, form_.rows), parts(column, form_.columns, lanes));
      where.lanes = lanes;
      if (stored_columns_ != columns_) where.mask = first_lanes(sub(builder_.parameter(columns_), column), lanes);
      Expr sum = load(accumulator_, element, lanes);
      if (form_.bias) sum = add(sum, form_.bias(emit_, where));
      emit_.store_results(form_.anchor->result(), where, rounded(sum, form_.anchor->type().dtype));
    }
    const Expr guard = both(inside(row, rows_, tile_.rows), inside(column, stored_columns_, tile_.columns));
    if (!guard) return block.add(loops::block(inner.take()));
    block.add(if_then(guard, inner.take()));
  }

  static constexpr int64_t kSmall = INT64_C(1) << 30;

  DimPool& dims_;
  const ProductForm& form_;
  const Tile& tile_;
  DType factor_;
  KernelBuilder builder_;
  GroupEmitter emit_;
  Dim rows_, columns_, stored_columns_, depth_;
  ProductNode node_;
  Parts batch_;
  Expr first_row_, first_column_;
  Dim tasks_ = nullptr;
  Buffer accumulator_;
};

// An extent where every symbol is `value`, as far as its interval goes.
int64_t extent_if(Dim dim, int64_t value) {
  const auto leaf = [&](Dim symbol) -> std::optional<int64_t> {
    return std::clamp<int64_t>(value, symbol->interval.lo, symbol->interval.hi);
  };
  return evaluate(dim, leaf).value_or(value);
}

Tile tile_if(Context& context, const ProductForm& form, int64_t symbols) {
  DimPool& dims = context.module.dims;
  return choose_tile(context.target(), context.options.f32_products, form.a->type.dtype,
                     extent_if(dims.product(form.batch), symbols), extent_if(form.rows.extent(dims), symbols),
                     extent_if(form.columns.extent(dims), symbols));
}

std::optional<LoweredVariant> product_variant(Context& context, const Op& group, const ProductForm& form,
                                              const Tile& tile, Dim when) {
  ProductEmitter emitter(context, group, form, tile);
  if (!emitter.begin()) return std::nullopt;
  if (!emitter.has_single_elements()) return emitter.emit(when);
  const Tile smaller = tile_of_single_elements(tile);
  ProductEmitter of_single_elements(context, group, form, smaller);
  of_single_elements.begin();
  return of_single_elements.emit(when);
}

}  // namespace

// Extents that are symbols get two tiles: that of many, where it fills the device, and that of few.
std::optional<LoweredStep> product_step(Context& context, const Op& group, const ProductForm& form) {
  constexpr int64_t kFew = 1, kMany = 4096;
  DimPool& dims = context.module.dims;
  const Dim rows = form.rows.extent(dims), columns = form.columns.extent(dims), depth = form.depth.extent(dims),
            batch = dims.product(form.batch);
  if (is_zero(depth)) return std::nullopt;
  const Tile few = tile_if(context, form, kFew), many = tile_if(context, form, kMany);
  LoweredStep step;
  if (many.text() != few.text()) {
    const Dim tiles = dims.product(std::vector<Dim>{batch, dims.ceildiv(rows, dims.constant(many.rows)),
                                                    dims.ceildiv(columns, dims.constant(many.columns))});
    auto variant = product_variant(context, group, form, many, dims.less(dims.constant(kMultiprocessors - 1), tiles));
    if (!variant) return std::nullopt;
    step.variants.push_back(std::move(*variant));
  }
  auto variant = product_variant(context, group, form, few, nullptr);
  if (!variant) return std::nullopt;
  step.variants.push_back(std::move(*variant));
  step.flops = dims.product(std::vector<Dim>{dims.constant(2), batch, rows, columns, depth});
  return step;
}

}  // namespace lapidary::lowering::gpu
