#include "frontend/ops/windows.h"

#include <algorithm>

namespace lapidary::frontend {
namespace {

constexpr int64_t kMostExtent = INT64_C(1) << 31;  // of kernels, strides and pads: anything larger is nonsense

// SAME: as many windows as ⌈extent / stride⌉; the padding that takes is split, the odd one at the end (UPPER) or front.
void pad_same(Node& node, Windows& w, const Shape& spatial, bool upper) {
  DimPool& dims = node.dims();
  int rank = w.rank();
  for (int i = 0; i < rank; ++i) {
    Dim stride = dims.constant(w.strides[i]), one = dims.constant(1);
    Dim count = dims.ceildiv(spatial[i], stride);
    Dim reach = dims.constant((w.kernel[i] - 1) * w.dilations[i] + 1);
    Dim total =
        dims.max(dims.constant(0), dims.sub(dims.add(dims.mul(dims.sub(count, one), stride), reach), spatial[i]));
    Dim half = dims.floordiv(total, dims.constant(2)), rest = dims.sub(total, half);
    w.pads[i] = upper ? half : rest;
    w.pads[i + rank] = upper ? rest : half;
  }
}

}  // namespace

std::vector<int64_t> positive_list(Node& node, const char* name, int rank, int64_t otherwise) {
  if (!node.has(name)) return std::vector<int64_t>(rank, otherwise);
  std::vector<int64_t> list = node.integers(name);
  if (static_cast<int>(list.size()) != rank)
    fail("{} has {}, expected {}", name, counted(static_cast<int64_t>(list.size()), "element"), rank);
  for (int64_t x : list) {
    if (x < 1 || x > kMostExtent) fail("{} must be from 1 to {}, got {}", name, kMostExtent, x);
  }
  return list;
}

Windows windows_of(Node& node, std::vector<int64_t> kernel, const Shape& spatial) {
  Windows w;
  int rank = static_cast<int>(spatial.size());
  w.kernel = kernel;
  if (kernel.empty() || node.has("kernel_shape")) w.kernel = positive_list(node, "kernel_shape", rank, 1);
  if (!kernel.empty() && w.kernel != kernel)
    fail("kernel_shape {} differs from the weight's {}", to_text(w.kernel), to_text(kernel));
  w.strides = positive_list(node, "strides", rank, 1);
  w.dilations = positive_list(node, "dilations", rank, 1);
  w.pads.assign(2 * rank, node.dims().constant(0));
  std::string mode = node.text("auto_pad");
  if (mode == "SAME_UPPER" || mode == "SAME_LOWER") {
    pad_same(node, w, spatial, mode == "SAME_UPPER");
  } else if (mode == "NOTSET" && node.has("pads")) {
    std::vector<int64_t> pads = node.integers("pads");
    if (static_cast<int>(pads.size()) != 2 * rank)
      fail("pads has {}, expected {}", counted(static_cast<int64_t>(pads.size()), "element"), 2 * rank);
    for (int i = 0; i < 2 * rank; ++i) {
      if (pads[i] < 0 || pads[i] > kMostExtent) fail("pads must be from 0 to {}, got {}", kMostExtent, pads[i]);
      w.pads[i] = node.dims().constant(pads[i]);
    }
  } else if (mode != "NOTSET" && mode != "VALID") {
    fail("auto_pad '{}' is unknown", printable(mode));
  }
  return w;
}

Dim window_count(Node& node, const Windows& w, int axis, Dim extent, bool ceil) {
  DimPool& dims = node.dims();
  Dim low = w.pads[axis], high = w.pads[axis + w.rank()], stride = dims.constant(w.strides[axis]),
      one = dims.constant(1);
  Dim padded = dims.add(extent, dims.add(low, high));
  Dim free = dims.sub(padded, dims.constant((w.kernel[axis] - 1) * w.dilations[axis] + 1));
  if (range(free).hi < 0)
    fail("kernel {} with dilation {} exceeds the padded extent {}", w.kernel[axis], w.dilations[axis],
         to_string(padded));
  if (!ceil) return dims.add(dims.floordiv(free, stride), one);
  // A window that would start in the padding at the end does not count.
  Dim count = dims.add(dims.ceildiv(free, stride), one);
  Dim beyond = dims.less(dims.mul(dims.sub(count, one), stride), dims.add(extent, low));
  return dims.select(beyond, count, dims.sub(count, one));
}

}  // namespace lapidary::frontend
