// The guards themselves: kernels that are wrong by one element are caught, and what is right is left alone.
#include "test/kernels/guarded_run.h"

#include <gtest/gtest.h>

#include "ir/error.h"
#include "ir/text.h"

namespace lapidary::test {
namespace {

// x f32[N] → y f32[N] by way of an arena buffer of N + 1 elements: a copy by `first`, then one by `second`.
struct TwoCopies {
  Module module;
  Program program;

  TwoCopies(const std::string& first, const std::string& second) {
    program.module = &module;
    DimPool& dims = module.dims;
    const Dim n = dims.symbol("N");
    EntryPoint run;
    run.inputs = {{"x", DType::F32, {n}}};
    run.outputs = {{"y", DType::F32, {n}}};
    const Dim bytes = dims.mul(dims.constant(4), dims.add(n, dims.constant(1)));
    run.arena = {{bytes, dims.constant(0), 0, 1}};
    run.arena_bytes = dims.mul(dims.constant(64), dims.ceildiv(bytes, dims.constant(64)));
    const BufferRef x{BufferRef::Base::Input, 0}, t{BufferRef::Base::Arena, 0}, y{BufferRef::Base::Output, 0};
    run.steps = {step(first, {x, t}, n), step(second, {t, y}, n)};
    program.entries.push_back(std::move(run));
  }

  Step step(const std::string& body, std::vector<BufferRef> buffers, Dim n) {
    const std::string text =
        "kernel \"copy\" (%a: global f32, %b: global f32 written, n: i64 range [0, ..]) {\n  for task t in [0, n) "
        "range [0, ..] {\n    " +
        body + "\n  }\n}\n";
    Step made;
    Variant variant;
    variant.kernel = add_kernel(program, parse_kernel(text));
    variant.tasks = n;
    variant.integers = {n};
    made.variants = {variant};
    made.buffers = std::move(buffers);
    return made;
  }
};

constexpr const char* kCopy = "store %b[t] = %a[t]";

// What is wrong, or "" when y is x.
std::string outcome(TwoCopies& copies, Placement placement) {
  CompiledKernels kernels;
  const size_t number = kernels.add(copies.program);
  kernels.compile(codegen::resolve_target("x86-64-v3"));
  const GuardedProgram guarded(
      copies.program, [&](uint32_t index) { return kernels.kernel(number, index); }, placement);
  Tensor x = Tensor::zeros(DType::F32, {10});
  for (size_t i = 0; i < 10; ++i) x.numbers[i] = static_cast<double>(i);
  try {
    const std::vector<Tensor> results = guarded.run(std::vector<Tensor>{x});
    return results[0].numbers == x.numbers ? "" : "other numbers";
  } catch (const Error& error) { return error.what(); }
}

std::string outcome(const std::string& first, const std::string& second, Placement placement) {
  TwoCopies copies(first, second);
  return outcome(copies, placement);
}

constexpr Placement kEnds = Placement::EndsAtGuard, kBegins = Placement::BeginsAfterGuard;

bool tells(const std::string& outcome, const std::string& text) { return outcome.find(text) != std::string::npos; }

TEST(Guards, LetARightProgramPass) {
  for (Placement placement : {kEnds, kBegins}) EXPECT_EQ(outcome(kCopy, kCopy, placement), "");
}

TEST(Guards, CatchAReadBehindTheEnd) {
  EXPECT_TRUE(tells(outcome("store %b[t] = %a[t + 1]", kCopy, kEnds),
                    "step 0 (copy ): touched byte 40 of input 'a', which has 40"));
}

TEST(Guards, CatchAReadBeforeTheBeginning) {
  EXPECT_TRUE(
      tells(outcome("store %b[t] = %a[t - 1]", kCopy, kBegins), "step 0 (copy ): touched byte -4 of input 'a'"));
}

TEST(Guards, CatchAWriteBehindTheEnd) {
  EXPECT_TRUE(tells(outcome(kCopy, "store %b[t + 1] = %a[t]", kEnds), "step 1 (copy ): touched byte 40 of output 'b'"));
  EXPECT_TRUE(tells(outcome(kCopy, "store %b[t + 1] = %a[t]", kBegins), "memory around output 0 was written"));
}

TEST(Guards, CatchAReadOfWhatNobodyWrote) {
  EXPECT_EQ(outcome(kCopy, "store %b[t] = %a[t + 1]", kEnds), "other numbers");
}

TEST(Guards, CatchTheUseOfABufferBeyondItsLife) {
  TwoCopies copies(kCopy, kCopy);
  copies.program.entries[0].arena[0].last_step = 0;
  EXPECT_TRUE(tells(outcome(copies, kEnds), "step 1 (copy ): touched byte 24 of arena buffer 'a'"));
}

TEST(Guards, CatchAWriteToAnInput) {
  TwoCopies copies(kCopy, kCopy);
  copies.program.entries[0].steps[0].buffers[1] = {BufferRef::Base::Input, 0};
  EXPECT_TRUE(tells(outcome(copies, kEnds), "touched byte 24 of input 'b'"));
}

TEST(Guards, CatchTasksThatNeedTheOnesBefore) {
  EXPECT_EQ(outcome("store %b[t + 1] = %a[t]", "store %b[t] = %a[t + 1]", kEnds), "");
  const std::string running = "store %b[t] = %a[t] + (%b[t - 1 if 0 < t] - %a[t - 1 if 0 < t])";
  EXPECT_EQ(outcome(running, kCopy, kBegins), "");
  EXPECT_NE(outcome(running, kCopy, kEnds), "");
}

}  // namespace
}  // namespace lapidary::test
