// What a product says of its levels together: of a CPU the one that this machine runs, of devices the most.
#include <gtest/gtest.h>

#include "test/runtime/hand_model.h"

extern "C" {
extern const lpd_model* lpd_product_models[3];  // runtime/product.c
const lpd_model* lpd_product_models[3] = {};
int64_t lpd_product_arena_bytes(const int64_t* symbols);
}

namespace lapidary::test {
namespace {

struct Levels {
  HandModel first{1}, second{1};
  explicit Levels(const lpd_driver* driver) {
    second.constants[5] = 200;  // buffers in its arena; the first has 2
    first.model.driver = second.model.driver = driver;
    lpd_product_models[0] = &first.model, lpd_product_models[1] = &second.model;
  }
};

TEST(ProductLevels, OfADeviceTheMostBytesOfAny) {
  const Levels levels(reinterpret_cast<const lpd_driver*>(&lpd_product_models));  // not called
  const int64_t ten = 10, negative = -1;
  EXPECT_EQ(lpd_product_arena_bytes(&ten), 28672);  // 200 buffers of 128 bytes, whole pages
  EXPECT_EQ(lpd_product_arena_bytes(&negative), -1);
}

TEST(ProductLevels, OfACpuThoseOfTheBest) {
  const Levels levels(nullptr);
  const int64_t ten = 10;
  EXPECT_EQ(lpd_product_arena_bytes(&ten), 4096);
}

}  // namespace
}  // namespace lapidary::test
