// The emulator itself: that threads see each other where they meet, and that each mistake it looks for is found, in
// every order of threads.
#include <vector>

#include "test/cuda/device/checks.h"
#include "test/cuda/emulator.h"

namespace {

void expect_no_error(const char* what, unsigned order) {
  const char* error = emulator_error();
  check(!error, "%s, order %u: %s", what, order, error ? error : "");
}

template <class Kernel>
void expect_error(const char* what, const char* part, unsigned threads, unsigned order, const Kernel& kernel) {
  emulator::launch({2}, {threads}, 64, order, kernel);
  const char* error = emulator_error();
  check(error && std::strstr(error, part), "%s, order %u: expected an error with '%s', got: %s", what, order, part,
        error ? error : "none");
  check(!emulator_error(), "an error is read once");
}

void test_indices(unsigned order) {
  std::vector<int> calls(2 * 3 * 4 * 5 * 2 * 3);
  emulator::launch({2, 3, 4}, {5, 2, 3}, 0, order, [&] {
    const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    ++calls[block * 30 + thread];
  });
  for (int count : calls) check(count == 1, "a thread ran %d times", count);
  expect_no_error("indices", order);
}

void test_barriers(unsigned order) {
  std::vector<i32> seen(96), from_named(96);
  emulator::launch({1}, {96}, 96 * sizeof(i32), order, [&] {
    DYNAMIC_SHARED(memory);
    i32* shared = reinterpret_cast<i32*>(memory);
    for (int step = 0; step < 3; ++step) {
      shared[threadIdx.x] = i32(threadIdx.x) + step;
      barrier();
      seen[threadIdx.x] = shared[95 - threadIdx.x];
      barrier();
    }
    if (threadIdx.x >= 64) return;  // the last warp: nobody waits for it
    shared[threadIdx.x] = i32(threadIdx.x);
    barrier(1, 64);
    from_named[threadIdx.x] = shared[63 - threadIdx.x];
    barrier();
  });
  for (int i = 0; i < 96; ++i) check(seen[size_t(i)] == 95 - i + 2, "barrier: %d at %d", seen[size_t(i)], i);
  for (int i = 0; i < 64; ++i)
    check(from_named[size_t(i)] == 63 - i, "named barrier: %d at %d", from_named[size_t(i)], i);
  expect_no_error("barriers", order);
}

void test_warps(unsigned order) {
  std::vector<i64> sums(48), firsts(48);
  emulator::launch({1}, {48}, 0, order, [&] {  // the second warp has 16 lanes
    i64 sum = threadIdx.x;
    for (unsigned mask = 1; mask < 16; mask *= 2) sum += shuffle_xor(sum, mask);
    sums[threadIdx.x] = sum;
    firsts[threadIdx.x] = shuffle_from(i64(threadIdx.x), 5);
    sync_warp();
  });
  for (int i = 0; i < 48; ++i) {
    check(sums[size_t(i)] == i / 16 * 256 + 120, "shuffle_xor: %lld at %d", sums[size_t(i)], i);
    check(firsts[size_t(i)] == i / 32 * 32 + 5, "shuffle_from: %lld at %d", firsts[size_t(i)], i);
  }
  expect_no_error("warps", order);
}

// What a copy brings is not there before its wait, and is there after it.
void test_copies(unsigned order) {
  alignas(16) f32 from[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  std::vector<f32> early(3), late(3);
  f32 zero = 1, poison = 0;
  emulator::launch({1}, {1}, 64, order, [&] {
    DYNAMIC_SHARED(memory);
    f32* shared = reinterpret_cast<f32*>(memory);
    poison = shared[15];
    for (int i = 0; i < 3; ++i) {
      copy_async<16>(shared + 4 * i, from + 4 * i, true);
      copy_async_commit();
    }
    copy_async<4>(shared + 12, nullptr, false);
    copy_async_commit();
    copy_async_wait<2>();
    for (int i = 0; i < 3; ++i) early[size_t(i)] = shared[4 * i + 1];
    copy_async_wait<0>();
    for (int i = 0; i < 3; ++i) late[size_t(i)] = shared[4 * i + 1];
    zero = shared[12];
  });
  check(std::isnan(poison), "shared memory starts as NaN, not %g", double(poison));
  check(early[0] == 2 && early[1] == 6 && std::isnan(early[2]),
        "copies: the groups that were waited for, and no other");
  check(late[0] == 2 && late[1] == 6 && late[2] == 10 && zero == 0, "copies: all after the last wait");
  expect_no_error("copies", order);
}

void test_mistakes(unsigned order) {
  expect_error("half of the threads at a barrier", "deadlock: 32 threads wait at", 64, order, [] {
    if (threadIdx.x < 32)
      barrier();
    else
      barrier(1, 64);
  });
  expect_error("two barriers", "while others are at", 64, order, [] {
    if (threadIdx.x % 2)
      barrier();
    else
      barrier();
  });
  expect_error("a lane that left", "deadlock", 32, order, [] {
    if (threadIdx.x == 7) return;
    sync_warp();
  });
  expect_error("copy out of bounds", "was not given", 32, order, [] {
    DYNAMIC_SHARED(memory);
    copy_async<16>(memory + 64, nullptr, false);
  });
  expect_error("unaligned copy", "unaligned", 32, order, [] {
    DYNAMIC_SHARED(memory);
    copy_async<8>(memory + 4, nullptr, false);
  });
  expect_error("a copy nobody waits for", "under way", 32, order, [] {
    DYNAMIC_SHARED(memory);
    copy_async<8>(memory, nullptr, false);
  });
  expect_error("an unaligned row", "unaligned", 32, order, [] {
    DYNAMIC_SHARED(memory);
    u32 registers[2];
    load_matrix_x2<false>(registers, memory + 8);
  });
  expect_error("a lane that is not there", "does not have", 16, order, [] { shuffle_xor(1.0f, 16); });
}

extern "C" void add_to(f32* values, f64 what, i64 count) {
  const i64 i = i64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) values[i] += f32(what);
}
EMULATED_KERNEL(add_to)

void test_host_call(unsigned order) {
  std::vector<f32> values(70, 1);
  f32* pointer = values.data();
  f64 what = 2.5;
  i64 count = 69;
  void* parameters[] = {&pointer, &what, &count};
  const unsigned grid[3] = {3, 1, 1}, block[3] = {32, 1, 1};
  emulated_add_to(grid, block, 0, order, parameters);
  for (size_t i = 0; i < 70; ++i) check(values[i] == (i < 69 ? 3.5f : 1.0f), "parameter passing at %zu", i);
  expect_no_error("call by the host", order);
}

}  // namespace

int main() {
  for (unsigned order : {0u, 1u, 7u, 1234u}) {
    test_indices(order);
    test_barriers(order);
    test_warps(order);
    test_copies(order);
    test_mistakes(order);
    test_host_call(order);
  }
  return report();
}
