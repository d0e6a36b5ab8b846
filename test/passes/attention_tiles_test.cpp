// The tile that attention is cut into fits the device: its shared memory, and a thread's registers with room for
// addresses. Where there is none, not even the smallest would have.
#include "passes/lower/gpu/attention_tiles.h"

#include <gtest/gtest.h>

#include "ir/composites.h"
#include "ir/fragment.h"
#include "test/kernels/case_model.h"

namespace lapidary::test {
namespace {

using lowering::gpu::AttentionTile;

struct Device {
  const char* name;
  int capability;
  bool only;
  int64_t shared_kib;
};
constexpr Device kDevices[] = {{"sm_75", 75, false, 64},    {"sm_80", 80, false, 163}, {"sm_86", 86, false, 99},
                               {"sm_89", 89, false, 99},    {"sm_90", 90, false, 227}, {"sm_90a", 90, true, 227},
                               {"sm_100", 100, false, 227}, {"sm_120", 120, false, 99}};
constexpr int64_t kHeads[] = {1, 8, 16, 17, 32, 48, 64, 80, 96, 128, 160, 192, 240, 256, 320, 512, 1024};

Target target_of(const Device& device) {
  Target target;
  target.arch = Arch::Cuda;
  target.capability = device.capability;
  target.capability_only = device.only;
  target.shared_bytes = device.shared_kib << 10;
  return target;
}

const Op& attention(CaseModel& m, DType dtype, int64_t depth, int64_t width) {
  DimPool& d = m.module.dims;
  const auto input = [&](const char* length, int64_t last) {
    return m.input({m.symbol("B"), d.constant(2), m.symbol(length), d.constant(last)}, dtype);
  };
  Value *q = input("S", depth), *k = input("T", depth), *v = input("T", width);
  return *composites::attention(m.build, q, k, v, nullptr, 1, false)->producer;
}

int64_t shared_bytes(const Target& target, const Op& op, const AttentionTile& tile) {
  return loops::attend_shared_bytes(lowering::gpu::attend_node(target, op, tile),
                                    bit_width(lowering::gpu::attention_factor(target, op)) / 8);
}

// 32-bit registers of a thread for its part of results and scores, and for queries of halves; warpgroups read these
// from shared memory.
int64_t registers(const Target& target, const Op& op, const AttentionTile& tile) {
  const loops::AttendNode node = lowering::gpu::attend_node(target, op, tile);
  const int64_t threads = 32 * node.warps, sums = node.queries * (node.columns + node.keys) / threads;
  const bool holds_queries = node.atom != loops::Atom::Fma && !node.warpgroups;
  return sums + (holds_queries ? 16 * node.depth / 32 / 2 : 0);
}

void expect_fits(const Target& target, const Op& op, const std::optional<AttentionTile>& tile, int64_t depth,
                 int64_t width) {
  constexpr int64_t kForAddresses = 64, kOfAThread = 255;
  if (!tile) return;
  const loops::AttendNode node = lowering::gpu::attend_node(target, op, *tile);
  EXPECT_GE(node.depth, depth);
  EXPECT_GE(node.columns, width);
  EXPECT_GE(node.stages, 2);
  EXPECT_LE(shared_bytes(target, op, *tile), target.shared_bytes);
  EXPECT_LE(registers(target, op, *tile), kOfAThread - kForAddresses);
}

void check(const Device& device, DType dtype, int64_t depth, int64_t width) {
  SCOPED_TRACE(fmt::format("{}: {} heads of {} and {}", device.name, name_of(dtype), depth, width));
  const Target target = target_of(device);
  CaseModel m;
  const Op& op = attention(m, dtype, depth, width);
  const auto tile = lowering::gpu::attention_tile(target, op);
  expect_fits(target, op, tile, depth, width);
  expect_fits(target, op, lowering::gpu::attention_tile_of_few(target, op), depth, width);
  expect_fits(target, op, lowering::gpu::attention_tile_of_warpgroups(target, op), depth, width);
  EXPECT_TRUE(tile || std::max(depth, width) > 128) << "the heads of most models have one";
  if (tile) return;
  const bool halves = lowering::gpu::attention_factor(target, op) != DType::F32;
  const AttentionTile smallest =
      halves ? AttentionTile{64, 32, 4, 2, 16, false} : AttentionTile{16, 16, 4, 2, 16, false};
  EXPECT_TRUE(shared_bytes(target, op, smallest) > target.shared_bytes || registers(target, op, smallest) > 160);
}

TEST(AttentionTiles, FitEveryDevice) {
  for (const Device& device : kDevices)
    for (const DType dtype : {DType::F32, DType::F16, DType::BF16})
      for (const int64_t depth : kHeads)
        for (const int64_t width : kHeads) check(device, dtype, depth, width);
}

// Each of the smaller tiles is taken by heads that kernel_tests compute in the emulator, of sm_80.
TEST(AttentionTiles, ComputedInTheEmulatorAreAll) {
  struct Form {
    DType dtype;
    int64_t head;
    int queries, keys;
  };
  for (const Form& form : {Form{DType::F32, 64, 64, 64}, Form{DType::F32, 128, 64, 32}, Form{DType::F32, 240, 32, 32},
                           Form{DType::F32, 256, 32, 16}, Form{DType::F32, 512, 16, 16}, Form{DType::F16, 64, 64, 64},
                           Form{DType::F16, 192, 64, 32}}) {
    CaseModel m;
    const auto tile =
        lowering::gpu::attention_tile(target_of(kDevices[1]), attention(m, form.dtype, form.head, form.head));
    ASSERT_TRUE(tile) << form.head;
    EXPECT_EQ(tile->queries, form.queries) << form.head;
    EXPECT_EQ(tile->keys, form.keys) << form.head;
  }
}

}  // namespace
}  // namespace lapidary::test
