// Produces a constant's final bytes. As long as transforms only move or scale elements they are one view of the source
// (constant_view.h), read and written once, in parts by the rows of the result; Winograd's transform works in parts by
// panels. What else changes elements (conversions, types below a byte, reshapes that no view expresses) goes through a
// dense copy of that one constant, made by part 0 alone.
//
// Measured on Zen5, one thread: panels of a transposed f32 matrix 5 GB/s, scaled and packed convolutions 4 GB/s.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>

#include "ir/constant.h"
#include "ir/constant_view.h"
#include "ir/error.h"
#include "ir/small_floats.h"
#include "ir/winograd.h"

namespace lapidary {
namespace {

using Bytes = std::vector<std::byte>;

// While a constant is worked on, elements of less than a byte have one each, at its low end.
int width_of(DType dtype) {
  int bits = bit_width(dtype);
  LPD_CHECK(bits > 0 && bits <= 64, "constants of {}", name_of(dtype));
  return std::max(bits / 8, 1);
}
bool is_packed(DType dtype) { return bit_width(dtype) < 8; }

Scalar load_element(DType dtype, const std::byte* data, int64_t index) {
  return is_packed(dtype) ? load_scalar(dtype, data + index, 0) : load_scalar(dtype, data, index);
}
void store_element(const Scalar& value, std::byte* data, int64_t index) {
  if (is_packed(value.dtype))
    store_scalar(value, data + index, 0);
  else
    store_scalar(value, data, index);
}

// --- transforms that a view takes --------------------------------------------------------------------------------

bool apply_to_view(View& view, DType dtype, const Transform& transform, const ConstantTable& table) {
  switch (transform.kind) {
    case Transform::Kind::Transpose:
      view.transpose(transform.axes);
      return true;
    case Transform::Kind::Reshape:
      return view.reshape(transform.shape);
    case Transform::Kind::Pad:
      view.pad(transform.shape);
      return true;
    case Transform::Kind::Scale: {
      if (dtype != DType::F32) return false;
      std::vector<float> factors;
      for (const Scalar& factor : table.scalars_of(transform.other))
        factors.push_back(static_cast<float>(factor.number));
      view.scale(static_cast<size_t>(transform.axes[0]), std::move(factors));
      return true;
    }
    case Transform::Kind::PackPanels:  // [K, N] → [N/block][K][block]
      view.split(1, transform.block);
      view.transpose({1, 0, 2});
      return true;
    case Transform::Kind::PackConv:  // [O, I, k…] → [O/block][I/iblock][k…][iblock][block]
      view.split(1, transform.shape[0]);
      view.split(0, transform.block);
      return true;
    case Transform::Kind::PackDots:  // [K, N] → [N/block][K/4][block][4]
      view.split(1, transform.block);
      view.split(0, 4);
      view.transpose({1, 0, 2, 3});
      return true;
    case Transform::Kind::PackConvDots: {  // [O, I, k…] → [O/block][I/iblock][k…][iblock/4][block][4]
      view.split(1, transform.shape[0]);
      view.split(view.axes.size() - 1, 4);
      view.split(0, transform.block);
      std::vector<int64_t> order(view.axes.size());
      std::iota(order.begin(), order.end(), 0);
      std::swap(order[order.size() - 2], order[order.size() - 1]);
      view.transpose(order);
      return true;
    }
    case Transform::Kind::Sums:
    case Transform::Kind::Convert:
    case Transform::Kind::SpreadGroups:
    case Transform::Kind::Winograd:
    case Transform::Kind::WinogradAxis:
      return false;
  }
  LPD_UNREACHABLE();
}

// How many of the transforms `view` has taken.
size_t apply_to_view(View& view, const Constant& constant, const ConstantTable& table) {
  if (is_packed(constant.source_dtype)) return 0;
  size_t taken = 0;
  while (taken < constant.transforms.size() &&
         apply_to_view(view, constant.source_dtype, constant.transforms[taken], table))
    taken++;
  return taken;
}

// --- transforms of elements --------------------------------------------------------------------------------------

// A dense constant in the making: `view` is of `bytes` or of the source.
struct Work {
  View view;
  DType dtype;
  Bytes bytes;

  void make_dense() {
    Bytes dense(static_cast<size_t>(view.elements() * view.width));
    view.copy(dense.data());
    become(dtype, view.shape(), std::move(dense));
  }
  void become(DType new_dtype, const std::vector<int64_t>& shape, Bytes new_bytes) {
    dtype = new_dtype;
    bytes = std::move(new_bytes);
    view = View::dense(bytes.data(), width_of(dtype), shape);
  }
};

// All 65 536 values of a 16-bit float, for constants where that is less than converting each element.
Bytes widened(DType from, const std::byte* data, int64_t count) {
  std::vector<float> values(1 << 16);
  for (uint32_t code = 0; code < values.size(); code++)
    values[code] = static_cast<float>(decode_small_float(from, code));
  Bytes result(static_cast<size_t>(count) * 4);
  for (int64_t i = 0; i < count; i++) {
    uint16_t code;
    std::memcpy(&code, data + i * 2, 2);
    std::memcpy(result.data() + i * 4, &values[code], 4);
  }
  return result;
}

void convert_elements(Work& work, DType to) {
  work.make_dense();
  int64_t count = work.view.elements();
  bool is_half = work.dtype == DType::F16 || work.dtype == DType::BF16;
  if (is_half && to == DType::F32 && count > 1 << 16)
    return work.become(to, work.view.shape(), widened(work.dtype, work.view.data, count));
  Bytes result(static_cast<size_t>(count * width_of(to)));
  for (int64_t i = 0; i < count; i++)
    store_element(convert(load_element(work.dtype, work.view.data, i), to), result.data(), i);
  work.become(to, work.view.shape(), std::move(result));
}

// As i64.
void add_to_elements(Work& work, int64_t number) {
  convert_elements(work, DType::I64);
  for (int64_t i = 0; i < work.view.elements(); i++) {
    const int64_t sum = load_element(DType::I64, work.bytes.data(), i).integer + number;
    store_element(Scalar::of_integer(DType::I64, sum), work.bytes.data(), i);
  }
}

void scale_elements(Work& work, size_t axis, const std::vector<Scalar>& factors) {
  work.make_dense();
  int64_t inner = work.view.axes[axis].stride, extent = work.view.axes[axis].extent, count = work.view.elements();
  for (int64_t i = 0; i < count; i++) {
    std::array<Scalar, 2> both = {load_element(work.dtype, work.view.data, i),
                                  factors[static_cast<size_t>(i / inner % extent)]};
    store_element(evaluate(ScalarOp::Mul, both), work.bytes.data(), i);
  }
}

void sum_elements(Work& work, size_t axis) {
  work.make_dense();
  const int64_t inner = work.view.axes[axis].stride, extent = work.view.axes[axis].extent, count = work.view.elements();
  std::vector<int64_t> sums(static_cast<size_t>(extent));
  for (int64_t i = 0; i < count; i++)
    sums[static_cast<size_t>(i / inner % extent)] += load_element(work.dtype, work.view.data, i).integer;
  Bytes result(static_cast<size_t>(extent) * 4);
  for (int64_t i = 0; i < extent; i++)
    store_element(convert(Scalar::of_integer(DType::I64, sums[static_cast<size_t>(i)]), DType::I32), result.data(), i);
  work.become(DType::I32, {extent}, std::move(result));
}

void spread_groups(Work& work, const Transform& transform) {
  work.make_dense();
  std::vector<int64_t> shape = work.view.shape();
  const int64_t outputs = shape[0], inputs = shape[1], width = transform.shape[1];
  int64_t bytes = width_of(work.dtype);  // of a channel's taps
  for (size_t axis = 2; axis < shape.size(); axis++) bytes *= shape[axis];
  shape[1] = width;
  Bytes result(static_cast<size_t>(outputs * width * bytes));
  for (int64_t o = 0; o < outputs; o++) {
    const int64_t to = o / transform.shape[0] * inputs - transform.axes[static_cast<size_t>(o / transform.block)];
    LPD_CHECK(to >= 0 && to + inputs <= width, "channels of a group at {} of {}", to, width);
    std::copy_n(work.bytes.data() + o * inputs * bytes, inputs * bytes, result.data() + (o * width + to) * bytes);
  }
  work.become(work.dtype, shape, std::move(result));
}

// --- Winograd ----------------------------------------------------------------------------------------------------

constexpr int kLargestTile = 6, kLanes = 16;

// Rows of G times `from` [3][columns], each entry of kLanes numbers: to [n][columns].
void times_g(const Matrix& g, int columns, const double (*from)[kLanes], double (*to)[kLanes]) {
  for (size_t a = 0; a < g.size(); a++)
    for (int column = 0; column < columns; column++)
      for (int lane = 0; lane < kLanes; lane++)
        to[a * columns + column][lane] = g[a][0] * from[column][lane] + g[a][1] * from[columns + column][lane] +
                                         g[a][2] * from[2 * columns + column][lane];
}

// U = G w Gᵀ of kLanes filters: w [3·3][kLanes], u [n·n][kLanes].
void transform_filters(const Matrix& g, const double (*w)[kLanes], double (*u)[kLanes]) {
  double half[kLargestTile * 3][kLanes], turned[kLargestTile * 3][kLanes], columns[kLargestTile * kLargestTile][kLanes];
  int n = static_cast<int>(g.size());
  times_g(g, 3, w, half);
  for (int a = 0; a < n; a++)
    for (int k = 0; k < 3; k++) std::copy_n(half[a * 3 + k], kLanes, turned[k * n + a]);
  times_g(g, n, turned, columns);  // [b][a]
  for (int a = 0; a < n; a++)
    for (int b = 0; b < n; b++) std::copy_n(columns[b * n + a], kLanes, u[a * n + b]);
}

// Fills panels [begin, end) of out [n·n][O/block][I'][block] from dense filters [O][I][3][3], in double.
void fill_winograd_square(const float* filters, const std::vector<int64_t>& shape, const Transform& transform,
                          float* out, int64_t begin, int64_t end) {
  const Matrix& g = winograd_matrices(static_cast<int>(transform.shape[0]), 3).g;
  int64_t outputs = shape[0], inputs = shape[1], block = transform.block,
          points = static_cast<int64_t>(g.size() * g.size());
  int64_t panels = (outputs + block - 1) / block, unit = transform.shape[1];
  int64_t padded = (inputs + unit - 1) / unit * unit;
  double w[9][kLanes], u[kLargestTile * kLargestTile][kLanes];
  for (int64_t panel = begin; panel < end; panel++) {
    for (int64_t i = 0; i < padded; i++) {
      for (int64_t start = 0; start < block; start += kLanes) {
        int64_t lanes = std::min<int64_t>(kLanes, block - start);
        for (int64_t lane = 0; lane < kLanes; lane++) {
          int64_t o = panel * block + start + lane;
          bool inside = lane < lanes && o < outputs && i < inputs;
          for (int64_t k = 0; k < 9; k++) w[k][lane] = inside ? filters[(o * inputs + i) * 9 + k] : 0;
        }
        transform_filters(g, w, u);
        for (int64_t point = 0; point < points; point++) {
          float* to = out + ((point * panels + panel) * padded + i) * block + start;
          for (int64_t lane = 0; lane < lanes; lane++) to[lane] = static_cast<float>(u[point][lane]);
        }
      }
    }
  }
}

// The same of out [points][O/block][b][groups][I'][block] from dense filters [O][I][b][a].
void fill_winograd_axis(const float* filters, const std::vector<int64_t>& shape, const Transform& transform, float* out,
                        int64_t begin, int64_t end) {
  const WinogradMatrices& matrices =
      winograd_matrices(static_cast<int>(transform.shape[0]), static_cast<int>(transform.shape[1]));
  const int64_t outputs = shape[0], inputs = shape[1], rows = shape[2], taps = shape[3], block = transform.block,
                unit = transform.shape[2], padded = (inputs + unit - 1) / unit * unit,
                groups = (taps + matrices.taps - 1) / matrices.taps, panels = (outputs + block - 1) / block;
  for (int64_t point = 0; point < matrices.inputs; point++) {
    const std::vector<double>& g = matrices.g[static_cast<size_t>(point)];
    float* to = out + (point * panels + begin) * rows * groups * padded * block;
    for (int64_t panel = begin; panel < end; panel++)
      for (int64_t row = 0; row < rows; row++)
        for (int64_t group = 0; group < groups; group++)
          for (int64_t i = 0; i < padded; i++)
            for (int64_t lane = 0; lane < block; lane++, to++) {
              const int64_t o = panel * block + lane, first = group * matrices.taps;
              double sum = 0;
              for (int64_t k = 0; k < matrices.taps && first + k < taps && o < outputs && i < inputs; k++)
                sum += g[static_cast<size_t>(k)] * filters[((o * inputs + i) * rows + row) * taps + first + k];
              *to = static_cast<float>(sum);
            }
  }
}

// Of either kind, in parts by panels: axis 1 of the result.
void fill_winograd(const float* filters, const std::vector<int64_t>& shape, const Transform& transform, float* out,
                   int64_t begin, int64_t end) {
  if (transform.kind == Transform::Kind::Winograd)
    fill_winograd_square(filters, shape, transform, out, begin, end);
  else
    fill_winograd_axis(filters, shape, transform, out, begin, end);
}

void winograd_elements(Work& work, const Transform& transform) {
  LPD_CHECK(work.dtype == DType::F32, "Winograd weights of {}", name_of(work.dtype));
  work.make_dense();
  const std::vector<int64_t> shape = shape_after(transform, work.view.shape());
  int64_t elements = 1;
  for (int64_t extent : shape) elements *= extent;
  Bytes result(static_cast<size_t>(elements) * 4);
  fill_winograd(reinterpret_cast<const float*>(work.bytes.data()), work.view.shape(), transform,
                reinterpret_cast<float*>(result.data()), 0, shape[1]);
  work.become(DType::F32, shape, std::move(result));
}

void apply_to_elements(Work& work, const Transform& transform, const ConstantTable& table) {
  if (apply_to_view(work.view, work.dtype, transform, table)) return;
  switch (transform.kind) {
    case Transform::Kind::Convert:
      if (!transform.shape.empty()) add_to_elements(work, transform.shape[0]);
      return convert_elements(work, transform.dtype);
    case Transform::Kind::Scale:
      return scale_elements(work, static_cast<size_t>(transform.axes[0]), table.scalars_of(transform.other));
    case Transform::Kind::SpreadGroups:
      return spread_groups(work, transform);
    case Transform::Kind::Sums:
      return sum_elements(work, static_cast<size_t>(transform.axes[0]));
    case Transform::Kind::Winograd:
    case Transform::Kind::WinogradAxis:
      return winograd_elements(work, transform);
    case Transform::Kind::Reshape:
      work.make_dense();
      LPD_CHECK(work.view.reshape(transform.shape), "a constant cannot be reshaped");
      return;
    case Transform::Kind::Transpose:
    case Transform::Kind::Pad:
    case Transform::Kind::PackPanels:
    case Transform::Kind::PackConv:
    case Transform::Kind::PackDots:
    case Transform::Kind::PackConvDots:
      break;
  }
  LPD_UNREACHABLE("every view takes this transform");
}

// --- sources -----------------------------------------------------------------------------------------------------

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

Scalar source_element(const Constant& constant, int64_t index) {
  if (const auto* splat = std::get_if<Splat>(&constant.source)) return splat->value;
  if (const auto* bytes = std::get_if<ByteSource>(&constant.source))
    return load_scalar(constant.source_dtype, bytes->bytes.data(), index);
  const auto& seeded = std::get<Seeded>(constant.source);
  double number = seeded.mean + seeded.deviation * seeded_normal(seeded.seed, static_cast<uint64_t>(index));
  return convert(Scalar::of_float(DType::F64, number), constant.source_dtype);
}

bool lies_in_memory(const Constant& constant) {
  return std::holds_alternative<ByteSource>(constant.source) && !is_packed(constant.source_dtype);
}

const std::byte* source_bytes(const Constant& constant) { return std::get<ByteSource>(constant.source).bytes.data(); }

Bytes joined_bytes(const Joined& joined, const Constant& constant, const ConstantTable& table) {
  const std::vector<int64_t>& shape = constant.source_shape;
  const int64_t rows = std::accumulate(shape.begin(), shape.begin() + joined.axis, int64_t{1}, std::multiplies<>());
  const int64_t width =
      View::dense(nullptr, width_of(constant.source_dtype), shape).elements() / rows * width_of(constant.source_dtype);
  Bytes result(static_cast<size_t>(rows * width));
  std::byte* out = result.data();
  for (ConstantId id : joined.parts) {
    const Bytes part = table.bytes_of(id);
    const int64_t bytes = static_cast<int64_t>(part.size()) / rows;
    for (int64_t row = 0; row < rows; row++) std::copy_n(part.data() + row * bytes, bytes, out + row * width);
    out += bytes;
  }
  return result;
}

// The source, one element after the other: as it lies, or made.
Work source_of(const Constant& constant, const ConstantTable& table) {
  DType dtype = constant.source_dtype;
  Work work{{}, dtype, {}};
  if (lies_in_memory(constant)) {
    work.view = View::dense(source_bytes(constant), width_of(dtype), constant.source_shape);
    return work;
  }
  if (const auto* joined = std::get_if<Joined>(&constant.source)) {
    work.become(dtype, constant.source_shape, joined_bytes(*joined, constant, table));
    return work;
  }
  work.view = View::dense(nullptr, width_of(dtype), constant.source_shape);
  int64_t count = work.view.elements();
  Bytes bytes(static_cast<size_t>(count * width_of(dtype)));
  for (int64_t i = 0; i < count; i++) store_element(source_element(constant, i), bytes.data(), i);
  work.become(dtype, constant.source_shape, std::move(bytes));
  return work;
}

void materialize_alone(const Constant& constant, std::span<std::byte> out, const ConstantTable& table) {
  Work work = source_of(constant, table);
  for (const Transform& transform : constant.transforms) apply_to_elements(work, transform, table);
  if (!is_packed(constant.dtype)) return work.view.copy(out.data());
  work.make_dense();
  for (int64_t i = 0; i < work.view.elements(); i++)
    store_scalar(load_element(constant.dtype, work.view.data, i), out.data(), i);
}

}  // namespace

void ConstantTable::materialize(ConstantId id, std::span<std::byte> out, int part, int parts) const {
  const Constant& constant = (*this)[id];
  LPD_CHECK(static_cast<int64_t>(out.size()) == constant.bytes());
  LPD_CHECK(part >= 0 && part < parts);
  if (out.empty()) return;
  if (const auto* joined = std::get_if<Joined>(&constant.source);
      joined && joined->axis == 0 && constant.transforms.empty()) {
    for (ConstantId each : joined->parts) {
      const size_t bytes = static_cast<size_t>((*this)[each].bytes());
      materialize(each, out.first(bytes), part, parts);
      out = out.subspan(bytes);
    }
    return;
  }
  if (lies_in_memory(constant) && !constant.shape.empty()) {
    View view = View::dense(source_bytes(constant), width_of(constant.source_dtype), constant.source_shape);
    size_t taken = apply_to_view(view, constant, *this), all = constant.transforms.size();
    if (taken == all) {
      int64_t rows = constant.shape[0];
      return view.copy_rows(out.data(), rows * part / parts, rows * (part + 1) / parts);
    }
    const Transform& next = constant.transforms[taken];
    const bool winograd = next.kind == Transform::Kind::Winograd || next.kind == Transform::Kind::WinogradAxis;
    if (taken + 1 == all && winograd && constant.dtype == DType::F32) {
      std::vector<int64_t> shape = view.shape();
      int64_t panels = constant.shape[1], begin = panels * part / parts, end = panels * (part + 1) / parts;
      if (begin == end) return;
      std::vector<float> filters(static_cast<size_t>(view.elements()));
      view.copy_rows(reinterpret_cast<std::byte*>(filters.data()), begin * next.block,
                     std::min(end * next.block, shape[0]));
      return fill_winograd(filters.data(), shape, next, reinterpret_cast<float*>(out.data()), begin, end);
    }
  }
  if (part == 0) materialize_alone(constant, out, *this);
}

}  // namespace lapidary
