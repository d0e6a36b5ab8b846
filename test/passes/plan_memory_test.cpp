#include "passes/lower/plan_memory.h"

#include <gtest/gtest.h>

#include <random>

namespace lapidary {
namespace {

int64_t value(Dim dim, int64_t n, int64_t s) {
  return *evaluate(dim, [&](Dim leaf) -> std::optional<int64_t> { return leaf->name == "N" ? n : s; });
}

bool meet(const ArenaBuffer& a, const ArenaBuffer& b) {
  return a.first_step <= b.last_step && b.first_step <= a.last_step;
}

TEST(PlanMemory, LiveBuffersNeverOverlap) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    DimPool dims;
    Dim n = dims.symbol("N"), s = dims.symbol("S");
    EntryPoint entry;
    const int count = static_cast<int>(random() % 24);
    for (int i = 0; i < count; ++i) {
      Dim size = dims.constant(4 * static_cast<int64_t>(random() % 1000));
      switch (random() % 5) {
        case 0:
          break;
        case 1:
          size = dims.mul(size, n);
          break;
        case 2:
          size = dims.mul(size, dims.mul(n, s));
          break;
        case 3:
          size = dims.mul(size, dims.add(s, dims.constant(2)));
          break;
        case 4:
          size = dims.mul(size, dims.ceildiv(s, dims.constant(2)));
          break;
      }
      const uint32_t first = random() % 20;
      entry.arena.push_back({size, nullptr, first, first + static_cast<uint32_t>(random() % 5)});
    }
    lowering::plan_memory(dims, entry);
    for (int64_t n_value : {0, 1, 3, 64})
      for (int64_t s_value : {0, 1, 17, 128})
        for (const ArenaBuffer& a : entry.arena) {
          const int64_t a_begin = value(a.offset, n_value, s_value), a_end = a_begin + value(a.bytes, n_value, s_value);
          EXPECT_EQ(a_begin % 64, 0);
          EXPECT_LE(a_end, value(entry.arena_bytes, n_value, s_value));
          for (const ArenaBuffer& b : entry.arena) {
            if (&a == &b || !meet(a, b)) continue;
            const int64_t b_begin = value(b.offset, n_value, s_value),
                          b_end = b_begin + value(b.bytes, n_value, s_value);
            EXPECT_TRUE(a_end <= b_begin || b_end <= a_begin || a_begin == a_end || b_begin == b_end);
          }
        }
  }
}

TEST(PlanMemory, MultiplesOfOneMonomialArePackedExactly) {
  DimPool dims;
  Dim n = dims.symbol("N");
  EntryPoint entry;
  const auto buffer = [&](int64_t bytes, uint32_t first, uint32_t last) {
    entry.arena.push_back({dims.mul(n, dims.constant(bytes)), nullptr, first, last});
  };
  buffer(1024, 0, 1);
  buffer(2048, 1, 2);
  buffer(1024, 2, 3);  // where the first was
  lowering::plan_memory(dims, entry);
  EXPECT_EQ(entry.arena_bytes, dims.mul(n, dims.constant(3072)));
}

TEST(PlanMemory, RoundsSizesNotCoefficients) {
  DimPool dims;
  Dim scores = dims.mul(dims.symbol("N"), dims.mul(dims.symbol("S"), dims.symbol("S")));
  EntryPoint entry;
  entry.arena.push_back({dims.mul(dims.constant(4), scores), nullptr, 0, 3});
  entry.arena.push_back({scores, nullptr, 1, 2});
  entry.arena.push_back({dims.mul(dims.constant(1), scores), nullptr, 3, 4});  // where the second was
  entry.arena.push_back({dims.mul(dims.constant(1000), scores), nullptr, 0, 1});
  entry.arena.push_back({dims.mul(dims.constant(24), scores), nullptr, 2, 3});
  lowering::plan_memory(dims, entry);
  EXPECT_EQ(entry.arena[1].offset, entry.arena[2].offset);
  EXPECT_LE(value(entry.arena_bytes, 8, 511), INT64_C(8) * 511 * 511 * (4 + 1 + 1024 + 24) + 3 * 63);
}

}  // namespace
}  // namespace lapidary
