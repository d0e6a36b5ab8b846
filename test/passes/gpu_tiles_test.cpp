// Which tiles a product is cut into on a GPU: those that take the fewest clocks by the reckoning; where extents are
// symbols, a few, of which a run takes about what fixed extents would have had.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <set>

#include "ir/error.h"
#include "ir/run_values.h"
#include "passes/lower/gpu/tiles.h"
#include "test/kernels/case_model.h"

namespace lapidary::test {
namespace {

using lowering::gpu::ProductSize;
using lowering::gpu::TileChoice;

passes::Options options_for(int capability, bool only, passes::F32Products f32 = passes::F32Products::IEEE) {
  passes::Options options;
  options.target.arch = Arch::Cuda;
  options.target.capability = capability;
  options.target.capability_only = only;
  options.target.shared_bytes = (capability == 90 ? 227 : 163) << 10;
  options.f32_products = f32;
  return options;
}

struct Kind {
  passes::Options options;
  DType factor;
};

std::vector<Kind> kinds() {
  return {{options_for(80, false), DType::F32},
          {options_for(80, false), DType::F16},
          {options_for(80, false, passes::F32Products::TF32), DType::F32},
          {options_for(80, false), DType::I8},
          {options_for(90, true), DType::F16},
          {options_for(90, true, passes::F32Products::TF32), DType::F32}};
}

struct Extents {
  int64_t batch, rows, columns, depth;
};

constexpr Extents kSizes[] = {
    {1, 128, 768, 768},    {1, 4096, 3072, 768}, {1, 4096, 768, 3072}, {384, 128, 128, 64},  // BERT
    {1, 100352, 64, 576},  {1, 401408, 64, 147}, {1, 1568, 512, 4608}, {1, 32, 1000, 2048},  // ResNet
    {1, 1, 4096, 4096},    {12, 1, 512, 64},                                                 // one row
    {1, 64, 64, 1 << 20},  {1, 256, 128, 65536},                                             // a long k
    {1, 1024, 1024, 1024}, {1, 4096, 4096, 4096}};

constexpr int kMostParts = 8;

std::vector<TileChoice> choose(DimPool& dims, const Kind& kind, const ProductSize& size, const std::string& only = "") {
  passes::Options options = kind.options;
  options.gpu_tile = only;
  return choose_tiles(dims, options, kind.factor, size, {}, kMostParts);
}

ProductSize fixed(DimPool& dims, const Extents& size) {
  return {dims.constant(size.batch), dims.constant(size.rows), dims.constant(size.columns), dims.constant(size.depth),
          4};
}

int64_t clocks(const TileChoice& choice) { return *value_of(choice.clocks); }

// Of each kind of tile that there is here, the one that takes the fewest.
std::vector<TileChoice> best_of_each(DimPool& dims, const Kind& kind, const ProductSize& size) {
  std::vector<TileChoice> found;
  for (const char* tile :
       {" 128x256x", " 128x192x", " 128x128x", " 128x64x", " 128x32x", " 64x256x", " 64x128x", " 64x64x", " 32x32x"})
    try {
      const std::vector<TileChoice> chosen = choose(dims, kind, size, tile);
      EXPECT_NE(chosen.front().tile.text().find(tile), std::string::npos) << "--gpu-tile is a filter";
      found.push_back(chosen.front());
    } catch (const Error& error) {  // there is none
      EXPECT_EQ(error.fault, Fault::Usage);
    }
  return found;
}

TEST(GpuTiles, TakeTheFewestClocks) {
  for (const Kind& kind : kinds())
    for (const Extents& extents : kSizes) {
      DimPool dims;
      const ProductSize size = fixed(dims, extents);
      const std::vector<TileChoice> chosen = choose(dims, kind, size);
      ASSERT_EQ(chosen.size(), 1u) << "a choice where nothing is to be chosen";
      const std::vector<TileChoice> others = best_of_each(dims, kind, size);
      EXPECT_GE(others.size(), 3u);
      for (const TileChoice& other : others)
        EXPECT_LE(clocks(chosen[0]), clocks(other)) << chosen[0].tile.text() << " and " << other.tile.text();
    }
}

TEST(GpuTiles, CutALongKIntoParts) {
  DimPool dims;
  const Kind halves = {options_for(80, false), DType::F16};
  EXPECT_GT(choose(dims, halves, fixed(dims, {1, 64, 64, 1 << 20})).front().parts, 1);
  EXPECT_EQ(choose(dims, halves, fixed(dims, {1, 4096, 4096, 4096})).front().parts, 1);
  EXPECT_EQ(choose(dims, halves, fixed(dims, {1, 64, 64, 1 << 20}), "parts=1 ").front().parts, 1);
}

// A product whose extents speak of symbols, and those at which it is looked at.
struct Symbolic {
  const char* name;
  std::function<ProductSize(DimPool&)> size;
  std::vector<SymbolValues> at;
};

std::vector<SymbolValues> grid(const std::vector<int64_t>& batches, const std::vector<int64_t>& lengths) {
  std::vector<SymbolValues> values;
  for (int64_t batch : batches)
    for (int64_t length : lengths) values.push_back({{"N", batch}, {"S", length}});
  return values;
}

std::vector<Symbolic> symbolic() {
  const std::vector<SymbolValues> many = grid({1, 2, 3, 8, 13, 32, 100, 256}, {1, 7, 16, 50, 128, 200, 384, 512, 1024});
  const auto heads = [](DimPool& d) { return d.mul(d.symbol("N"), d.constant(12)); };
  const auto tokens = [](DimPool& d) { return d.mul(d.symbol("N"), d.symbol("S")); };
  return {
      {"rows",
       [](DimPool& d) {
         return ProductSize{d.constant(1), d.symbol("N"), d.constant(3072), d.constant(768), 4};
       },
       grid({1, 5, 32, 33, 64, 128, 200, 512, 1000, 4096, 8000, 100000}, {1})},
      {"tokens",
       [=](DimPool& d) {
         return ProductSize{d.constant(1), tokens(d), d.constant(768), d.constant(768), 4};
       },
       many},
      {"scores of heads",
       [=](DimPool& d) {
         return ProductSize{heads(d), d.symbol("S"), d.symbol("S"), d.constant(64), 4};
       },
       many},
      {"values of heads",
       [=](DimPool& d) {
         return ProductSize{heads(d), d.symbol("S"), d.constant(64), d.symbol("S"), 4};
       },
       many},
      {"images",
       [](DimPool& d) {
         return ProductSize{d.constant(1), d.mul(d.symbol("N"), d.constant(784)), d.constant(128), d.constant(1152), 8};
       },
       grid({1, 2, 3, 8, 13, 32, 100, 256}, {1})}};
}

int64_t at(Dim dim, const SymbolValues& values) {
  return *evaluate(dim, [&](Dim leaf) -> std::optional<int64_t> { return values.at(leaf->name); });
}

// How much longer the soonest of the few takes than what would be chosen for these extents alone.
double excess(DimPool& dims, const Kind& kind, const ProductSize& size, const std::vector<TileChoice>& few,
              const SymbolValues& values) {
  const ProductSize known =
      fixed(dims, {at(size.batch, values), at(size.rows, values), at(size.columns, values), at(size.depth, values)});
  int64_t soonest = INT64_MAX;
  for (const TileChoice& choice : few) soonest = std::min(soonest, at(choice.clocks, values));
  ProductSize same = known;
  same.epilogue = size.epilogue;
  return static_cast<double>(soonest) / static_cast<double>(clocks(choose(dims, kind, same).front()));
}

TEST(GpuTiles, OfSymbolsAreAboutAsSoonDone) {
  for (const Kind& kind : kinds())
    for (const Symbolic& product : symbolic()) {
      DimPool dims;
      const ProductSize size = product.size(dims);
      const std::vector<TileChoice> few = choose(dims, kind, size);
      EXPECT_LE(few.size(), 4u);
      double sum = 0, worst = 0;
      for (const SymbolValues& values : product.at) {
        const double found = excess(dims, kind, size, few, values);
        sum += found;
        worst = std::max(worst, found);
      }
      const double mean = sum / static_cast<double>(product.at.size());
      EXPECT_LE(mean, 1.05) << product.name;
      EXPECT_LE(worst, 1.4) << product.name;
    }
}

// x[N, 768] times w[768, 3072], lowered, and its first step.
struct Lowered {
  CaseModel m;
  Program program;
  const Step* step = nullptr;

  std::string schedule(const Variant& variant) const {
    const loops::Kernel& kernel = program.kernels[variant.kernel];
    return kernel.family + " " + kernel.schedule;
  }
};

std::unique_ptr<Lowered> lowered(const passes::Options& options, std::optional<int64_t> rows) {
  auto result = std::make_unique<Lowered>();
  CaseModel& m = result->m;
  DimPool& dims = m.module.dims;
  Value* x = m.input({rows ? dims.constant(*rows) : m.symbol("N"), dims.constant(768)});
  m.result({m.build.contract(x, m.input(m.shape({768, 3072})), "mk,kn->mn")});
  passes::run_graph_passes(m.module, options);
  result->program = passes::lower(m.module, options);
  result->step = &result->program.entries[0].steps.at(0);
  return result;
}

TEST(GpuTiles, OfARunAreThoseOfItsExtents) {
  const passes::Options options = options_for(80, false);
  const auto symbolic = lowered(options, std::nullopt);
  ASSERT_GE(symbolic->step->variants.size(), 3u);
  EXPECT_EQ(symbolic->step->variants.back().when, nullptr) << "one is there for all other sizes";
  std::set<std::string> there, taken;
  for (const Variant& variant : symbolic->step->variants) there.insert(symbolic->schedule(variant));
  for (const int64_t rows : {1, 2, 5, 16, 33, 64, 100, 128, 200, 400, 512, 777, 1024, 1500, 2048, 3000, 4096, 8192}) {
    Tensor x;
    x.shape = {rows, 768};
    const RunValues value(symbolic->program.entries[0], {&x, 1});
    const Variant* variant = value.chosen(*symbolic->step);
    ASSERT_NE(variant, nullptr) << rows;
    const auto fixed = lowered(options, rows);
    const std::string best = fixed->schedule(fixed->step->variants.at(0));
    taken.insert(symbolic->schedule(*variant));
    if (there.contains(best)) { EXPECT_EQ(symbolic->schedule(*variant), best) << rows; }
  }
  EXPECT_EQ(taken, there) << "none is there for nothing";
}

// A ring of four slots with its barriers, and two panels of results for each of two warpgroups.
TEST(GpuTiles, ResultsOfWarpgroupsHaveRoomToo) {
  constexpr int64_t kRing = 4 * ((128 + 256) * 64 * 2 + 2 * 8), kPanels = 2 * 2 * 64 * 128;
  Kind hopper{options_for(90, true), DType::F16};
  DimPool dims;
  const ProductSize size = fixed(dims, {1, 4096, 4096, 4096});
  hopper.options.target.shared_bytes = kRing + kPanels;
  EXPECT_EQ(choose(dims, hopper, size, "128x256x64").front().tile.columns, 256);
  --hopper.options.target.shared_bytes;
  EXPECT_THROW(choose(dims, hopper, size, "128x256x64"), Error);
}

}  // namespace
}  // namespace lapidary::test
