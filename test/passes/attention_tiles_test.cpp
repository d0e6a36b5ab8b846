// The tile that attention is cut into fits the device: its shared memory, and a thread's registers with room for
// addresses. Where there is none, not even the smallest would have.
#include "passes/lower/gpu/attention_tiles.h"

#include <gtest/gtest.h>

#include "ir/composites.h"
#include "ir/fragment.h"
#include "ir/gpu_model.h"
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

passes::Options options_of(const Device& device, passes::F32Products f32 = passes::F32Products::IEEE) {
  passes::Options options;
  options.f32_products = f32;
  Target& target = options.target;
  target.arch = Arch::Cuda;
  target.capability = device.capability;
  target.capability_only = device.only;
  target.shared_bytes = device.shared_kib << 10;
  return options;
}

const Op& attention(CaseModel& m, DType dtype, int64_t depth, int64_t width) {
  DimPool& d = m.module.dims;
  const auto input = [&](const char* length, int64_t last) {
    return m.input({m.symbol("B"), d.constant(2), m.symbol(length), d.constant(last)}, dtype);
  };
  Value *q = input("S", depth), *k = input("T", depth), *v = input("T", width);
  return *composites::attention(m.build, q, k, v, nullptr, 1, false)->producer;
}

int64_t shared_bytes(const passes::Options& options, const Op& op, const AttentionTile& tile) {
  return loops::attend_shared_bytes(lowering::gpu::attend_node(options, op, tile),
                                    bit_width(lowering::gpu::attention_factor(options, op)) / 8);
}

// 32-bit registers of a thread for its part of results and scores; there may be some for queries.
int64_t registers(const passes::Options& options, const Op& op, const AttentionTile& tile) {
  const loops::AttendNode node = lowering::gpu::attend_node(options, op, tile);
  return node.queries * (node.columns + node.keys) / (32 * node.warps);
}

void expect_fits(const passes::Options& options, const Op& op, const std::optional<AttentionTile>& tile, int64_t depth,
                 int64_t width) {
  constexpr int64_t kForAddresses = 64, kOfAThread = 255;
  if (!tile) return;
  const loops::AttendNode node = lowering::gpu::attend_node(options, op, *tile);
  EXPECT_GE(node.depth, depth);
  EXPECT_GE(node.columns, width);
  EXPECT_GE(node.stages, 2);
  EXPECT_LE(shared_bytes(options, op, *tile), options.target.shared_bytes);
  EXPECT_LE(registers(options, op, *tile), kOfAThread - kForAddresses);
}

void check(const Device& device, DType dtype, passes::F32Products f32, int64_t depth, int64_t width) {
  SCOPED_TRACE(fmt::format("{}: {} heads of {} and {}, {}", device.name, name_of(dtype), depth, width, name_of(f32)));
  const passes::Options options = options_of(device, f32);
  CaseModel m;
  const Op& op = attention(m, dtype, depth, width);
  const auto tile = lowering::gpu::attention_tile(options, op);
  expect_fits(options, op, tile, depth, width);
  expect_fits(options, op, lowering::gpu::attention_tile_of_few(options, op), depth, width);
  expect_fits(options, op, lowering::gpu::attention_tile_of_warpgroups(options, op), depth, width);
  const bool halves = lowering::gpu::attention_factor(options, op) != DType::F32;
  EXPECT_TRUE(tile || std::max(depth, width) > (halves ? 256 : 128)) << "the heads of most models have one";
  if (tile) return;
  const bool fma = lowering::gpu::attend_node(options, op, {16, 16, 4, 2, 16, false}).atom == loops::Atom::Fma;
  const AttentionTile smallest = fma ? AttentionTile{16, 16, 4, 2, 16, false} : AttentionTile{32, 16, 2, 2, 64, false};
  EXPECT_TRUE(shared_bytes(options, op, smallest) > options.target.shared_bytes ||
              registers(options, op, smallest) > (halves ? 160 : 96));
}

TEST(AttentionTiles, FitEveryDevice) {
  for (const Device& device : kDevices)
    for (const int64_t depth : kHeads)
      for (const int64_t width : kHeads) {
        for (const DType dtype : {DType::F16, DType::BF16})
          check(device, dtype, passes::F32Products::IEEE, depth, width);
        for (const auto& [name, f32] : passes::kF32Products) check(device, DType::F32, f32, depth, width);
      }
}

// f32 that may be rounded is multiplied on tensor cores, halves of any head up to Gemma's 256 by as many queries as
// shared memory has room for.
TEST(AttentionTiles, AreOfWhatTensorCoresMultiply) {
  struct Form {
    size_t device;
    DType dtype;
    passes::F32Products f32;
    int64_t head;
    loops::Atom atom;
    int queries, keys;
  };
  using enum passes::F32Products;
  constexpr size_t sm_75 = 0, sm_80 = 1, sm_86 = 2, sm_90a = 5;
  for (const Form& form : {Form{sm_80, DType::F32, IEEE, 64, loops::Atom::Fma, 64, 64},
                           Form{sm_80, DType::F32, TF32, 64, loops::Atom::TF32, 64, 32},
                           Form{sm_80, DType::F32, BF16, 64, loops::Atom::TF32, 64, 32},
                           Form{sm_80, DType::F32, TF32x3, 64, loops::Atom::TF32x3, 128, 64},
                           Form{sm_75, DType::F32, TF32, 64, loops::Atom::Fma, 64, 32},
                           Form{sm_80, DType::F16, IEEE, 224, loops::Atom::F16, 128, 32},
                           Form{sm_86, DType::BF16, IEEE, 256, loops::Atom::BF16, 64, 32},
                           Form{sm_90a, DType::F16, TF32, 256, loops::Atom::F16, 128, 64}}) {
    SCOPED_TRACE(fmt::format("{}: {} heads of {}", kDevices[form.device].name, name_of(form.dtype), form.head));
    CaseModel m;
    const passes::Options options = options_of(kDevices[form.device], form.f32);
    const Op& op = attention(m, form.dtype, form.head, form.head);
    const auto tile = lowering::gpu::attention_tile(options, op);
    ASSERT_TRUE(tile);
    EXPECT_EQ(lowering::gpu::attend_node(options, op, *tile).atom, form.atom);
    EXPECT_EQ(tile->queries, form.queries);
    EXPECT_EQ(tile->keys, form.keys);
  }
}

// Few queries of any type have a tile, of which a multiprocessor has several with more than one slot under way each.
TEST(AttentionTiles, OfFewQueriesKeepTheMemoryBusy) {
  for (const Device& device : kDevices)
    for (const DType dtype : {DType::F32, DType::F16})
      for (const int64_t head : {64, 128}) {
        SCOPED_TRACE(fmt::format("{}: {} heads of {}", device.name, name_of(dtype), head));
        CaseModel m;
        const passes::Options options = options_of(device);
        const Op& op = attention(m, dtype, head, head);
        const auto tile = lowering::gpu::attention_tile_of_few(options, op);
        ASSERT_TRUE(tile);
        const int64_t slot =
            2 * tile->keys * head * (lowering::gpu::attention_factor(options, op) == DType::F32 ? 4 : 2);
        const int64_t multiprocessors = gpu_model(device.capability).multiprocessors;
        const int64_t blocks = lowering::gpu::blocks_at_once(options, op, *tile) / multiprocessors;
        EXPECT_GE(blocks * (tile->stages - 1) * slot, 22 << 10);
        EXPECT_GE(tile->stages, 3);
      }
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
                           Form{DType::F16, 144, 64, 32}, Form{DType::F16, 256, 128, 32}}) {
    CaseModel m;
    const auto tile =
        lowering::gpu::attention_tile(options_of(kDevices[1]), attention(m, form.dtype, form.head, form.head));
    ASSERT_TRUE(tile) << form.head;
    EXPECT_EQ(tile->queries, form.queries) << form.head;
    EXPECT_EQ(tile->keys, form.keys) << form.head;
  }
}

}  // namespace
}  // namespace lapidary::test
