// One test for each rule of the kernels' contract.
#include <gtest/gtest.h>

#include "ir/text.h"
#include "ir/verifier.h"

namespace lapidary::loops {
namespace {

// The first violation of a kernel whose task loop holds `body`.
std::string first(const Kernel& kernel) {
  auto violations = verify(kernel);
  return violations.empty() ? "" : violations[0].substr(violations[0].find("': ") + 3);
}
std::string in_task(const std::string& body) {
  return first(parse_kernel(
      "kernel \"k\" (%x: global f32, %y: global f32 written, %s: stage f32, n: i64) { for task t in [0, n) {" + body +
      "} }"));
}
std::string top(const std::string& body) {
  return first(parse_kernel("kernel \"k\" (%y: global f32 written, n: i64) {" + body + "}"));
}

struct Parts {
  Buffer y = make_global("y", DType::F32, true);
  Var n = make_var("n", {}, 0), task = make_var("task", {}, 0);
  Kernel kernel(std::vector<Stmt> body) {
    return {"k", "", {y}, {n}, block({for_loop(task, integer(0), variable(n), 1, LoopKind::Task, std::move(body))})};
  }
};

TEST(LoopsVerifier, AcceptsAWellFormedKernel) {
  EXPECT_EQ(in_task(R"(local %a: f32x16[4] {
    for unrolled r in [0, 4) { store %a[r] = f32x16 0.0 }
    if t < n - 1 { store %a[t] = f32x16 1.0 }
    let v: f32 = reduce_add(%a[0])
    store %s[0] = v
    store %y[t] = %s[0] + %x[t] })"),
            "");
}

TEST(LoopsVerifier, OneTaskLoopAfterLets) {
  EXPECT_EQ(top(""), "0 task loops at the top");
  EXPECT_EQ(top("for task t in [0, n) {} for task u in [0, n) {}"), "2 task loops at the top");
  EXPECT_EQ(top("for task t in [0, n) {} let a: i64 = n"),
            "beside the task loop there is more than Lets in front of it");
  EXPECT_EQ(top("let a: i64 = n for task t in [0, a) {}"), "");
  EXPECT_EQ(top("for task t in [1, n) {}"), "the task loop 't' does not count from 0 by 1");
  EXPECT_EQ(in_task("for task u in [0, n) { store %y[u] = 1.0 }"), "task loop 'u' inside another statement");
}

TEST(LoopsVerifier, Parameters) {
  Parts p;
  Kernel local = p.kernel({});
  local.buffers.push_back(make_local("a", {DType::F32, 1}, 4));
  EXPECT_EQ(first(local), "parameter %a is local");
  Kernel twice = p.kernel({});
  twice.buffers.push_back(p.y);
  EXPECT_EQ(first(twice), "%y is defined again within its scope");
  Kernel real = p.kernel({});
  real.integers.push_back(make_var("f", {DType::F32, 1}));
  EXPECT_EQ(first(real), "parameter 'f' is not an i64");
}

TEST(LoopsVerifier, VariablesStayInScope) {
  Parts p;
  Var i = make_var("i", {}, 0, 3);
  auto loop = [&](std::vector<Stmt> body) {
    return for_loop(i, integer(0), integer(4), 1, LoopKind::Serial, std::move(body));
  };
  Stmt uses = store(p.y, variable(i), real(1));
  EXPECT_EQ(first(p.kernel({loop({uses}), loop({uses})})), "");
  EXPECT_EQ(first(p.kernel({loop({}), loop({uses}), uses})), "'i' is used outside its scope");
  EXPECT_EQ(first(p.kernel({loop({loop({uses})})})), "'i' is defined again within its scope");
}

TEST(LoopsVerifier, BuffersStayInScope) {
  Parts p;
  Buffer a = make_local("a", {DType::F32, 1}, 4), x = make_global("x", DType::F32, false);
  EXPECT_EQ(first(p.kernel({alloc(a, {}), store(a, integer(0), real(1))})), "%a is used outside its scope");
  EXPECT_EQ(first(p.kernel({store(p.y, integer(0), load(x, integer(0)))})), "%x is used outside its scope");
}

TEST(LoopsVerifier, LoopsAgreeWithTheirVariables) {
  EXPECT_EQ(in_task("for unrolled r in [0, n) { store %y[r] = 1.0 }"),
            "unrolled loop 'r' has bounds known only at run time");
  EXPECT_EQ(in_task("for unrolled r in [0, 5000) { store %y[r] = 1.0 }"), "unrolled loop 'r' has 5000 rounds");
  EXPECT_EQ(in_task("for r in [0, 8) range [0, 3] { store %y[r] = 1.0 }"),
            "loop 'r' runs from 0 to 7, its variable claims [0, 3]");
  EXPECT_EQ(in_task("for r in [0, 8) step 4 range [0, 4] multiple 4 { store %y[r] = 1.0 }"), "");
  EXPECT_EQ(in_task("for r in [0, 8) step 2 multiple 4 { store %y[r] = 1.0 }"),
            "loop 'r' counts from 0 by 2, its variable claims a multiple of 4");
}

TEST(LoopsVerifier, LetsOfDataClaimNoIndex) {
  std::string head =
      "kernel \"k\" (%i: global i64, %y: global f32 written, n: i64) { for task t in [0, n) { let a: i64";
  EXPECT_EQ(first(parse_kernel(head + " range [.., ..] = %i[t] } }")),
            "'a' holds data but claims the interval of an index");
  EXPECT_EQ(first(parse_kernel(head + " = %i[t] } }")), "");
}

TEST(LoopsVerifier, StoresGoWhereTheyMay) {
  EXPECT_EQ(in_task("store %x[t] = 1.0"), "store to %x, which is not written");
  EXPECT_EQ(in_task("store %y[t] = %y[t] + 1.0"), "%y is loaded and stored, but not marked reads_own_writes");
}

TEST(LoopsVerifier, LocalsHaveRoomForTheirAccesses) {
  EXPECT_EQ(in_task("local %a: f32[1000000] { }"), "local %a has 1000000 elements");
  EXPECT_EQ(in_task("local %a: f32[4] { for r in [0, 5) { store %a[r] = 1.0 } }"),
            "store to %a of 4 elements at [0, 4]");
  EXPECT_EQ(in_task("local %a: f32[20] { for r in [0, 2) { store %a[r * 4 + 1 : 16] = f32x16 1.0 } }"),
            "store to %a of 20 elements at [1, 5]");
  EXPECT_EQ(in_task("local %a: f32[4] { store %y[t] = %a[3 - 4] }"), "load of %a of 4 elements at [-1, -1]");
  EXPECT_EQ(in_task("local %a: f32[4] { for r in [0, 5) { if r < 4 { store %a[r] = 1.0 } } }"), "");
}

}  // namespace
}  // namespace lapidary::loops
