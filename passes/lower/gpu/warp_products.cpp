#include "passes/lower/gpu/warp_products.h"

#include "passes/lower/coords.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int64_t kMostUnrolled = 8;  // packets of a lane

// Calls body(block, k) for each packet of the lane.
void along_axis(Block& own, const Expr& lane, int64_t extent, int packet,
                const std::function<void(Block&, const Expr&)>& body) {
  const int64_t step = int64_t{kWarp} * packet;
  const bool whole = extent % step == 0 && extent / step <= kMostUnrolled;
  const Var var = whole ? make_var("c", {}, 0, extent / step - 1) : make_var("k", {}, 0, extent - 1, packet);
  const Expr first = mul(lane, integer(packet));
  Block inner;
  body(inner, whole ? inner.let("k", add(first, mul(variable(var), integer(step)))) : variable(var));
  own.add(whole ? for_loop(var, integer(0), integer(extent / step), 1, LoopKind::Unrolled, inner.take())
                : for_loop(var, first, integer(extent), step, LoopKind::Serial, inner.take()));
}

}  // namespace

void sum_products(Block& own, const Buffer& sums, const Expr& lane, const WarpProducts& of) {
  const int64_t count = of.lines * of.rows;
  const Buffer parts = own.local("parts", {DType::F32, static_cast<uint16_t>(of.packet)}, count);
  for (int64_t i = 0; i < count; ++i) own.add(store(parts, integer(i), real(0, of.packet)));
  along_axis(own, lane, of.extent, of.packet, [&](Block& block, const Expr& k) {
    std::vector<Expr> vectors;
    for (int64_t row = 0; row < of.rows; ++row) vectors.push_back(of.vector(block, k, row));
    for (int line = 0; line < of.lines; ++line) {
      const Expr weight = splat_to(of.line(block, k, line), of.packet);
      for (int64_t row = 0; row < of.rows; ++row) {
        const Expr place = integer(line * of.rows + row);
        block.add(store(parts, place, loops::fma(weight, vectors[static_cast<size_t>(row)], load(parts, place))));
      }
    }
  });
  for (int64_t i = 0; i < count; ++i) {
    const Expr part = load(parts, integer(i));
    own.add(store(sums, integer(i), of.packet > 1 ? reduce(ScalarOp::Add, part) : part));
  }
}

Expr of_lane(const Buffer& fragment, int64_t first, int64_t count, const Expr& lane) {
  Expr value = load(fragment, integer(first));
  for (int64_t i = 1; i < count; ++i)
    value = select(equal(lane, integer(i)), load(fragment, integer(first + i)), value);
  return value;
}

}  // namespace lapidary::lowering::gpu
