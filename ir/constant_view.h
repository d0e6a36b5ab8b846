// A constant seen through strides: element (i, j, …) of the result lies at Σ index · stride of the source. Transposes,
// packing, padding, scaling and most reshapes only change the view, so a weight that goes through several of them is
// read once and written once. Private to constant*.cpp.
//
// Example: [K, N] packed to panels [N/16][K][16] is a view of axes with strides (16, N, 1); when 16 does not divide N a
// bound 16·i + k < N says where there is nothing but zero.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lapidary {

struct View {
  struct Axis {
    int64_t extent, stride;  // in elements
  };
  struct Bound {  // zero where Σ index · weight >= limit
    std::vector<int64_t> weights;
    int64_t limit;
  };
  struct Scale {  // multiplied by factors[Σ index · weight]; elements are f32
    std::vector<int64_t> weights;
    std::vector<float> factors;
  };

  const std::byte* data = nullptr;  // need not be aligned
  int width = 0;                    // bytes of an element: 1, 2, 4, 8
  std::vector<Axis> axes;
  std::vector<Bound> bounds;
  std::vector<Scale> scales;

  static View dense(const std::byte* data, int width, const std::vector<int64_t>& shape);
  std::vector<int64_t> shape() const;
  int64_t elements() const;

  void transpose(const std::vector<int64_t>& order);
  void pad(const std::vector<int64_t>& shape);  // at the high ends, with zeros
  void scale(size_t axis, std::vector<float> factors);
  // Splits an axis into blocks: [ceil(extent / block)] in its place, [block] at the end; the rest of the last is zero.
  void split(size_t axis, int64_t block);
  bool reshape(const std::vector<int64_t>& shape);  // false: no view can express it, nothing changed

  // Writes rows [begin, end) of the leading axis of the dense result whose first element is at `out`. Rank >= 1.
  void copy_rows(std::byte* out, int64_t begin, int64_t end) const;
  void copy(std::byte* out) const;  // all of it
};

}  // namespace lapidary
