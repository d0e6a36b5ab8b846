// Discrete Fourier transforms as matrix products: a transform of n real numbers to m complex ones is a matrix [n, 2m].
// Long ones of composite length are split, n = a · b: transforms of length a, a product with the twiddle factors,
// transforms of length b (Cooley and Tukey 1965). The cost of a length is n times the sum of what it is split into.
// Long lengths without small factors are a convolution with a chirp, done by transforms of a power of two (Bluestein
// 1970).
#include <cmath>
#include <complex>
#include <numbers>

#include "frontend/ops/common.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

constexpr int64_t kMostDirect = 512;      // a product with the whole matrix is faster
constexpr int64_t kMostLength = 1 << 20;  // tables of that many numbers

class Fourier {
 public:
  Fourier(GraphBuilder& build, DType dtype, bool inverse) : build_(build), dtype_(dtype), sign_(inverse ? 1 : -1) {}

  // x [batch, rows, parts] with parts 1 (real) or 2 → [batch, columns, 2]: Σ x[j] · e^(±2πi·jk/length), k < columns.
  Value* transform(Value* x, int64_t rows, int64_t columns, int64_t length) {
    if (length <= kMostDirect) return direct(x, rows, columns, length);
    const int64_t factor = factor_of(length);
    Value* whole = factor > 1 ? split(padded(x, rows, length), length, factor) : chirped(x, rows, length);
    return build_.slice_axis(whole, 1, build_.dim(0), build_.dim(columns));
  }

  // The real part of that, of a spectrum that goes on conjugate beyond `rows`: [batch, columns, 1].
  Value* real_inverse(Value* x, int64_t rows, int64_t columns) {
    if (columns > kMostDirect) {
      Value* whole = build_.div(transform(mirrored(x, rows, columns), columns, columns, columns),
                                build_.like(x, static_cast<double>(columns)));
      return build_.slice_axis(whole, 2, build_.dim(0), build_.dim(1));
    }
    const auto entry = [&](int64_t j, int64_t part, int64_t k, int64_t) {
      const double twice = j == 0 || 2 * j == columns ? 1 : 2, angle = this->angle(j, k, columns);
      return twice * (part == 0 ? std::cos(angle) : -std::sin(angle)) / static_cast<double>(columns);
    };
    return product(x, rows, columns, 1, entry);
  }

  double angle(int64_t j, int64_t k, int64_t length) const {
    return sign_ * 2 * std::numbers::pi * static_cast<double>(j * k % length) / static_cast<double>(length);
  }

 private:
  // With zeros behind.
  Value* padded(Value* x, int64_t rows, int64_t length) {
    const Dim none = build_.dim(0);
    return build_.pad(x, {none, none, none}, {none, build_.dim(length - rows), none});
  }

  template <typename Entry>
  Value* product(Value* x, int64_t rows, int64_t columns, int64_t out_parts, Entry entry) {
    const int64_t parts = *value_of(x->type.shape[2]);
    std::vector<Scalar> numbers;
    numbers.reserve(static_cast<size_t>(rows * parts * columns * out_parts));
    for (int64_t j = 0; j < rows; ++j)
      for (int64_t part = 0; part < parts; ++part)
        for (int64_t k = 0; k < columns; ++k)
          for (int64_t out = 0; out < out_parts; ++out)
            numbers.push_back(Scalar::of_float(dtype_, round_to(dtype_, entry(j, part, k, out))));
    Value* matrix = constant({rows * parts, columns * out_parts}, numbers);
    Dim batch = x->type.shape[0];
    Value* y = build_.contract(build_.reshape(x, {batch, build_.dim(rows * parts)}), matrix, "bj,jk->bk");
    return build_.reshape(y, {batch, build_.dim(columns), build_.dim(out_parts)});
  }

  Value* direct(Value* x, int64_t rows, int64_t columns, int64_t length) {
    return product(x, rows, columns, 2, [&](int64_t j, int64_t part, int64_t k, int64_t out) {
      const double angle = this->angle(j, k, length);
      if (part == out) return std::cos(angle);
      return part == 0 ? std::sin(angle) : -std::sin(angle);
    });
  }

  Value* constant(std::vector<int64_t> shape, const std::vector<Scalar>& numbers) {
    return build_.constant(build_.module.constants.add_scalars(dtype_, std::move(shape), numbers));
  }

  // The largest factor of up to 64, 1 if there is none.
  static int64_t factor_of(int64_t length) {
    for (int64_t factor = 64; factor > 1; --factor)
      if (length % factor == 0) return factor;
    return 1;
  }

  // j = b·j1 + j2, k = k1 + a·k2.
  Value* split(Value* x, int64_t length, int64_t a) {
    const int64_t b = length / a;
    Dim batch = x->type.shape[0], parts = x->type.shape[2], lines = build_.module.dims.mul(batch, build_.dim(b));
    Value* rows = build_.transpose(build_.reshape(x, {batch, build_.dim(a), build_.dim(b), parts}), {0, 2, 1, 3});
    Value* y = transform(build_.reshape(rows, {lines, build_.dim(a), parts}), a, a, a);
    y = turned(build_.reshape(y, {batch, build_.dim(b), build_.dim(a), build_.dim(2)}), length);
    y = build_.transpose(y, {0, 2, 1, 3});  // [batch, k1, j2]
    Value* z = transform(
        build_.reshape(y, {build_.module.dims.mul(batch, build_.dim(a)), build_.dim(b), build_.dim(2)}), b, b, b);
    z = build_.transpose(build_.reshape(z, {batch, build_.dim(a), build_.dim(b), build_.dim(2)}), {0, 2, 1, 3});
    return build_.reshape(z, {batch, build_.dim(length), build_.dim(2)});
  }

  // y [batch, j2, k1, 2] · e^(±2πi·j2·k1/length)
  Value* turned(Value* y, int64_t length) {
    const int64_t b = *value_of(y->type.shape[1]), a = *value_of(y->type.shape[2]);
    std::vector<std::complex<double>> factors;
    for (int64_t j = 0; j < b; ++j)
      for (int64_t k = 0; k < a; ++k) factors.push_back(std::polar(1.0, angle(j, k, length)));
    return times(y, {b, a, 1}, factors);
  }

  // Complex numbers, along the last axis of y, times those of a table.
  Value* times(Value* y, const std::vector<int64_t>& shape, const std::vector<std::complex<double>>& table) {
    std::vector<Scalar> numbers[2];
    for (const std::complex<double>& number : table) {
      numbers[0].push_back(Scalar::of_float(dtype_, round_to(dtype_, number.real())));
      numbers[1].push_back(Scalar::of_float(dtype_, round_to(dtype_, number.imag())));
    }
    const int last = y->type.rank() - 1;
    Value *a = constant(shape, numbers[0]), *b = constant(shape, numbers[1]);
    const auto part = [&](int64_t i) { return build_.slice_axis(y, last, build_.dim(i), build_.dim(1)); };
    Value* real = part(0);
    if (value_of(y->type.shape.back()) == 1) return build_.concat({build_.mul(real, a), build_.mul(real, b)}, last);
    Value* imaginary = part(1);
    return build_.concat({build_.sub(build_.mul(real, a), build_.mul(imaginary, b)),
                          build_.add(build_.mul(real, b), build_.mul(imaginary, a))},
                         last);
  }

  // jk = (j² + k² - (k - j)²) / 2: x times a chirp, convolved with the conjugate chirp, times the chirp.
  Value* chirped(Value* x, int64_t rows, int64_t length) {
    int64_t size = 1;
    while (size < 2 * length - 1) size *= 2;
    std::vector<std::complex<double>> chirp, wave(static_cast<size_t>(size));
    for (int64_t j = 0; j < length; ++j) chirp.push_back(std::polar(1.0, angle(j, j, 2 * length)));
    for (int64_t j = 0; j < length; ++j) wave[j] = wave[(size - j) % size] = std::conj(chirp[j]);
    const std::vector<std::complex<double>> head(chirp.begin(), chirp.begin() + rows);
    Value* y = padded(times(x, {rows, 1}, head), rows, size);
    Fourier there(build_, dtype_, false), back(build_, dtype_, true);
    y = there.transform(y, size, size, size);
    spectrum(wave);
    for (std::complex<double>& number : wave) number /= static_cast<double>(size);
    y = back.transform(times(y, {size, 1}, wave), size, size, size);
    return times(build_.slice_axis(y, 1, build_.dim(0), build_.dim(length)), {length, 1}, chirp);
  }

  // The transform of a power of two numbers, in place.
  static void spectrum(std::vector<std::complex<double>>& x) {
    const size_t half = x.size() / 2;
    if (half == 0) return;
    std::vector<std::complex<double>> even, odd;
    for (size_t i = 0; i < half; ++i) even.push_back(x[2 * i]), odd.push_back(x[2 * i + 1]);
    spectrum(even), spectrum(odd);
    for (size_t k = 0; k < half; ++k) {
      const auto turn =
          std::polar(1.0, -std::numbers::pi * static_cast<double>(k) / static_cast<double>(half)) * odd[k];
      x[k] = even[k] + turn, x[k + half] = even[k] - turn;
    }
  }

  // All `length` numbers of a spectrum that goes on conjugate beyond length/2, of which x has the first `rows`.
  Value* mirrored(Value* x, int64_t rows, int64_t length) {
    const Dim none = build_.dim(0);
    const int64_t half = length / 2 + 1, rest = length - half;
    if (value_of(x->type.shape[2]) == 1) x = build_.pad(x, {none, none, none}, {none, none, build_.dim(1)});
    x = padded(x, rows, half);
    if (rest == 0) return x;
    Value* back = build_.slice(x, {none, build_.dim(rest), none}, {1, -1, 1},
                               {x->type.shape[0], build_.dim(rest), build_.dim(2)});
    Value* real = build_.slice_axis(back, 2, none, build_.dim(1));
    Value* imaginary = build_.neg(build_.slice_axis(back, 2, build_.dim(1), build_.dim(1)));
    return build_.concat({x, build_.concat({real, imaginary}, 2)}, 1);
  }

  GraphBuilder& build_;
  const DType dtype_;
  const double sign_;
};

int64_t known_length(Dim length) {
  auto known = value_of(length);
  if (!known)
    unsupported("a transform whose length depends on the shapes of the model's inputs ({})", to_string(length));
  if (*known < 1) fail("a transform of length {}", *known);
  if (*known > kMostLength) unsupported("a transform of length {}", *known);
  return *known;
}

// Along `axis` of x [..., parts], as rows of a matrix and back.
template <typename Compute>
Value* along_axis(GraphBuilder& build, Value* x, int axis, Compute compute) {
  const int rank = x->type.rank();
  std::vector<int64_t> there, back(static_cast<size_t>(rank));
  for (int i = 0; i + 1 < rank; ++i)
    if (i != axis) there.push_back(i);
  there.push_back(axis);
  there.push_back(rank - 1);
  for (int i = 0; i < rank; ++i) back[static_cast<size_t>(there[static_cast<size_t>(i)])] = i;
  Value* moved = build.transpose(x, there);
  Shape shape = moved->type.shape;
  Dim batch = build.module.dims.product(std::span(shape).first(shape.size() - 2));
  Value* y = compute(build.reshape(moved, {batch, shape[shape.size() - 2], shape.back()}));
  shape[shape.size() - 2] = y->type.shape[1], shape.back() = y->type.shape[2];
  return build.transpose(build.reshape(y, shape), back);
}

Value* cropped(GraphBuilder& build, Value* x, int64_t rows) {
  return known_equal(x->type.shape[1], build.dim(rows)) ? x : build.slice_axis(x, 1, build.dim(0), build.dim(rows));
}

int64_t parts_of(const Value* x) {
  auto parts = value_of(x->type.shape.back());
  if (!parts) unsupported("a last axis of unknown extent: real numbers or complex ones");
  if (*parts != 1 && *parts != 2) fail("the last axis of {} is neither 1 (real) nor 2 (complex)", to_string(x->type));
  return *parts;
}

Values dft(Node& node) {
  const int rank = node.rank();
  if (rank < 2) fail("input has rank {}, expected 2 or more", rank);
  const int64_t given = node.version >= 20 ? (node.input(2) ? node.constant(2) : -2) : node.integer("axis");
  const int axis = normalized_axis(given, rank);
  if (axis == rank - 1) fail("axis {} is that of the complex parts", given);
  const bool inverse = node.integer("inverse") != 0, onesided = node.integer("onesided") != 0;
  const int64_t extent = known_length(node.type(0).shape[static_cast<size_t>(axis)]);
  const int64_t length = node.input(1)         ? known_length(node.extent(1))
                         : inverse && onesided ? known_length(node.dims().constant(2 * (extent - 1)))
                                               : extent;
  parts_of(node.input(0));
  GraphBuilder& build = node.build;
  return {in_float32(node, node.input(0), [&](Value* x) {
    Fourier fourier(build, x->type.dtype, inverse);
    return along_axis(build, x, axis, [&](Value* y) {
      if (inverse && onesided) {
        const int64_t rows = std::min(extent, length / 2 + 1);
        return fourier.real_inverse(cropped(build, y, rows), rows, length);
      }
      const int64_t rows = std::min(extent, length);
      Value* z = fourier.transform(cropped(build, y, rows), rows, onesided ? length / 2 + 1 : length, length);
      return inverse ? build.div(z, build.like(z, static_cast<double>(length))) : z;
    });
  })};
}

// Frames of the signal, one every frame_step elements, times the window, transformed.
Values stft(Node& node) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  Value *signal = node.input(0), *window = node.input(2);
  if (node.rank() != 2 && node.rank() != 3) fail("signal has rank {}, expected 3", node.rank());
  if (node.rank() == 2) signal = build.expand_axes(signal, {2});
  parts_of(signal);
  Dim step = node.extent(1), total = signal->type.shape[1];
  if (range(step).hi < 1) fail("frame_step {}", to_string(step));
  const int64_t length = known_length(node.input(3) ? node.extent(3) : window ? window->type.shape[0] : total);
  if (window && known_unequal(window->type.shape[0], dims.constant(length)))
    fail("a window of {} elements for frames of {}", to_string(window->type.shape[0]), length);
  if (value_of(dims.less(total, dims.constant(length))) == 1)
    fail("frames of {} elements in a signal of {}", length, to_string(total));
  const bool onesided = node.integer("onesided") != 0;
  Dim frames = dims.add(dims.floordiv(dims.sub(total, dims.constant(length)), dims.max(step, dims.constant(1))),
                        dims.constant(1));
  Value* first =
      build.mul(build.iota(DType::I64, {frames, dims.constant(1)}, 0), build.dims_tensor({step}, {}, DType::I64));
  Value* places = build.add(first, build.iota(DType::I64, {dims.constant(length)}, 0));
  return {in_float32(node, signal, [&](Value* x) {
    Value* framed = build.gather(x, places, 1, true);  // [batch, frames, length, parts]
    if (window)
      framed = build.mul(
          framed, build.reshape(build.convert(window, x->type.dtype), {dims.constant(length), dims.constant(1)}));
    Fourier fourier(build, x->type.dtype, false);
    return along_axis(build, framed, 2, [&](Value* y) {
      return fourier.transform(y, length, onesided ? length / 2 + 1 : length, length);
    });
  })};
}

constexpr OpEntry kOps[] = {{"DFT", dft}, {"STFT", stft}};

}  // namespace

std::span<const OpEntry> signal_ops() { return kOps; }

}  // namespace lapidary::frontend
