#include "ir/layout.h"

#include <gtest/gtest.h>

namespace lapidary {
namespace {

class LayoutTest : public ::testing::Test {
 protected:
  DimPool pool;
  Type type(DType dtype, std::vector<const char*> shape) {
    Shape dims;
    for (const char* text : shape) dims.push_back(parse_dim(pool, text));
    return Type::tensor(dtype, dims);
  }
  std::string strides(const Type& t) {
    std::string text;
    for (const PhysicalAxis& axis : physical_axes(pool, t))
      text += to_string(axis.extent) + ":" + to_string(axis.stride) + " ";
    return text;
  }
};

TEST_F(LayoutTest, Dense) {
  Type t = type(DType::F32, {"N", "3", "S"});
  EXPECT_EQ(strides(t), "N:3*S 3:S S:1 ");
  EXPECT_EQ(physical_bytes(pool, t), parse_dim(pool, "12*N*S"));
  EXPECT_EQ(element_count(pool, t), parse_dim(pool, "3*N*S"));
  EXPECT_EQ(physical_elements(pool, type(DType::F32, {})), pool.constant(1));
}

TEST_F(LayoutTest, BlockedWithHalo) {
  Type t = type(DType::F32, {"2", "20", "5", "W"});
  t.layout.blocked_axis = 1;
  t.layout.block = 16;
  t.layout.halo = {{}, {}, {1, 1}, {1, 2}};
  EXPECT_EQ(strides(t), "2:224*W + 672 2:112*W + 336 7:16*W + 48 W + 3:16 16:1 ");
  auto axes = physical_axes(pool, t);
  EXPECT_EQ(axes[3].halo_lo, 1);
  EXPECT_TRUE(axes[4].inner);
  EXPECT_EQ(axes[4].axis, 1);
  EXPECT_EQ(physical_elements(pool, t), parse_dim(pool, "448*W + 1344"));
}

TEST_F(LayoutTest, PaddedRows) {
  Type t = type(DType::F32, {"4", "1024"});
  t.layout.leading = pool.constant(1040);
  EXPECT_EQ(strides(t), "4:1040 1040:1 ");
  EXPECT_EQ(physical_elements(pool, t), pool.constant(4160));
}

TEST_F(LayoutTest, SliceOfMoreChannels) {
  Type t = type(DType::F32, {"N", "32", "7", "7"});
  t.layout.blocked_axis = 1;
  t.layout.block = 16;
  t.layout.leading = pool.constant(100);
  EXPECT_EQ(strides(t), "N:5488 7:784 7:112 7:16 16:1 ");
}

TEST_F(LayoutTest, SubByteElementsRoundUp) {
  EXPECT_EQ(physical_bytes(pool, type(DType::I4, {"3", "5"})), pool.constant(8));
  EXPECT_EQ(physical_bytes(pool, type(DType::U2, {"N"})), parse_dim(pool, "(N + 3) floordiv 4"));
}

}  // namespace
}  // namespace lapidary
