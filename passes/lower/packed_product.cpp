// Products with weights of 4 or 8 bits in blocks that have a scale each (composite matmul_packed).
//
// The codes lie in panels of 16 columns, [N/16][byte of K][16]: a vector of bytes holds one byte of 16 columns, for 4
// bits two k of each. Within a block sums are of codes as they are, and scale and zero point come in once a block:
//
//   y[n] += s[n, block] · (Σ q·a - z[n, block] · Σ a)          Σ over the block
//
// Up to four rows (two with 16 registers) that is done while the codes are read, each byte once: then their number is
// all that counts. For more rows a strip of two panels is dequantised into a stage, which stays in the second cache,
// and the register tile of f32 products does the rest.
#include <algorithm>

#include "ir/error.h"
#include "passes/lower/epilogue.h"
#include "passes/lower/family.h"
#include "passes/lower/group_emitter.h"
#include "passes/lower/packed_form.h"
#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int kStrip = 4;   // panels that a task of few rows computes: codes are padded to as many
constexpr int kUnroll = 4;  // steps in a row

class PackedLowering {
 public:
  PackedLowering(Context& context, const Op& group, const Op& op)
      : context_(context),
        dims_(context.module.dims),
        group_(group),
        form_(context.module, group, op),
        lanes_(context.target().f32_lanes()),
        few_(context.target().vector_registers >= 32 ? 4 : 2),
        bits_(form_.bits),
        depth_(form_.depth),
        block_(form_.block),
        columns_(form_.columns),
        rows_(form_.rows),
        codes_(panels_of(form_.codes, depth_ * bits_ / 8)),
        scales_(panels_of(form_.scales, blocks())) {
    if (form_.zeros) zeros_ = panels_of(*form_.zeros, (blocks() * bits_ + 7) / 8);
  }

  LoweredGroup lower() {
    LoweredStep step;
    const std::optional<int64_t> rows = lapidary::value_of(rows_);
    const bool few = !rows || *rows <= few_, many = !rows || *rows > few_;
    Dim predicate = few && many ? dims_.less(rows_, dims_.constant(few_ + 1)) : nullptr;
    if (few) step.variants.push_back(few_rows(predicate));
    if (many) step.variants.push_back(many_rows());
    step.flops = form_.flops(dims_);
    LoweredGroup result;
    result.steps.push_back(std::move(step));
    return result;
  }

 private:
  // A kernel under construction, and where in it things are.
  struct Body {
    KernelBuilder& builder;
    GroupEmitter& emit;
    Buffer a, codes, scales, zeros;
  };

  // [N, width] in panels.
  ConstantId panels_of(ConstantId id, int64_t width) const {
    ConstantTable& constants = context_.module.constants;
    const int64_t unit = int64_t{kStrip} * kPanel, padded = (columns_ + unit - 1) / unit * unit;
    id = constants.transformed(id, {.kind = Transform::Kind::Reshape, .shape = {columns_, width}});
    id = constants.transformed(id, {.kind = Transform::Kind::Transpose, .axes = {1, 0}});
    id = constants.transformed(id, {.kind = Transform::Kind::Pad, .shape = {width, padded}});
    return constants.transformed(id, {.kind = Transform::Kind::PackPanels, .block = kPanel});
  }

  int64_t bytes_of_block() const { return block_ * bits_ / 8; }
  int64_t blocks() const { return form_.blocks(); }

  Body body_of(KernelBuilder& builder, GroupEmitter& emit) {
    return {builder,
            emit,
            builder.operand(form_.a),
            builder.weight(codes_),
            builder.weight(scales_),
            zeros_ ? builder.weight(*zeros_) : nullptr};
  }

  // --- what lies in the panels: of the vector that begins at `column`, a multiple of the lanes
  // -------------------------

  Expr in_panels(Expr column, Expr row, int64_t rows) const {
    Expr panel = floordiv(column, integer(kPanel)), part = mod(column, integer(kPanel));
    return add(mul(add(mul(panel, integer(rows)), row), integer(kPanel)), part);
  }
  Expr scale(const Body& body, Expr column, Expr block) const {
    return load(body.scales, in_panels(column, block, blocks()), lanes_);
  }
  Expr zero(const Body& body, Expr column, Expr block) const {
    if (!body.zeros) return real(static_cast<float>(1 << (bits_ - 1)), lanes_);
    const int64_t each = 8 / bits_;
    Expr row = floordiv(block, integer(each));
    Expr bytes = convert(load(body.zeros, in_panels(column, row, (blocks() + each - 1) / each), lanes_), DType::I32);
    if (each == 1) return convert(bytes, DType::F32);
    Expr shift = splat(convert(mul(mod(block, integer(each)), integer(bits_)), DType::I32), lanes_);
    return convert(low_bits(apply(ScalarOp::ShiftRight, {bytes, shift})), DType::F32);
  }
  Expr low_bits(Expr codes) const {
    return apply(ScalarOp::And, {codes, constant(Scalar::of_integer(DType::I32, (1 << bits_) - 1), lanes_)});
  }
  // The codes of byte `byte` as floats: of one k, or of two.
  std::vector<Expr> codes(const Body& body, Block& block, Expr column, Expr byte) const {
    Expr at = in_panels(column, byte, depth_ * bits_ / 8);
    Expr bytes = block.let("q", convert(load(body.codes, at, lanes_), DType::I32));
    if (bits_ == 8) return {convert(bytes, DType::F32)};
    Expr high = apply(ScalarOp::ShiftRight, {bytes, constant(Scalar::of_integer(DType::I32, bits_), lanes_)});
    return {block.let("q", convert(low_bits(bytes), DType::F32)), block.let("q", convert(high, DType::F32))};
  }

  // --- few rows ----------------------------------------------------------------------------------------------------

  LoweredVariant few_rows(Dim when) {
    KernelBuilder builder(context_.module, context_.target(), "packed", fmt::format("{} bits few rows", bits_));
    GroupEmitter emit(builder, group_);
    Dim strips = dims_.constant((columns_ + kStrip * kPanel - 1) / (kStrip * kPanel));
    std::vector<Expr> axes = builder.split_task({strips});
    Body body = body_of(builder, emit);
    const RowSplit split = split_rows(dims_, rows_, few_);
    Expr tiles = builder.parameter(split.tiles), height = builder.literal(split.height),
         longer = builder.parameter(split.longer);
    Expr strip = builder.body.let("strip", mul(axes[0], integer(kStrip * kPanel)));
    serial(builder.body, "tile", integer(0), tiles, 1, [&](Block& loop, Expr tile) {
      Expr rows = loop.let("rows", add(height, select(less(tile, longer), integer(1), integer(0))));
      Expr first = loop.let("row", add(mul(tile, height), min(tile, longer)));
      for_height(loop, split, rows, first, [&](Block& block, int count, Expr row) {
        const int vectors = count == 1 ? 4 : few_ / 2;
        serial(block, "part", integer(0), integer(kStrip * kPanel), int64_t{vectors} * lanes_,
               [&](Block& part, Expr offset) {
                 few_rows_tile(body, part, count, vectors, row, part.let("column", add(strip, offset)));
               });
      });
    });
    return builder.finish(strips, when);
  }

  void few_rows_tile(const Body& body, Block& block, int rows, int vectors, Expr row, Expr column) {
    const ExprType vector{DType::F32, static_cast<uint16_t>(lanes_)};
    const int count = rows * vectors, phases = 2;
    Buffer total = block.local("total", vector, count);
    auto slot = [&](Expr i, Expr j) { return add(mul(i, integer(vectors)), j); };
    auto clear = [&](Block& into, const Buffer& buffer, int size) {
      unrolled(into, "z", size, [&](Block& inner, Expr z) { inner.add(loops::store(buffer, z, real(0, lanes_))); });
    };
    auto for_all = [&](Block& into, const std::function<void(Block&, Expr, Expr)>& each) {
      unrolled(into, "i", rows, [&](Block& outer, Expr i) {
        unrolled(outer, "j", vectors, [&](Block& inner, Expr j) { each(inner, i, j); });
      });
    };
    auto column_of = [&](Expr j) { return add(column, mul(j, integer(lanes_))); };
    auto a_at = [&](Expr i, Expr k) { return add(mul(add(row, i), integer(depth_)), k); };
    clear(block, total, count);
    serial(block, "block", integer(0), integer(blocks()), 1, [&](Block& inner, Expr at) {
      Buffer part = inner.local("part", vector, count * phases);
      clear(inner, part, count * phases);
      Expr first_k = inner.let("k", mul(at, integer(block_)));
      serial(inner, "byte", integer(0), integer(bytes_of_block()), kUnroll, [&](Block& steps, Expr byte) {
        unrolled(steps, "u", kUnroll, [&](Block& step, Expr u) {
          unrolled(step, "j", vectors, [&](Block& one, Expr j) {
            Expr here = add(byte, u);
            const std::vector<Expr> q = codes(body, one, column_of(j), add(mul(at, integer(bytes_of_block())), here));
            const int each = static_cast<int>(q.size());
            for (int of = 0; of < each; ++of) {
              Expr phase = each == 2 ? integer(of) : mod(u, integer(phases));
              Expr k = add(first_k, add(mul(here, integer(each)), integer(of)));
              unrolled(one, "i", rows, [&](Block& product, Expr i) {
                Expr place = add(mul(slot(i, j), integer(phases)), phase);
                product.add(loops::store(
                    part, place, fma(splat(load(body.a, a_at(i, k)), lanes_), q[of], load(part, place, lanes_))));
              });
            }
          });
        });
      });
      Buffer sums = inner.local("sum", {DType::F32, 1}, rows);  // Σ a
      unrolled(inner, "i", rows, [&](Block& one, Expr i) {
        Expr sum = load(body.a, a_at(i, first_k), lanes_);
        for (int64_t k = lanes_; k < block_; k += lanes_)
          sum = add(sum, load(body.a, a_at(i, add(first_k, integer(k))), lanes_));
        one.add(loops::store(sums, i, reduce(ScalarOp::Add, sum)));
      });
      for_all(inner, [&](Block& one, Expr i, Expr j) {
        Expr place = mul(slot(i, j), integer(phases));
        Expr sum = add(load(part, place, lanes_), load(part, add(place, integer(1)), lanes_));
        sum = sub(sum, mul(zero(body, column_of(j), at), splat(load(sums, i), lanes_)));
        one.add(
            loops::store(total, slot(i, j), fma(scale(body, column_of(j), at), sum, load(total, slot(i, j), lanes_))));
      });
    });
    for_all(block, [&](Block& one, Expr i, Expr j) {
      store(body, one, add(row, i), column_of(j), load(total, slot(i, j), lanes_));
    });
  }

  // --- many rows -----------------------------------------------------------------------------------------------------

  LoweredVariant many_rows() {
    const Target& target = context_.target();
    const int panels = lanes_ < kPanel ? 1 : 2, tallest = max_rows(target, panels);
    KernelBuilder builder(context_.module, target, "packed",
                          fmt::format("{} bits tile={}x{}", bits_, tallest, panels * kPanel));
    GroupEmitter emit(builder, group_);
    Dim strips = dims_.constant((columns_ + panels * kPanel - 1) / (panels * kPanel));
    std::vector<Expr> axes = builder.split_task({strips});
    Body body = body_of(builder, emit);
    Buffer stage = builder.stage("panel", DType::F32, dims_.constant(depth_ * panels * kPanel));
    Buffer epilogue = epilogue_stage(builder, group_, form_.op, int64_t{tallest} * panels * kPanel);
    Expr strip = builder.body.let("strip", mul(axes[0], integer(panels * kPanel)));
    Expr stride = integer(depth_ * kPanel);
    dequantise(body, stage, strip, panels * kPanel / lanes_, stride);
    const RowSplit split = split_rows(dims_, rows_, tallest);
    Expr height = builder.literal(split.height), longer = builder.parameter(split.longer);
    serial(builder.body, "tile", integer(0), builder.parameter(split.tiles), 1, [&](Block& loop, Expr tile) {
      Expr rows = loop.let("rows", add(height, select(less(tile, longer), integer(1), integer(0))));
      Expr first = loop.let("row", add(mul(tile, height), min(tile, longer)));
      for_height(loop, split, rows, first, [&](Block& block, int count, Expr row) {
        TileShape shape{.rows = count, .panels = panels, .lanes = lanes_};
        shape.phases = phases_of(target, shape);
        RegisterTile registers(block, shape);
        Expr base = block.let("a", mul(row, integer(depth_)));
        registers.multiply(
            block,
            {body.a, stage, [=, this](Expr i, Expr k) { return add(base, add(mul(i, integer(depth_)), k)); },
             [=, this](Expr j, Expr k) { return panel_element(j, k, lanes_, stride); }},
            integer(depth_), kUnroll);
        registers.join_phases(block);
        registers.for_each(
            block,
            [&](Block& inner, Expr i, Expr j, Expr value) {
              store(body, inner, add(row, i), add(strip, mul(j, integer(lanes_))), value);
            },
            epilogue);
      });
    });
    return builder.finish(strips);
  }

  // stage[panel][k][16] = (q - z) · s
  void dequantise(const Body& body, const Buffer& stage, Expr strip, int vectors, Expr stride) {
    serial(body.builder.body, "block", integer(0), integer(blocks()), 1, [&](Block& block, Expr at) {
      unrolled(block, "j", vectors, [&](Block& vector, Expr j) {
        Expr column = add(strip, mul(j, integer(lanes_)));
        Expr s = vector.let("s", scale(body, column, at));
        Expr shift = vector.let("z", sub(real(0, lanes_), mul(zero(body, column, at), s)));
        serial(vector, "byte", integer(0), integer(bytes_of_block()), 1, [&](Block& one, Expr byte) {
          const std::vector<Expr> q = codes(body, one, column, add(mul(at, integer(bytes_of_block())), byte));
          for (size_t of = 0; of < q.size(); ++of) {
            Expr k = add(mul(at, integer(block_)),
                         add(mul(byte, integer(static_cast<int64_t>(q.size()))), integer(static_cast<int64_t>(of))));
            one.add(loops::store(stage, panel_element(j, k, lanes_, stride), fma(q[of], s, shift)));
          }
        });
      });
    });
  }

  void store(const Body& body, Block& block, Expr row, Expr column, Expr value) {
    GroupEmitter::Scope scope(body.emit, block);
    const bool ragged = columns_ % (int64_t{kStrip} * kPanel) != 0;
    Expr left = sub(integer(columns_), column);
    Block inner;
    {
      GroupEmitter::Scope inside(body.emit, inner);
      Coords coords = form_.result_at(body.emit, row, along(column), lanes_);
      coords.mask = ragged ? first_lanes(left, lanes_) : nullptr;
      body.emit.store_results(form_.op.result(), coords, value);
    }
    if (!ragged)
      block.add(loops::block(inner.take()));
    else
      block.add(if_then(less(integer(0), left), inner.take()));
  }

  Context& context_;
  DimPool& dims_;
  const Op& group_;
  const PackedForm form_;
  const int lanes_, few_, bits_;  // few: rows whose sums stay in registers beside the codes
  const int64_t depth_, block_, columns_;
  const Dim rows_;
  const ConstantId codes_, scales_;
  std::optional<ConstantId> zeros_;
};

}  // namespace

LoweredGroup lower_packed(Context& context, const Op& group) {
  return PackedLowering(context, group, anchor_of(group)).lower();
}

}  // namespace lapidary::lowering
