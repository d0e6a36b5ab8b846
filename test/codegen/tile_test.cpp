// The register tile as each target's assembly: in registers throughout, one broadcast for each row, and compiled in
// little time.
#include <gtest/gtest.h>

#include <chrono>
#include <sstream>

#include "test/codegen/run_kernel.h"
#include "test/codegen/tile_kernel.h"

namespace lapidary::testing {
namespace {

struct Case {
  const char* target;
  Tile tile;
};
const Case kCases[] = {{"x86-64-v3", {6, 1, 8}},        {"znver3", {6, 1, 8}},   {"x86-64-v4", {13, 2, 16}},
                       {"skylake-avx512", {13, 2, 16}}, {"znver4", {13, 2, 16}}, {"znver5", {13, 2, 16}},
                       {"sapphirerapids", {13, 2, 16}}, {"znver5", {12, 2, 16}}, {"znver5", {6, 4, 16}},
                       {"aarch64", {6, 1, 4}}};

class TileAssembly : public ::testing::TestWithParam<Case> {};

TEST_P(TileAssembly, StaysInRegisters) {
  const auto& [target, tile] = GetParam();
  Program program;
  program.kernels = {tile_kernel(tile, 512)};
  std::istringstream text(codegen::assembly_text(program, codegen::resolve_target(target), {}));
  int fmas = 0;
  for (std::string line; std::getline(text, line);) {
    const auto holds = [&](const char* part) { return line.find(part) != std::string::npos; };
    fmas += holds("vfmadd") || holds("fmla");
    EXPECT_FALSE((holds("%ymm") || holds("%zmm")) && holds("(%rsp)")) << line;
    EXPECT_FALSE(holds("\tq") && holds("[sp")) << line;  // AArch64's 128-bit registers where they are stored and loaded
  }
  EXPECT_EQ(fmas, 4 * tile.rows * tile.vectors());
}

INSTANTIATE_TEST_SUITE_P(Targets, TileAssembly, ::testing::ValuesIn(kCases));

TEST(Tile, CompilesQuickly) {
  Program program;
  program.kernels = {tile_kernel({13, 2, 16}, 512)};
  const Target target = codegen::resolve_target("znver5");
  double least = 1e9;
  for (int i = 0; i < 5; i++) {
    const auto start = std::chrono::steady_clock::now();
    codegen::cpu::compile_kernels(program, target, {});
    least = std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::printf("13x32 tile: %.1f ms\n", least * 1e3);
  EXPECT_LT(least, 0.2);  // 0.02 s on an idle machine
}

}  // namespace
}  // namespace lapidary::testing
