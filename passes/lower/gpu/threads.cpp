#include "passes/lower/gpu/threads.h"

namespace lapidary::lowering::gpu {

using namespace loops;

void for_each_thread(KernelBuilder& builder, const std::function<void(Block&, const Expr&)>& body) {
  const Var thread = make_var("thread", {}, 0, builder.threads - 1);
  Block own;
  body(own, variable(thread));
  builder.body.add(for_loop(thread, integer(0), integer(builder.threads), 1, LoopKind::Thread, own.take()));
}

void for_all_threads(KernelBuilder& builder, const Var& var, const Expr& begin, const Expr& end, int64_t step,
                     const std::function<void()>& body) {
  Block outer = std::move(builder.body);
  builder.body = Block();
  body();
  Block inner = std::move(builder.body);
  builder.body = std::move(outer);
  builder.body.add(for_loop(var, begin, end, step, LoopKind::Serial, inner.take()));
}

void for_each_held(KernelBuilder& builder, const Buffer& fragment, int step,
                   const std::function<void(Block&, const Expr&, const Expr&)>& body) {
  for_each_held(builder, fragment, fragment->size, step, body);
}

void for_each_held(KernelBuilder& builder, const Buffer& /*fragment*/, int64_t count, int step,
                   const std::function<void(Block&, const Expr&, const Expr&)>& body) {
  for_each_thread(builder, [&](Block& own, const Expr& thread) {
    const Var element = make_var("e", {}, 0, count - 1, step);
    Block inner;
    body(inner, thread, variable(element));
    own.add(for_loop(element, integer(0), integer(count), step, LoopKind::Unrolled, inner.take()));
  });
}

Expr ThreadLines::part_of(const Expr& thread) const {
  return apart == 1 ? mod(thread, integer(each)) : floordiv(thread, integer(apart));
}

Expr ThreadLines::before(const Expr& thread, int parts) const { return sub(thread, integer(int64_t{parts} * apart)); }

int scan_threads(KernelBuilder& builder, const std::array<Buffer, 2>& totals, const ThreadLines& lines,
                 const std::function<Expr(const Expr&, const Expr&)>& combined) {
  int current = 0;
  for (int shift = 1; shift < lines.each; shift *= 2, current ^= 1) {
    for_each_thread(builder, [&](Block& own, const Expr& thread) {
      const Expr total = own.let("total", load(totals[current], thread));
      const Expr before = own.let("before", load(totals[current], max(lines.before(thread, shift), integer(0))));
      const Expr is_first = less(lines.part_of(thread), integer(shift));
      own.add(store(totals[current ^ 1], thread, select(is_first, total, combined(before, total))));
    });
    builder.body.add(barrier());
  }
  return current;
}

}  // namespace lapidary::lowering::gpu
