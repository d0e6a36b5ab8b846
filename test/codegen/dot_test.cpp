// Sums of products of bytes, compiled with and without the instruction for them, against the interpreter: the largest
// products too, which 16 bits do not hold.
#include <gtest/gtest.h>

#include "test/codegen/run_kernel.h"

namespace lapidary::testing {
namespace {

using namespace loops;

// c[i] = dot(a[4·i …], b[4·lanes·i …], c[i]), or of as many of a as of b
Kernel dot_kernel(int lanes, DType left, DType right, bool own) {
  const Buffer a = make_global("a", left, false), b = make_global("b", right, false);
  const Buffer c = make_global("c", DType::I32, true, true);
  const Var task = make_var("task", {}, 0, 1 << 20);
  const Expr i = variable(task), at = mul(i, integer(lanes));
  const Expr numbers = load(a, mul(own ? at : i, integer(4)), own ? 4 * lanes : 4);
  const Expr sum = dot(numbers, load(b, mul(at, integer(4)), 4 * lanes), load(c, at, lanes));
  Kernel kernel;
  kernel.family = "dot";
  kernel.buffers = {a, b, c};
  kernel.body = block({for_loop(task, integer(0), integer(1 << 20), 1, LoopKind::Task, {store(c, at, sum)})});
  return kernel;
}

Array bytes(DType dtype, int64_t count, int seed) {
  constexpr int kEdges[] = {0, 255, 128, 127, 1, 200, 77};
  std::vector<Scalar> values;
  for (int64_t i = 0; i < count; i++) {
    const int64_t edge = kEdges[static_cast<size_t>(i / seed + i) % std::size(kEdges)];
    values.push_back(convert(Scalar::of_integer(DType::I64, edge), dtype));
  }
  return Array(dtype, values);
}

std::vector<std::string> targets() {
  std::vector<std::string> names = runnable_targets();
  if (__builtin_cpu_supports("avx512vnni") && names.size() > 1) names.push_back("icelake-server");
  return names;
}

TEST(Dot, GivesTheInterpretersSums) {
  constexpr int64_t kTasks = 40;
  for (const std::string& name : targets()) {
    const Target target = codegen::resolve_target(name);
    for (int lanes : {4, 8, 16, -4, -8, -16}) {  // negative: the left one is signed
      const DType left = lanes > 0 ? DType::U8 : DType::I8, right = lanes > 0 ? DType::I8 : DType::U8;
      lanes = std::abs(lanes);
      if (lanes > target.f32_lanes()) continue;
      for (bool own : {false, true}) {
        const Kernel kernel = dot_kernel(lanes, left, right, own);
        std::vector<Array> buffers = {bytes(left, 4 * lanes * kTasks, 3), bytes(right, 4 * lanes * kTasks, 5),
                                      Array(DType::I32, lanes * kTasks)};
        const auto expected = run_interpreted(kernel, buffers, {}, kTasks);
        EXPECT_EQ(run_compiled(kernel, buffers, {}, kTasks, target)[2].bytes, expected[2].bytes)
            << name << ", " << lanes << " lanes" << (own ? ", numbers of its own for each" : "");
      }
    }
  }
}

}  // namespace
}  // namespace lapidary::testing
