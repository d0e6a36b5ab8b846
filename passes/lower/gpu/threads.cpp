#include "passes/lower/gpu/threads.h"

namespace lapidary::lowering::gpu {

using namespace loops;

void for_each_thread(KernelBuilder& builder, const std::function<void(Block&, const Expr&)>& body) {
  const Var thread = make_var("thread", {}, 0, builder.threads - 1);
  Block own;
  body(own, variable(thread));
  builder.body.add(for_loop(thread, integer(0), integer(builder.threads), 1, LoopKind::Thread, own.take()));
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

}  // namespace lapidary::lowering::gpu
