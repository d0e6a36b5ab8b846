// The runtime on hand-made tables: right numbers for any team, and the right status and message for wrong use.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <thread>

#include "test/runtime/hand_model.h"

namespace lapidary::test {
namespace {

struct Instance {
  lpd_instance* p = nullptr;
  ~Instance() { lpd_destroy(p); }
};

lpd_options options(int threads) {
  lpd_options o{};
  o.size = sizeof o;
  o.threads = threads;
  return o;
}

std::vector<float> ramp(int64_t rows, float scale) {
  std::vector<float> data(rows * 3);
  for (size_t i = 0; i < data.size(); ++i) data[i] = scale * static_cast<float>(i);
  return data;
}

void bind_ramps(lpd_instance* instance, std::vector<float>& a, std::vector<float>& b) {
  const int64_t dims[2] = {static_cast<int64_t>(a.size() / 3), 3};
  const lpd_tensor ta = tensor(a, dims), tb = tensor(b, dims);
  ASSERT_EQ(lpd_bind(instance, 0, &ta), LPD_OK) << lpd_error(instance);
  ASSERT_EQ(lpd_bind(instance, 1, &tb), LPD_OK) << lpd_error(instance);
}

std::vector<float> output(lpd_instance* instance) {
  lpd_tensor y{};
  y.size = sizeof y;
  EXPECT_EQ(lpd_output(instance, 2, &y), LPD_OK) << lpd_error(instance);
  const float* data = static_cast<const float*>(y.data);
  return std::vector<float>(data, data + y.bytes / 4);
}

void run_and_check(lpd_instance* instance, uint32_t depth, int64_t rows) {
  std::vector<float> a = ramp(rows, 1), b = ramp(rows, 2);
  bind_ramps(instance, a, b);
  ASSERT_EQ(lpd_run(instance, 0, nullptr), LPD_OK) << lpd_error(instance);
  ASSERT_EQ(lpd_wait(instance), LPD_OK) << "of a CPU all is done";
  ASSERT_EQ(output(instance), expected_output(a, b, depth)) << rows << " rows";
}

class Team : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Threads, Team, testing::Values(1, 2, 3, 4, 8));

TEST_P(Team, EveryThreadSeesWhatTheOthersWrote) {
  const HandModel hand(200);
  Instance instance;
  const lpd_options o = options(GetParam());
  ASSERT_EQ(lpd_create(&hand.model, &o, &instance.p), LPD_OK);
  for (int repeat = 0; repeat < 20; ++repeat) run_and_check(instance.p, 200, 7 + repeat % 3);
}

TEST_P(Team, RebindingOtherShapes) {
  const HandModel hand(5, 4);
  Instance instance;
  const lpd_options o = options(GetParam());
  ASSERT_EQ(lpd_create(&hand.model, &o, &instance.p), LPD_OK);
  for (int64_t rows : {1, 100, 0, 3, 4096, 4096, 2}) run_and_check(instance.p, 5, rows);
}

TEST_P(Team, WakesAfterSleeping) {
  const HandModel hand(3);
  Instance instance;
  const lpd_options o = options(GetParam());
  ASSERT_EQ(lpd_create(&hand.model, &o, &instance.p), LPD_OK);
  for (int repeat = 0; repeat < 5; ++repeat) {
    run_and_check(instance.p, 3, 50);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

TEST_P(Team, RoundsAreInOrder) {
  HandModel hand(1);
  // 11 rounds of N*3 tasks over a buffer in which round r reads what round r - 1 wrote to the neighbour.
  hand.kernels[1] = [](const lpd_frame* frame, int64_t begin, int64_t end, void*) {
    const int64_t count = frame->integers[0];
    float* x[2] = {at(frame, 0), at(frame, 1)};
    for (int64_t task = begin; task < end; ++task) {
      const int64_t round = task / count, i = task % count;
      x[(round + 1) % 2][i] = x[round % 2][(i + 1) % count] + 1;
    }
  };
  hand.constants.push_back(11);
  hand.dims.push_back({LPD_DIM_CONSTANT, 6, 0, 0});
  hand.variants[1].rounds = hand.dims.size() - 1;
  hand.fill();
  Instance instance;
  const lpd_options o = options(GetParam());
  ASSERT_EQ(lpd_create(&hand.model, &o, &instance.p), LPD_OK);
  run_and_check(instance.p, 11, 40);
}

TEST(Run, EightInstancesAtOnce) {
  const HandModel hand(50);
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&hand, t] {
      Instance instance;
      const lpd_options o = options(1 + t % 3);
      ASSERT_EQ(lpd_create(&hand.model, &o, &instance.p), LPD_OK);
      for (int repeat = 0; repeat < 10; ++repeat) run_and_check(instance.p, 50, 10 + t);
    });
  for (std::thread& thread : threads) thread.join();
}

TEST(Run, CallersExecutor) {
  const HandModel hand(30);
  int calls = 0;
  const lpd_executor executor{&calls, 4, [](void* self, void (*body)(void*, int), void* arg) {
                                ++*static_cast<int*>(self);
                                std::vector<std::thread> threads;
                                for (int t = 1; t < 4; ++t) threads.emplace_back(body, arg, t);
                                body(arg, 0);
                                for (std::thread& thread : threads) thread.join();
                              }};
  lpd_options o = options(0);
  o.executor = &executor;
  Instance instance;
  ASSERT_EQ(lpd_create(&hand.model, &o, &instance.p), LPD_OK);
  for (int repeat = 0; repeat < 3; ++repeat) run_and_check(instance.p, 30, 20);
  EXPECT_EQ(calls, 3);
}

// Counts what is given out and fails the k-th request.
struct FailingAlloc {
  int64_t requests = 0, fail_at = -1, held = 0;
  std::map<void*, int64_t> blocks;
  lpd_alloc table{this,
                  [](void* self, int64_t bytes, int64_t alignment) -> void* {
                    auto* a = static_cast<FailingAlloc*>(self);
                    if (a->requests++ == a->fail_at) return nullptr;
                    void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
                    std::memset(memory, 0xff, bytes);
                    a->blocks[memory] = bytes;
                    return memory;
                  },
                  [](void* self, void* memory, int64_t bytes) {
                    auto* a = static_cast<FailingAlloc*>(self);
                    EXPECT_EQ(a->blocks.at(memory), bytes);
                    a->blocks.erase(memory);
                    std::free(memory);
                  }};
};

TEST(Run, EveryFailingAllocationIsClean) {
  const HandModel hand(3);
  for (int64_t k = 0; k < 100; ++k) {
    FailingAlloc alloc;
    alloc.fail_at = k;
    lpd_options o = options(2);
    o.alloc = &alloc.table;
    {
      Instance instance;
      lpd_status status = lpd_create(&hand.model, &o, &instance.p);
      if (status == LPD_OK) {
        std::vector<float> a = ramp(9, 1), b = ramp(9, 2);
        bind_ramps(instance.p, a, b);
        status = lpd_run(instance.p, 0, nullptr);
        if (status == LPD_OUT_OF_MEMORY) {
          EXPECT_STRNE(lpd_error(instance.p), "");
          run_and_check(instance.p, 3, 9);  // the next try has memory again
        }
      }
      if (k < alloc.requests)
        EXPECT_EQ(status, LPD_OUT_OF_MEMORY);
      else
        EXPECT_EQ(status, LPD_OK);
    }
    EXPECT_TRUE(alloc.blocks.empty()) << "request " << k;
    if (alloc.requests <= k) return;
  }
  FAIL() << "never ran to the end";
}

struct WrongUse : testing::Test {
  HandModel hand{2};
  Instance instance;
  std::vector<float> a = ramp(4, 1), b = ramp(4, 2);
  int64_t dims[2] = {4, 3};
  lpd_tensor t = tensor(a, dims);
  void SetUp() override {
    const lpd_options o = options(1);
    ASSERT_EQ(lpd_create(&hand.model, &o, &instance.p), LPD_OK);
  }
  void expect(lpd_status status, lpd_status wanted, const char* message) {
    EXPECT_EQ(status, wanted);
    EXPECT_STREQ(lpd_error(instance.p), message);
  }
};

TEST_F(WrongUse, Slot) { expect(lpd_bind(instance.p, 3, &t), LPD_INVALID_ARGUMENT, "no slot 3"); }
TEST_F(WrongUse, NegativeSlot) { expect(lpd_bind(instance.p, -1, &t), LPD_INVALID_ARGUMENT, "no slot -1"); }
TEST_F(WrongUse, Null) { expect(lpd_bind(instance.p, 0, nullptr), LPD_INVALID_ARGUMENT, "tensor is null"); }
TEST_F(WrongUse, NullInstance) {
  EXPECT_EQ(lpd_bind(nullptr, 0, &t), LPD_INVALID_ARGUMENT);
  EXPECT_EQ(lpd_run(nullptr, 0, nullptr), LPD_INVALID_ARGUMENT);
}
TEST_F(WrongUse, StructSize) {
  t.size = 8;
  expect(lpd_bind(instance.p, 0, &t), LPD_INVALID_ARGUMENT,
         "input 'a': tensor struct of 8 bytes, this library knows 48");
}
TEST_F(WrongUse, Type) {
  t.dtype = 7;
  expect(lpd_bind(instance.p, 0, &t), LPD_WRONG_INPUT, "input 'a': element type is int64, expected float32");
}
TEST_F(WrongUse, Rank) {
  t.rank = 1;
  expect(lpd_bind(instance.p, 1, &t), LPD_WRONG_INPUT, "input 'b': rank is 1, expected 2");
}
TEST_F(WrongUse, Extent) {
  dims[1] = 4;
  expect(lpd_bind(instance.p, 0, &t), LPD_WRONG_INPUT, "input 'a': extent 1 is 4, expected 3");
}
TEST_F(WrongUse, NegativeExtent) {
  dims[0] = -4;
  expect(lpd_bind(instance.p, 0, &t), LPD_WRONG_INPUT, "input 'a': extent 0 is -4");
}
TEST_F(WrongUse, NullData) {
  t.data = nullptr;
  expect(lpd_bind(instance.p, 0, &t), LPD_INVALID_ARGUMENT, "input 'a': data is null");
}
TEST_F(WrongUse, Misaligned) {
  t.data = reinterpret_cast<char*>(a.data()) + 2;
  expect(lpd_bind(instance.p, 0, &t), LPD_WRONG_INPUT, "input 'a': data is not aligned to its elements of 4 bytes");
}
TEST_F(WrongUse, Bytes) {
  t.bytes = 47;
  expect(lpd_bind(instance.p, 0, &t), LPD_WRONG_INPUT, "input 'a': 47 bytes of memory, its extents need 48");
}
TEST_F(WrongUse, HugeExtent) {
  dims[0] = INT64_MAX / 4;
  expect(lpd_bind(instance.p, 0, &t), LPD_LIMIT, "input 'a': its size overflows");
}
TEST_F(WrongUse, Strides) {
  const int64_t strides[2] = {1, 4};
  t.strides = strides;
  expect(lpd_bind(instance.p, 0, &t), LPD_WRONG_INPUT, "input 'a': strides are not dense row-major");
}
TEST_F(WrongUse, Device) {
  t.device = 1;
  expect(lpd_bind(instance.p, 0, &t), LPD_INVALID_ARGUMENT, "input 'a': not in host memory");
}
TEST_F(WrongUse, Unbound) {
  ASSERT_EQ(lpd_bind(instance.p, 0, &t), LPD_OK);
  expect(lpd_run(instance.p, 0, nullptr), LPD_INVALID_ARGUMENT, "input 'b' is not bound");
}
TEST_F(WrongUse, Entry) { expect(lpd_run(instance.p, 1, nullptr), LPD_INVALID_ARGUMENT, "no entry point 1"); }
TEST_F(WrongUse, ExtentsDisagree) {
  bind_ramps(instance.p, a, b);
  dims[0] = 3;
  ASSERT_EQ(lpd_bind(instance.p, 1, &t), LPD_OK);
  expect(lpd_run(instance.p, 0, nullptr), LPD_WRONG_INPUT, "input 'b': extent 0 is 3, expected 4 (N)");
}
TEST_F(WrongUse, FailedCheck) {
  hand.constants.push_back(0);
  hand.dims.push_back({LPD_DIM_CONSTANT, 6, 0, 0});
  hand.checks = {{"node 'add': extents S and T must agree", static_cast<uint32_t>(hand.dims.size() - 1), 0}};
  hand.fill();
  Instance other;
  const lpd_options o = options(1);
  ASSERT_EQ(lpd_create(&hand.model, &o, &other.p), LPD_OK);
  bind_ramps(other.p, a, b);
  EXPECT_EQ(lpd_run(other.p, 0, nullptr), LPD_WRONG_INPUT);
  EXPECT_STREQ(lpd_error(other.p), "node 'add': extents S and T must agree");
}
TEST_F(WrongUse, OutputBeforeRun) {
  lpd_tensor y{};
  y.size = sizeof y;
  expect(lpd_output(instance.p, 2, &y), LPD_INVALID_ARGUMENT, "output 'y' has no value before a run");
}
TEST_F(WrongUse, OutputOverlapsInput) {
  bind_ramps(instance.p, a, b);
  t.data = a.data() + 4, t.bytes = 48;
  t.dims = nullptr;
  ASSERT_EQ(lpd_bind(instance.p, 2, &t), LPD_OK);
  expect(lpd_run(instance.p, 0, nullptr), LPD_WRONG_INPUT, "output 'y' overlaps input 'a' in memory");
}
TEST_F(WrongUse, OutputTooSmall) {
  bind_ramps(instance.p, a, b);
  std::vector<float> y(11);
  t.data = y.data(), t.bytes = 44, t.dims = nullptr;
  ASSERT_EQ(lpd_bind(instance.p, 2, &t), LPD_OK);
  expect(lpd_run(instance.p, 0, nullptr), LPD_WRONG_INPUT, "output 'y': 44 bytes of memory, its extents need 48");
}
TEST_F(WrongUse, OutputOfOtherExtents) {
  bind_ramps(instance.p, a, b);
  std::vector<float> y(15);
  dims[0] = 5;
  t = tensor(y, dims);
  ASSERT_EQ(lpd_bind(instance.p, 2, &t), LPD_OK);
  expect(lpd_run(instance.p, 0, nullptr), LPD_WRONG_INPUT, "output 'y': bound with extent 0 of 5, computed is 4");
}

TEST(Run, BoundOutputIsWrittenInPlaceAndCanBeGivenBack) {
  const HandModel hand(3);
  Instance instance;
  const lpd_options o = options(2);
  ASSERT_EQ(lpd_create(&hand.model, &o, &instance.p), LPD_OK);
  std::vector<float> a = ramp(5, 1), b = ramp(5, 2), y(15, -1);
  const int64_t dims[2] = {5, 3};
  bind_ramps(instance.p, a, b);
  lpd_tensor bound = tensor(y, dims);
  ASSERT_EQ(lpd_bind(instance.p, 2, &bound), LPD_OK);
  ASSERT_EQ(lpd_run(instance.p, 0, nullptr), LPD_OK);
  EXPECT_EQ(y, expected_output(a, b, 3));
  bound.data = nullptr;
  ASSERT_EQ(lpd_bind(instance.p, 2, &bound), LPD_OK);
  std::fill(y.begin(), y.end(), -1.0f);
  ASSERT_EQ(lpd_run(instance.p, 0, nullptr), LPD_OK);
  EXPECT_EQ(output(instance.p), expected_output(a, b, 3));
  EXPECT_EQ(y[0], -1);
}

TEST(Run, CancelledBeforeAndWithin) {
  for (int threads : {1, 2, 4}) {
    HandModel hand(100);
    static volatile int cancel;
    cancel = 0;
    hand.kernels.push_back([](const lpd_frame* frame, int64_t begin, int64_t end, void* stage) {
      shift_kernel(frame, begin, end, stage);
      cancel = 1;
    });
    hand.variants[50].kernel = 2;
    hand.fill();
    Instance instance;
    const lpd_options o = options(threads);
    ASSERT_EQ(lpd_create(&hand.model, &o, &instance.p), LPD_OK);
    std::vector<float> a = ramp(20, 1), b = ramp(20, 2);
    bind_ramps(instance.p, a, b);
    EXPECT_EQ(lpd_run(instance.p, 0, &cancel), LPD_CANCELLED);
    EXPECT_EQ(lpd_run(instance.p, 0, &cancel), LPD_CANCELLED);
    run_and_check(instance.p, 100, 20);
  }
}

TEST(Run, ProfileCountsRunsAndTimes) {
  const HandModel hand(4);
  Instance instance;
  const lpd_options o = options(2);
  ASSERT_EQ(lpd_create(&hand.model, &o, &instance.p), LPD_OK);
  ASSERT_EQ(lpd_profile_enable(instance.p, 1), LPD_OK);
  run_and_check(instance.p, 4, 1000);
  run_and_check(instance.p, 4, 1000);
  ASSERT_EQ(lpd_profile_count(instance.p, 0), 5);
  int64_t total = 0;
  for (int step = 0; step < 5; ++step) {
    lpd_step_profile profile{.size = sizeof profile};
    ASSERT_EQ(lpd_profile(instance.p, 0, step, &profile), LPD_OK);
    EXPECT_STREQ(profile.kernel, step ? "shift" : "add");
    EXPECT_EQ(profile.runs, 2);
    total += profile.nanoseconds;
  }
  EXPECT_GT(total, 0);
  EXPECT_EQ(lpd_profile(instance.p, 0, 5, nullptr), LPD_INVALID_ARGUMENT);
}

TEST(Create, Options) {
  const HandModel hand(1);
  Instance instance;
  lpd_options o = options(0);
  EXPECT_EQ(lpd_create(&hand.model, nullptr, &instance.p), LPD_OK);
  lpd_destroy(instance.p);
  EXPECT_EQ(lpd_create(nullptr, &o, &instance.p), LPD_INVALID_ARGUMENT);
  EXPECT_EQ(instance.p, nullptr);
  EXPECT_EQ(lpd_create(&hand.model, &o, nullptr), LPD_INVALID_ARGUMENT);
  o.size = 4;
  EXPECT_EQ(lpd_create(&hand.model, &o, &instance.p), LPD_INVALID_ARGUMENT);
  o = options(-1);
  EXPECT_EQ(lpd_create(&hand.model, &o, &instance.p), LPD_INVALID_ARGUMENT);
  o = options(1);
  const lpd_executor executor{};
  o.executor = &executor;
  EXPECT_EQ(lpd_create(&hand.model, &o, &instance.p), LPD_INVALID_ARGUMENT);
}

TEST(Create, ArenaLimit) {
  const HandModel hand(1);
  Instance instance;
  lpd_options o = options(1);
  o.max_bytes = 8192;
  ASSERT_EQ(lpd_create(&hand.model, &o, &instance.p), LPD_OK);
  run_and_check(instance.p, 1, 10);
  std::vector<float> a = ramp(10000, 1), b = ramp(10000, 2);
  bind_ramps(instance.p, a, b);
  EXPECT_EQ(lpd_run(instance.p, 0, nullptr), LPD_LIMIT);
  EXPECT_STREQ(lpd_error(instance.p), "arena and workspaces need 241664 bytes, max_bytes allows 8192");
  run_and_check(instance.p, 1, 10);
}

TEST(Create, MissingCpuFeature) {
  HandModel hand(1);
  lpd_instance* instance = nullptr;
  hand.features = {"fma", "no-such-feature", nullptr};
  hand.fill();
  EXPECT_EQ(lpd_create(&hand.model, nullptr, &instance), LPD_UNSUPPORTED_CPU);
}

TEST(Model, ArenaBytes) {
  const HandModel hand(1);
  const int64_t ten = 10, negative = -1, huge = INT64_MAX / 3;
  EXPECT_EQ(lpd_arena_bytes(&hand.model, &ten), 4096);  // two buffers of 120 bytes, whole pages
  EXPECT_EQ(lpd_workspace_bytes(&hand.model, &ten), 0);
  EXPECT_EQ(lpd_arena_bytes(&hand.model, &negative), -1);
  EXPECT_EQ(lpd_arena_bytes(&hand.model, &huge), -1);
  EXPECT_EQ(lpd_arena_bytes(&hand.model, nullptr), -1);
  int32_t count = 0;
  EXPECT_STREQ(lpd_symbols(&hand.model, &count)[0], "N");
  EXPECT_EQ(count, 1);
}

// A decoder's loop: what a run gave out goes into the next one, in place of a copy.
TEST(Run, AnOutputMayBeTheNextInput) {
  const HandModel hand(2);
  Instance instance;
  const lpd_options o = options(2);
  ASSERT_EQ(lpd_create(&hand.model, &o, &instance.p), LPD_OK);
  std::vector<float> a = ramp(10, 1), b = ramp(10, 2);
  bind_ramps(instance.p, a, b);
  ASSERT_EQ(lpd_run(instance.p, 0, nullptr), LPD_OK) << lpd_error(instance.p);
  for (int repeat = 0; repeat < 4; ++repeat) {
    const std::vector<float> last = output(instance.p);
    lpd_tensor y{};
    y.size = sizeof y;
    ASSERT_EQ(lpd_output(instance.p, 2, &y), LPD_OK);
    ASSERT_EQ(lpd_bind(instance.p, 0, &y), LPD_OK) << lpd_error(instance.p);
    ASSERT_EQ(lpd_run(instance.p, 0, nullptr), LPD_OK) << lpd_error(instance.p);
    ASSERT_EQ(output(instance.p), expected_output(last, b, 2));
  }
}

TEST(Run, AnOutputBoundToTwoInputsTwice) {
  const HandModel hand(2);
  Instance instance;
  ASSERT_EQ(lpd_create(&hand.model, nullptr, &instance.p), LPD_OK);
  std::vector<float> a = ramp(10, 1), b = ramp(10, 2);
  bind_ramps(instance.p, a, b);
  for (int slot : {0, 1}) {  // both of the output's buffers are inputs now
    ASSERT_EQ(lpd_run(instance.p, 0, nullptr), LPD_OK) << lpd_error(instance.p);
    lpd_tensor y{};
    y.size = sizeof y;
    ASSERT_EQ(lpd_output(instance.p, 2, &y), LPD_OK);
    ASSERT_EQ(lpd_bind(instance.p, slot, &y), LPD_OK);
  }
  EXPECT_EQ(lpd_run(instance.p, 0, nullptr), LPD_WRONG_INPUT);
  EXPECT_STREQ(lpd_error(instance.p), "output 'y': both of its last values are bound");
}

// Programs built against another version of the header.
TEST(Structs, OlderOnesAreFilledAndNewerOnesMayBeZero) {
  const HandModel hand(1);
  Instance instance;
  const struct {
    lpd_options known;
    int64_t later;
  } newer{{sizeof newer, 1}, 0}, unknown{{sizeof unknown, 1}, 7};
  ASSERT_EQ(lpd_create(&hand.model, &newer.known, &instance.p), LPD_OK);
  lpd_instance* refused = nullptr;
  EXPECT_EQ(lpd_create(&hand.model, &unknown.known, &refused), LPD_INVALID_ARGUMENT);
  lpd_tensor_info older{};
  older.size = offsetof(lpd_tensor_info, dims);
  older.dims = &hand.constants[0];
  ASSERT_EQ(lpd_describe(&hand.model, 0, &older), LPD_OK);
  EXPECT_STREQ(older.name, "a");
  EXPECT_EQ(older.dims, &hand.constants[0]) << "written beyond the caller's struct";
}

TEST(Run, TheLastErrorIsOfTheLastCall) {
  const HandModel hand(1);
  Instance instance;
  ASSERT_EQ(lpd_create(&hand.model, nullptr, &instance.p), LPD_OK);
  EXPECT_EQ(lpd_bind(instance.p, 9, nullptr), LPD_INVALID_ARGUMENT);
  EXPECT_STREQ(lpd_error(instance.p), "no slot 9");
  run_and_check(instance.p, 1, 4);
  EXPECT_STREQ(lpd_error(instance.p), "");
}

}  // namespace
}  // namespace lapidary::test
