// Which weights a layer may have to be computed by Winograd's algorithm.
#include <gtest/gtest.h>

#include "passes/lower/convolution.h"

namespace lapidary::lowering {
namespace {

bool exact_for(double deviation) {
  Module module;
  ConvForm form;
  form.weight =
      module.constants.add({DType::F32, {8, 64, 3, 3}, DType::F32, {8, 64, 3, 3}, Seeded{7, 0, deviation}, {}});
  return winograd_is_exact(module, form);
}

bool exact_along(int axis, double deviation) {
  Module module;
  ConvForm form;
  form.weight =
      module.constants.add({DType::F32, {8, 64, 5, 7}, DType::F32, {8, 64, 5, 7}, Seeded{7, 0, deviation}, {}});
  for (int taps : {3, 4})
    if (!winograd_is_exact(module, form, {axis, taps})) return false;
  return true;
}

TEST(WinogradCheck, NormalWeightsPass) { EXPECT_TRUE(exact_for(0.1)); }
TEST(WinogradCheck, DenormalWeightsLoseDigitsInTheTransform) { EXPECT_FALSE(exact_for(1e-41)); }
TEST(WinogradCheck, LargeWeightsOverflowInTheTransform) { EXPECT_FALSE(exact_for(1e38)); }
TEST(WinogradCheck, NormalWeightsPassAlongAnyAxis) {
  for (int axis : {0, 1}) EXPECT_TRUE(exact_along(axis, 0.1)) << axis;
}
TEST(WinogradCheck, DenormalWeightsLoseDigitsAlongAnAxis) { EXPECT_FALSE(exact_along(1, 1e-41)); }

}  // namespace
}  // namespace lapidary::lowering
