// Text of kernels: printing and reading are inverse, and sharing keeps both short.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "ir/error.h"
#include "ir/loops_interpreter.h"
#include "ir/program.h"
#include "ir/text.h"

namespace lapidary::loops {
namespace {

void expect_round_trip(const std::string& text) { EXPECT_EQ(print_kernel(parse_kernel(text)), text); }

std::string error_of(const std::string& text) {
  try {
    parse_kernel(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.fault, Fault::Input);
    return error.what();
  }
  return "no error";
}

Kernel relu() {
  Kernel kernel;
  kernel.family = "elementwise";
  kernel.schedule = "lanes=16";
  Buffer x = make_global("x", DType::F32, false), y = make_global("y", DType::F32, true);
  Var n = make_var("n", {}, 0), task = make_var("task", {}, 0), m = make_var("m", {DType::Bool, 16});
  Expr at = mul(variable(task), integer(16));
  Expr value = max(load(x, at, 16, variable(m)), real(0, 16));
  Stmt loop = for_loop(task, integer(0), floordiv(add(variable(n), integer(15)), integer(16)), 1, LoopKind::Task,
                       {let(m, first_lanes(sub(variable(n), at), 16)), store(y, at, value, variable(m))});
  kernel.buffers = {x, y};
  kernel.integers = {n};
  kernel.body = block({loop});
  return kernel;
}

TEST(LoopsText, KernelReadsLikeTheGrammarSays) {
  EXPECT_EQ(print_kernel(relu()),
            R"(kernel "elementwise" schedule="lanes=16" (%x: global f32, %y: global f32 written, n: i64 range [0, ..]) {
  for task task in [0, (n + 15) / 16) {
    let m: boolx16 = ramp(i32 0, i32 1, 16) < splat(i32(max(min(n - task * 16, 16), 0)), 16)
    store %y[task * 16 : 16 if m] = max(%x[task * 16 : 16 if m], f32x16 0.0)
  }
}
)");
}

TEST(LoopsText, BuiltKernelsComeBack) { expect_round_trip(print_kernel(relu())); }

TEST(LoopsText, EveryFormComesBack) {
  expect_round_trip(
      R"(kernel "all" (%x: global f32, %h: global f16, %y: global f32 written reads_own_writes, %s: stage i8, n: i64 range [1, ..] multiple 16, k: i64) {
  let base: i64 range [.., 100] multiple 2 = n * k - 3
  for task t in [0, n) {
    local %acc: f32x16[12] {
      for unrolled r in [0, 12) {
        store %acc[r] = f32x16 -0.0
      }
      for i in [0, n) step 16 range [0, 64] multiple 4 {
        let v: f32x16 = f32(%h[i : 16])
        let u: f32x8 = shuffle(v, v, [0, 2, -1, 3, 4, 31, 6, 7])
        if (i + 1) * k < n / 3 {
          store %acc[0] = fma(v, splat(%x[i], 16), %acc[0])
        } else {
          store %s[(i - (n + k)) mod 7] = i8(reduce_add(u))
        }
        {
          let i_1: f32 = 1.5
          store %y[t : 16 if ramp(i32 0, i32 1, 16) < i32x16 5] = select(boolx16 true, v, %x[ramp(i, 1, 16)])
        }
      }
      store %y[0] = max(inf, -inf) + nan - 1e+20 * -0.0
    }
  }
}
)");
}

// Kernels of random expressions: the text comes back, and what it says computes the same.
TEST(LoopsText, RandomKernelsComeBackAndComputeTheSame) {
  std::mt19937_64 random(2);
  for (int round = 0; round < 300; round++) {
    Buffer y = make_global("y", DType::I64, true), z = make_global("z", DType::F32, true),
           x = make_global("x", DType::F32, false);
    Var task = make_var("task", {}, 0, 63), n = make_var("n", {}, 1, 100);
    std::vector<Expr> integers = {variable(task), variable(n), integer(3), integer(16)};
    std::vector<Expr> reals = {load(x, variable(task)), real(0.5f), real(-2)};
    auto pick = [&](const std::vector<Expr>& pool) { return pool[random() % pool.size()]; };
    for (int step = 0; step < 25; step++) {
      Expr a = pick(integers), b = pick(integers), f = pick(reals), g = pick(reals);
      switch (random() % 8) {
        case 0:
          integers.push_back(add(a, b));
          break;
        case 1:
          integers.push_back(sub(a, b));
          break;
        case 2:
          integers.push_back(max(min(mul(a, b), integer(1000)), integer(-1000)));
          break;
        case 3:
          integers.push_back(floordiv(a, integer(static_cast<int64_t>(random() % 7 + 1))));
          break;
        case 4:
          integers.push_back(mod(a, integer(static_cast<int64_t>(random() % 20 + 1))));
          break;
        case 5:
          integers.push_back(select(less(a, b), b, convert(f, DType::I64)));
          break;
        case 6:
          reals.push_back(fma(f, g, pick(reals)));
          break;
        case 7:
          reals.push_back(max(sub(f, g), convert(a, DType::F32)));
          break;
      }
    }
    Expr i = variable(task);
    Stmt loop = for_loop(task, integer(0), integer(64), 1, LoopKind::Task,
                         {store(y, i, integers.back()), store(z, i, reals.back())});
    Kernel kernel{"random", "", {x, y, z}, {n}, block({loop})};
    std::string text = print_kernel(kernel);
    Kernel again = parse_kernel(text);
    ASSERT_EQ(print_kernel(again), text);
    std::vector<float> in(64), z1(64), z2(64);
    for (size_t k = 0; k < in.size(); k++) in[k] = static_cast<float>(k) * 0.25f - 5;
    std::vector<int64_t> y1(64), y2(64);
    interpret(kernel, {{in.data(), 64}, {y1.data(), 64}, {z1.data(), 64}}, {17}, 0, 64);
    interpret(again, {{in.data(), 64}, {y2.data(), 64}, {z2.data(), 64}}, {17}, 0, 64);
    ASSERT_EQ(y1, y2) << text;
    ASSERT_EQ(std::memcmp(z1.data(), z2.data(), 64 * sizeof(float)), 0) << text;
  }
}

TEST(LoopsText, NamesAreUniqueWithinTheirScope) {
  Buffer y = make_global("y", DType::I64, true);
  Var outer = make_var("i", {}, 0, 3), inner = make_var("i", {}, 0, 3), reserved = make_var("for", {}, 0, 3);
  auto loop = [](Var var, std::vector<Stmt> body) {
    return for_loop(var, integer(0), integer(4), 1, LoopKind::Serial, body);
  };
  Stmt both = loop(outer, {loop(inner, {store(y, variable(outer), variable(inner))})});
  Kernel kernel{"names", "", {y}, {}, block({both, loop(inner, {}), loop(reserved, {})})};
  std::string text = print_kernel(kernel);
  EXPECT_NE(text.find("for i_1 in [0, 4) {\n      store %y[i] = i_1"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  for i in [0, 4) {\n  }"), std::string::npos) << text;
  expect_round_trip(text);
}

// Thirty squarings: a tree of a billion nodes, a DAG of thirty.
TEST(LoopsText, SharedNodesAreNamedOnce) {
  Buffer x = make_global("x", DType::F32, false), y = make_global("y", DType::F32, true);
  Expr e = load(x, integer(0));
  for (int i = 0; i < 30; i++) e = mul(e, e);
  Kernel kernel{"shared", "", {x, y}, {}, block({store(y, integer(0), e)})};
  std::string text = print_kernel(kernel);
  EXPECT_LT(text.size(), 2000u);
  EXPECT_NE(text.find("def $1 = $0 * $0"), std::string::npos) << text;
  expect_round_trip(text);
  EXPECT_LT(canonical_text(kernel).size(), 2000u);
}

TEST(LoopsText, CanonicalTextForgetsNamesAndReports) {
  Kernel a = relu(),
         b = parse_kernel(R"(kernel "other" (%in0: global f32, %out1: global f32 written, n0: i64 range [0, ..]) {
  for task task in [0, (n0 + 15) / 16) {
  }
})");
  EXPECT_NE(canonical_text(a), canonical_text(b));
  Kernel renamed = parse_kernel(R"(kernel "r" (%p: global f32, %q: global f32 written, size: i64 range [0, ..]) {
  for task step_ in [0, (size + 15) / 16) {
    let keep: boolx16 = ramp(i32 0, i32 1, 16) < splat(i32(max(min(size - step_ * 16, 16), 0)), 16)
    store %q[step_ * 16 : 16 if keep] = max(%p[step_ * 16 : 16 if keep], f32x16 0.0)
  }
})");
  EXPECT_EQ(canonical_text(a), canonical_text(renamed)) << print_kernel(a) << print_kernel(renamed);
}

TEST(LoopsText, EqualKernelsAreStoredOnce) {
  Program program;
  Kernel other = relu();
  other.schedule = "another name for the same";
  EXPECT_EQ(add_kernel(program, relu()), 0u);
  EXPECT_EQ(add_kernel(program, other), 0u);
  other.body = block({});
  EXPECT_EQ(add_kernel(program, other), 1u);
  EXPECT_EQ(program.kernels.size(), 2u);
}

TEST(LoopsText, ErrorsNameThePlace) {
  EXPECT_EQ(error_of("kernel () { store %y[0] = 1 }"), "line 1, column 20: no buffer 'y' here");
  EXPECT_EQ(error_of("kernel () {\n  let a: i64 = b }"), "line 2, column 16: no variable 'b' here");
  EXPECT_EQ(error_of("kernel () { let a: f32 = 1 }"), "line 1, column 24: 'a' and its value differ in type");
  EXPECT_EQ(error_of("kernel () { let a: f32 = 1.0 + 1 }"), "line 1, column 30: add: operand 1 is i64, another f32");
  EXPECT_EQ(error_of("kernel () { let a: f32 = frob(1.0) }"), "line 1, column 26: no operation 'frob'");
  EXPECT_EQ(error_of("kernel () { let a: f32 = exp(1.0, 2.0) }"), "line 1, column 26: exp takes 1 operands");
  EXPECT_EQ(error_of("kernel () { for i in [0, 4) step 0 { } }"), "line 1, column 17: the step is not positive");
  EXPECT_EQ(error_of("kernel () { let a: f32 = $0 }"), "line 1, column 26: not defined here");
  EXPECT_EQ(error_of("kernel () { jump }"), "line 1, column 13: expected a statement, found 'jump'");
  EXPECT_EQ(error_of("kernel () { } }"), "line 1, column 15: expected the end, found '}'");
  EXPECT_NE(error_of("kernel () { let a: i64 = " + std::string(100000, '(')), "no error");
  EXPECT_NE(error_of("kernel () " + std::string(100000, '{')), "no error");
}

}  // namespace
}  // namespace lapidary::loops
