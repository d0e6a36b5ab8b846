// Produces a constant's final bytes. Transforms that only move elements are kept as a strided view of the source, so a
// weight that is transposed and packed is read once and written once; converting, scaling and reshapes that a view
// cannot express go through a dense copy of that one constant. The last step copies the view, axis by axis, into the
// output: packed forms are views of one more axis whose last block is partly invalid (zeros).
//
// A part of a constant is a range of the output's leading axis. Chains with a dense copy are produced by part 0 alone.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "ir/constant.h"
#include "ir/error.h"
#include "ir/winograd.h"

namespace lapidary {

namespace {

struct Axis {
  int64_t extent, stride;   // in elements
};

// Elements at Σ index · stride; where Σ index · weight of a bound reaches its limit there is nothing but zero.
struct View {
  const std::byte* data = nullptr;
  std::vector<Axis> axes;
  struct Bound {
    std::vector<int64_t> weights;   // one for each axis
    int64_t limit;
  };
  std::vector<Bound> bounds;
  std::vector<std::byte> owned;     // when data is a copy
};

View dense_view(const std::byte* data, const std::vector<int64_t>& shape) {
  View view{data, {}, {}, {}};
  int64_t stride = 1;
  for (auto extent = shape.rbegin(); extent != shape.rend(); ++extent) {
    view.axes.insert(view.axes.begin(), {*extent, stride});
    stride *= *extent;
  }
  return view;
}

// New axes of `shape` over the old ones; nothing when an axis of the result would jump within an old one.
std::optional<std::vector<Axis>> reshaped(const std::vector<Axis>& axes, const std::vector<int64_t>& shape) {
  std::vector<Axis> result;
  if (std::ranges::count(shape, 0) > 0) {   // nothing is stored, so no stride is wrong
    for (int64_t extent : shape) result.push_back({extent, 0});
    return result;
  }
  size_t from = 0;
  for (size_t to = 0; to < shape.size();) {
    int64_t old_size = 1, new_size = 1;
    size_t first_old = from, first_new = to;
    do {   // the shortest runs of axes of equal size
      if (from < axes.size() && (old_size < new_size || from == first_old)) old_size *= axes[from++].extent;
      if (to < shape.size() && (new_size < old_size || to == first_new)) new_size *= shape[to++];
    } while (old_size != new_size && (from < axes.size() || to < shape.size()));
    if (old_size != new_size) return std::nullopt;
    int64_t unit = 1;   // the run of old axes must be contiguous among themselves
    Axis last{1, 1};
    for (size_t i = from; i-- > first_old;) {
      if (axes[i].extent == 1) continue;
      if (unit == 1) last = axes[i];
      else if (axes[i].stride != last.stride * unit) return std::nullopt;
      unit *= axes[i].extent;
    }
    int64_t stride = last.stride;
    std::vector<Axis> run;
    for (size_t i = to; i-- > first_new;) {
      run.insert(run.begin(), {shape[i], stride});
      stride *= shape[i];
    }
    result.insert(result.end(), run.begin(), run.end());
  }
  for (; from < axes.size(); ++from) {
    if (axes[from].extent != 1) return std::nullopt;
  }
  return result;
}

// Splits axis `axis` into blocks: [ceil(extent / block)] in place and [block] at the end; the rest of the last is zero.
void split_axis(View& view, size_t axis, int64_t block) {
  Axis old = view.axes[axis];
  view.axes[axis] = {(old.extent + block - 1) / block, old.stride * block};
  view.axes.push_back({block, old.stride});
  for (View::Bound& bound : view.bounds) {
    bound.weights.push_back(bound.weights[axis]);
    bound.weights[axis] *= block;
  }
  if (old.extent % block == 0) return;
  View::Bound bound{std::vector<int64_t>(view.axes.size(), 0), old.extent};
  bound.weights[axis] = block;
  bound.weights.back() = 1;
  view.bounds.push_back(std::move(bound));
}

template <typename T>
void copy_axes(const View& view, size_t axis, const T* from, T*& to, std::vector<int64_t>& used) {
  const Axis& a = view.axes[axis];
  bool last = axis + 1 == view.axes.size();
  int64_t valid = a.extent;
  if (last) {   // the bounds limit a prefix of the innermost axis
    for (size_t b = 0; b < view.bounds.size(); ++b) {
      int64_t weight = view.bounds[b].weights[axis], left = view.bounds[b].limit - used[b];
      valid = weight == 0 ? (left > 0 ? valid : 0) : std::clamp<int64_t>((left + weight - 1) / weight, 0, valid);
    }
    if (a.stride == 1) std::copy_n(from, valid, to);
    else for (int64_t i = 0; i < valid; ++i) to[i] = from[i * a.stride];
    std::fill(to + valid, to + a.extent, T{});
    to += a.extent;
    return;
  }
  for (int64_t i = 0; i < a.extent; ++i) {
    for (size_t b = 0; b < view.bounds.size(); ++b) used[b] += i ? view.bounds[b].weights[axis] : 0;
    copy_axes(view, axis + 1, from + i * a.stride, to, used);
  }
  for (size_t b = 0; b < view.bounds.size(); ++b) used[b] -= a.extent > 0 ? view.bounds[b].weights[axis] * (a.extent - 1) : 0;
}

template <typename T>
void copy_view(const View& view, std::byte* out, int64_t begin, int64_t end) {
  View rows = view;
  int64_t row = 1;
  for (size_t i = 1; i < rows.axes.size(); ++i) row *= rows.axes[i].extent;
  if (row == 0 || begin >= end) return;
  rows.axes[0].extent = end - begin;
  std::vector<int64_t> used(view.bounds.size());
  for (size_t b = 0; b < used.size(); ++b) used[b] = view.bounds[b].weights[0] * begin;
  T* to = reinterpret_cast<T*>(out) + begin * row;
  copy_axes<T>(rows, 0, reinterpret_cast<const T*>(view.data) + begin * rows.axes[0].stride, to, used);
}

void copy_rows(const View& view, int width, std::byte* out, int64_t begin, int64_t end) {
  switch (width) {
    case 1: return copy_view<uint8_t>(view, out, begin, end);
    case 2: return copy_view<uint16_t>(view, out, begin, end);
    case 4: return copy_view<uint32_t>(view, out, begin, end);
    case 8: return copy_view<uint64_t>(view, out, begin, end);
  }
  LPD_UNREACHABLE("elements of {} bytes cannot be moved", width);
}

std::vector<int64_t> shape_of(const View& view) {
  std::vector<int64_t> shape;
  for (const Axis& axis : view.axes) shape.push_back(axis.extent);
  return shape;
}

void make_dense(View& view, int width) {
  std::vector<int64_t> shape = shape_of(view);
  int64_t count = 1;
  for (int64_t extent : shape) count *= extent;
  std::vector<std::byte> bytes(static_cast<size_t>(count * width));
  if (view.axes.empty()) std::memcpy(bytes.data(), view.data, static_cast<size_t>(width));
  else copy_rows(view, width, bytes.data(), 0, shape[0]);
  view = dense_view(nullptr, shape);
  view.owned = std::move(bytes);
  view.data = view.owned.data();
}

int width_of(DType dtype) {
  int bits = bit_width(dtype);
  LPD_CHECK(bits >= 8, "transforms of packed {} constants", name_of(dtype));
  return bits / 8;
}

void convert_elements(View& view, DType from, DType to) {
  make_dense(view, width_of(from));
  int64_t count = static_cast<int64_t>(view.owned.size()) / width_of(from);
  std::vector<std::byte> bytes(static_cast<size_t>(*byte_size(to, count)));
  for (int64_t i = 0; i < count; ++i) store_scalar(convert(load_scalar(from, view.data, i), to), bytes.data(), i);
  view.owned = std::move(bytes);
  view.data = view.owned.data();
}

void scale_elements(View& view, DType dtype, size_t axis, const std::vector<Scalar>& factors) {
  make_dense(view, width_of(dtype));
  int64_t inner = view.axes[axis].stride, extent = view.axes[axis].extent;
  int64_t count = static_cast<int64_t>(view.owned.size()) / width_of(dtype);
  for (int64_t i = 0; i < count; ++i) {
    double factor = factors[static_cast<size_t>(i / inner % extent)].number;
    if (dtype == DType::F32) reinterpret_cast<float*>(view.owned.data())[i] *= static_cast<float>(factor);
    else store_scalar(Scalar::of_float(dtype, round_to(dtype, load_scalar(dtype, view.data, i).number * factor)), view.owned.data(), i);
  }
}

// U[a·a][O/block][I'][block] = G w Gᵀ of the 3×3 filters w[O][I], computed in double.
void winograd_elements(View& view, DType dtype, const Transform& transform) {
  LPD_CHECK(dtype == DType::F32, "Winograd weights of {}", name_of(dtype));
  make_dense(view, 4);
  const WinogradMatrices& matrices = winograd_matrices(static_cast<int>(transform.shape[0]));
  int n = matrices.inputs;
  int64_t outputs = view.axes[0].extent, inputs = view.axes[1].extent, block = transform.block;
  int64_t padded = (inputs + transform.shape[1] - 1) / transform.shape[1] * transform.shape[1], panels = (outputs + block - 1) / block;
  std::vector<std::byte> bytes(static_cast<size_t>(n * n * panels * padded * block * 4));
  float* u = reinterpret_cast<float*>(bytes.data());
  const float* w = reinterpret_cast<const float*>(view.data);
  for (int64_t o = 0; o < outputs; ++o) {
    for (int64_t i = 0; i < inputs; ++i, w += 9) {
      double half[6][3];
      for (int a = 0; a < n; ++a) {
        for (int k = 0; k < 3; ++k) half[a][k] = matrices.g[a][0] * w[k] + matrices.g[a][1] * w[3 + k] + matrices.g[a][2] * w[6 + k];
      }
      for (int a = 0; a < n; ++a) {
        for (int b = 0; b < n; ++b) {
          double value = half[a][0] * matrices.g[b][0] + half[a][1] * matrices.g[b][1] + half[a][2] * matrices.g[b][2];
          u[(((a * n + b) * panels + o / block) * padded + i) * block + o % block] = static_cast<float>(value);
        }
      }
    }
  }
  view = dense_view(nullptr, {int64_t{n} * n, panels, padded, block});
  view.owned = std::move(bytes);
  view.data = view.owned.data();
}

void pad_axes(View& view, const std::vector<int64_t>& shape) {
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis] == view.axes[axis].extent) continue;
    View::Bound bound{std::vector<int64_t>(shape.size(), 0), view.axes[axis].extent};
    bound.weights[axis] = 1;
    view.axes[axis].extent = shape[axis];
    view.bounds.push_back(std::move(bound));
  }
}

void permute(View& view, const std::vector<int64_t>& order) {
  auto permuted = [&](const auto& old) {
    auto result = old;
    for (size_t i = 0; i < order.size(); ++i) result[i] = old[static_cast<size_t>(order[i])];
    return result;
  };
  view.axes = permuted(view.axes);
  for (View::Bound& bound : view.bounds) bound.weights = permuted(bound.weights);
}

void apply_transform(View& view, DType& dtype, const Transform& transform, const ConstantTable& table) {
  switch (transform.kind) {
    case Transform::Kind::Convert:
      convert_elements(view, dtype, transform.dtype);
      dtype = transform.dtype;
      return;
    case Transform::Kind::Transpose:
      return permute(view, transform.axes);
    case Transform::Kind::Reshape: {
      if (!view.bounds.empty()) make_dense(view, width_of(dtype));
      std::optional<std::vector<Axis>> axes = reshaped(view.axes, transform.shape);
      if (!axes) {
        make_dense(view, width_of(dtype));
        axes = reshaped(view.axes, transform.shape);
      }
      LPD_CHECK(axes.has_value(), "a constant cannot be reshaped");
      view.axes = std::move(*axes);
      return;
    }
    case Transform::Kind::Pad:
      return pad_axes(view, transform.shape);
    case Transform::Kind::Scale:
      return scale_elements(view, dtype, static_cast<size_t>(transform.axes[0]), table.scalars_of(transform.other));
    case Transform::Kind::PackPanels:   // [K, N] → [N/block][K][block]
      split_axis(view, 1, transform.block);
      return permute(view, {1, 0, 2});
    case Transform::Kind::PackConv: {   // [O, I, k…] → [O/block][I/iblock][k…][iblock][block]
      split_axis(view, 1, transform.shape[0]);
      split_axis(view, 0, transform.block);
      return;
    }
    case Transform::Kind::Winograd:
      return winograd_elements(view, dtype, transform);
  }
}

bool needs_copy(const Constant& constant) {
  for (const Transform& transform : constant.transforms) {
    switch (transform.kind) {
      case Transform::Kind::Convert: case Transform::Kind::Reshape: case Transform::Kind::Scale: case Transform::Kind::Winograd:
        return true;
      case Transform::Kind::Transpose: case Transform::Kind::Pad: case Transform::Kind::PackPanels: case Transform::Kind::PackConv:
        break;
    }
  }
  return false;
}

// Normal numbers from a counter (SplitMix64 and Box-Muller): the i-th depends on seed and i alone.
double seeded_normal(uint64_t seed, uint64_t i) {
  auto uniform = [](uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    x ^= x >> 31;
    return (static_cast<double>(x >> 11) + 0.5) * 0x1p-53;
  };
  uint64_t base = seed * 0x2545f4914f6cdd1du + 2 * i;
  return std::sqrt(-2 * std::log(uniform(base))) * std::cos(6.283185307179586 * uniform(base + 1));
}

View source_view(const Constant& constant) {
  if (const auto* bytes = std::get_if<ByteSource>(&constant.source)) {
    return dense_view(bytes->bytes.data(), constant.source_shape);
  }
  int64_t count = 1;
  for (int64_t extent : constant.source_shape) count *= extent;
  View view = dense_view(nullptr, constant.source_shape);
  view.owned.resize(static_cast<size_t>(*byte_size(constant.source_dtype, count)));
  for (int64_t i = 0; i < count; ++i) {
    Scalar value;
    if (const auto* splat = std::get_if<Splat>(&constant.source)) {
      value = splat->value;
    } else {
      const Seeded& seeded = std::get<Seeded>(constant.source);
      double number = seeded.mean + seeded.deviation * seeded_normal(seeded.seed, static_cast<uint64_t>(i));
      value = convert(Scalar::of_float(DType::F64, number), constant.source_dtype);
    }
    store_scalar(value, view.owned.data(), i);
  }
  view.data = view.owned.data();
  return view;
}

}  // namespace

void ConstantTable::materialize(ConstantId id, std::span<std::byte> out, int part, int parts) const {
  const Constant& constant = (*this)[id];
  LPD_CHECK(static_cast<int64_t>(out.size()) == constant.bytes());
  bool whole = parts == 1 || needs_copy(constant) || constant.shape.empty() || !std::holds_alternative<ByteSource>(constant.source);
  if (whole && part != 0) return;
  View view = source_view(constant);
  if (constant.transforms.empty() && whole) {
    if (!out.empty()) std::memcpy(out.data(), view.data, out.size());
    return;
  }
  DType dtype = constant.source_dtype;
  for (const Transform& transform : constant.transforms) apply_transform(view, dtype, transform, *this);
  if (constant.elements() == 0) return;
  if (view.axes.empty()) {
    std::memcpy(out.data(), view.data, out.size());
    return;
  }
  if (view.owned.size() == out.size() && view.bounds.empty() && view.axes.size() == dense_view(nullptr, constant.shape).axes.size() &&
      std::equal(view.axes.begin(), view.axes.end(), dense_view(nullptr, constant.shape).axes.begin(),
                 [](const Axis& a, const Axis& b) { return a.extent == b.extent && (a.stride == b.stride || a.extent == 1); })) {
    std::memcpy(out.data(), view.data, out.size());
    return;
  }
  int64_t rows = view.axes[0].extent;
  int64_t begin = whole ? 0 : rows * part / parts, end = whole ? rows : rows * (part + 1) / parts;
  copy_rows(view, width_of(dtype), out.data(), begin, end);
}

}  // namespace lapidary
