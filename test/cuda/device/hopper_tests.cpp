// The emulation of Hopper's copy engine and barriers: boxes of every rank, what lies outside a tensor, swizzles, what
// cuTensorMapEncodeTiled refuses, and that each mistake it looks for is found in every order of threads.
#include <vector>

#include "test/cuda/device/checks.h"
#include "test/cuda/emulator/hopper.h"

namespace {

struct Map {
  uint32_t type = 7, rank = 2;
  uint64_t extents[5] = {20, 10, 6, 4, 2}, strides[4] = {80, 800, 4800, 19200};
  uint32_t box[5] = {8, 4, 1, 1, 1}, element_strides[5] = {1, 1, 1, 1, 1}, interleave = 0, swizzle = 0, fill = 0;
  const char* encode(tensor_map* map, const void* address) const {
    return encode_tensor_map(&map->map, type, rank, address, extents, strides, box, element_strides, interleave,
                             swizzle, fill);
  }
};

alignas(64) f32 tensor[20 * 10 * 6 * 4];

template <class Change>
void expect_refusal(const char* part, const Change& change, size_t offset = 0) {
  Map description;
  change(description);
  tensor_map map{};
  const char* broken = description.encode(&map, reinterpret_cast<char*>(tensor) + offset);
  check(broken && std::strstr(broken, part), "expected a refusal with '%s', got: %s", part, broken ? broken : "none");
  check(map.map.mark == 0, "a refused map stays as it was");
}
void test_rules() {
  expect_refusal("type", [](Map& m) { m.type = 10; });
  expect_refusal("rank", [](Map& m) { m.rank = 0; });
  expect_refusal("rank", [](Map& m) { m.rank = 6; });
  expect_refusal(
      "address", [](Map&) {}, 4);
  expect_refusal("extents", [](Map& m) { m.extents[1] = 0; });
  expect_refusal("strides", [](Map& m) { m.strides[0] = 84; });
  expect_refusal("strides", [](Map& m) { m.strides[0] = uint64_t(1) << 40; });
  expect_refusal("box", [](Map& m) { m.box[1] = 257; });
  expect_refusal("rows of the box", [](Map& m) { m.box[0] = 6; });
  expect_refusal("swizzle", [](Map& m) { m.box[0] = 64, m.swizzle = 3; });
  expect_refusal("interleaved", [](Map& m) { m.interleave = 1; });
  expect_refusal("NaN", [](Map& m) { m.fill = 1; });
  expect_refusal("steps", [](Map& m) { m.element_strides[1] = 2; });
}

// A box of 8 x 4 (x 2 x 2) from (x, y, z, w) on, to shared memory and back to another tensor.
void test_boxes(uint32_t rank, uint32_t swizzle, unsigned order) {
  const int corners[][4] = {{0, 0, 0, 0}, {-3, -1, -1, -1}, {16, 8, 5, 3}, {100, 0, 0, 0}};
  for (const auto& at : corners) {
    Map description;
    description.rank = rank;
    description.swizzle = swizzle;
    if (rank > 2) description.box[2] = 2;
    if (rank > 3) description.box[3] = 2;
    alignas(64) static f32 copy[20 * 10 * 6 * 4];
    std::fill(std::begin(copy), std::end(copy), -1.0f);
    tensor_map from, to;
    check(!description.encode(&from, tensor) && !description.encode(&to, copy), "maps of rank %u", rank);
    f32 boxed[8 * 4 * 2 * 2];
    const u32 elements = 32u << (rank - 2);
    emulator::launch({1}, {64}, 2048, order, [&] {
      DYNAMIC_SHARED(shared);
      const u32 box = shared_address(shared), barrier_at = box + 1024;
      if (threadIdx.x == 0) {
        mbarrier_init(barrier_at, 1);
        mbarrier_init_fence();
      }
      barrier();
      if (threadIdx.x == 63) {
        mbarrier_arrive_expecting(barrier_at, elements * 4);
        if (rank == 2) tma_load(box, &from, barrier_at, at[0], at[1]);
        if (rank == 3) tma_load(box, &from, barrier_at, at[0], at[1], at[2]);
        if (rank == 4) tma_load(box, &from, barrier_at, at[0], at[1], at[2], at[3]);
      }
      mbarrier_wait(barrier_at, 0);
      for (u32 i = threadIdx.x; i < elements; i += 64) {
        const u32 byte = i * 4, row = byte >> 7;  // where the swizzle puts it
        std::memcpy(&boxed[i], shared + (byte ^ (row & ((1u << swizzle) - 1)) << 4), 4);
      }
      if (threadIdx.x == 5) {
        if (rank == 2) tma_store(box, &to, at[0], at[1]);
        if (rank == 3) tma_store(box, &to, at[0], at[1], at[2]);
        if (rank == 4) tma_store(box, &to, at[0], at[1], at[2], at[3]);
        tma_store_commit();
        tma_store_wait<0>();
      }
    });
    const char* error = emulator_error();
    check(!error, "boxes of rank %u, order %u: %s", rank, order, error ? error : "");
    i64 wrong = 0, stored = 0, inside_box = 0;
    for (u32 i = 0; i < elements; ++i) {
      const int x = at[0] + int(i % 8), y = at[1] + int(i / 8 % 4);
      const int z = rank > 2 ? at[2] + int(i / 32 % 2) : 0, w = rank > 3 ? at[3] + int(i / 64) : 0;
      const bool inside = x >= 0 && x < 20 && y >= 0 && y < 10 && z >= 0 && z < 6 && w >= 0 && w < 4;
      const int index = ((w * 6 + z) * 10 + y) * 20 + x;
      wrong += boxed[i] != (inside ? tensor[index] : 0.0f);
      if (inside) wrong += copy[index] != tensor[index], ++inside_box;
    }
    for (f32 x : copy) stored += x != -1.0f;
    check(wrong == 0 && stored == inside_box,
          "boxes of rank %u, swizzle %u, order %u: %lld wrong, %lld stored for %lld", rank, swizzle, order, wrong,
          stored, inside_box);
  }
}

template <class Kernel>
void expect_error(const char* part, unsigned order, const Kernel& kernel) {
  emulator::launch({1}, {64}, 2048, order, [&] {
    DYNAMIC_SHARED(shared);
    const u32 box = shared_address(shared), barrier_at = box + 1024;
    if (threadIdx.x == 0) mbarrier_init(barrier_at, 1);
    barrier();
    kernel(shared, box, barrier_at);
  });
  const char* error = emulator_error();
  check(error && std::strstr(error, part), "order %u: expected an error with '%s', got: %s", order, part,
        error ? error : "none");
}
void test_mistakes(unsigned order) {
  tensor_map map{}, never{};
  Map().encode(&map, tensor);
  const auto first = [] { return threadIdx.x == 0; };
  expect_error("deadlock", order, [&](char*, u32, u32 at) { mbarrier_wait(at, 0); });
  expect_error("not initialised", order, [&](char*, u32, u32 at) { mbarrier_wait(at + 8, 0); });
  expect_error("unaligned", order, [&](char*, u32, u32 at) { mbarrier_wait(at + 4, 0); });
  expect_error("all its arrivals", order, [&](char*, u32, u32 at) {
    if (!first()) return;
    mbarrier_arrive_expecting(at, 16);
    mbarrier_arrive(at);
  });
  expect_error("not encoded", order, [&](char*, u32 box, u32 at) {
    if (first()) tma_load(box, &never, at, 0, 0);
  });
  expect_error("another rank", order, [&](char*, u32 box, u32 at) {
    if (first()) tma_load(box, &map, at, 0, 0, 0);
  });
  expect_error("not given", order, [&](char*, u32, u32 at) {
    if (first()) tma_load(2048, &map, at, 0, 0);
  });
  expect_error("nobody waited for", order, [&](char*, u32 box, u32 at) {
    if (first()) tma_load(box, &map, at, 0, 0);
  });
  expect_error("without fence_proxy_async", order, [&](char* shared, u32 box, u32) {
    wrote_shared(shared + threadIdx.x, 1);
    barrier();
    if (first()) tma_store(box, &map, 0, 0);
  });
  expect_error("changes while", order, [&](char* shared, u32 box, u32) {
    if (!first()) return;
    tma_store(box, &map, 0, 0);
    tma_store_commit();
    shared[0] ^= 1;
    tma_store_wait<0>();
  });
  expect_error("boxes that it stores", order, [&](char*, u32 box, u32) {
    if (first()) tma_store(box, &map, 0, 0);
  });
}

}  // namespace

int main() {
  for (size_t i = 0; i < sizeof tensor / sizeof *tensor; ++i) tensor[i] = f32(i + 1);
  test_rules();
  for (unsigned order : {0u, 1u, 7u}) {
    for (uint32_t rank : {2u, 3u, 4u})
      for (uint32_t swizzle : {0u, 1u, 2u, 3u}) test_boxes(rank, swizzle, order);
    test_mistakes(order);
  }
  return report();
}
