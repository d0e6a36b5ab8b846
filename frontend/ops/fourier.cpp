// A transform of n real numbers to m complex ones is a product with a matrix [n, 2m]. Long ones of composite length are
// split, n = a · b: transforms of length a, a product with the twiddle factors, transforms of length b (Cooley and
// Tukey 1965). The cost of a length is n times the sum of what it is split into. Long lengths without small factors are
// a convolution with a chirp, done by transforms of a power of two (Bluestein 1970). So are all lengths that only a run
// can tell, with the powers of two by halves in a loop (Stockham, see Cochran et al. 1967), whose tables the run
// computes.
#include "frontend/ops/fourier.h"

#include <cmath>
#include <numbers>

namespace lapidary::frontend {
namespace {

constexpr int64_t kMostDirect = 512;  // a product with the whole matrix is faster

// The largest factor of up to 64, 1 if there is none.
int64_t factor_of(int64_t length) {
  for (int64_t factor = 64; factor > 1; --factor)
    if (length % factor == 0) return factor;
  return 1;
}

// The transform of a power of two numbers, in place.
void spectrum(std::vector<std::complex<double>>& x) {
  const size_t half = x.size() / 2;
  if (half == 0) return;
  std::vector<std::complex<double>> even, odd;
  for (size_t i = 0; i < half; ++i) even.push_back(x[2 * i]), odd.push_back(x[2 * i + 1]);
  spectrum(even), spectrum(odd);
  for (size_t k = 0; k < half; ++k) {
    const auto turn = std::polar(1.0, -std::numbers::pi * static_cast<double>(k) / static_cast<double>(half)) * odd[k];
    x[k] = even[k] + turn, x[k + half] = even[k] - turn;
  }
}

int64_t rows_of(const Value* x) { return *value_of(x->type.shape[1]); }

}  // namespace

double Fourier::angle(int64_t j, int64_t k, int64_t length) const {
  return sign_ * 2 * std::numbers::pi * static_cast<double>(j * k % length) / static_cast<double>(length);
}

Value* Fourier::constant(std::vector<int64_t> shape, const std::vector<Scalar>& numbers) {
  return build_.constant(build_.module.constants.add_scalars(dtype_, std::move(shape), numbers));
}

// `length` rows, cut off or with zeros behind.
Value* Fourier::fitted(Value* x, Dim length) {
  DimPool& dims = build_.module.dims;
  const Dim rows = x->type.shape[1], none = build_.dim(0);
  if (known_equal(rows, length)) return x;
  const Dim kept = dims.min(rows, length);
  if (!known_equal(rows, kept)) x = build_.slice_axis(x, 1, none, kept);
  return build_.pad(x, {none, none, none}, {none, dims.sub(length, kept), none});
}

Value* Fourier::complex(Value* x) {
  const Dim none = build_.dim(0);
  return value_of(x->type.shape[2]) == 1 ? build_.pad(x, {none, none, none}, {none, none, build_.dim(1)}) : x;
}

// All `length` numbers of a spectrum that goes on conjugate beyond its first length/2 + 1.
Value* Fourier::mirrored(Value* x, Dim length) {
  DimPool& dims = build_.module.dims;
  const Dim none = build_.dim(0), half = dims.add(dims.floordiv(length, build_.dim(2)), build_.dim(1)),
            rest = dims.sub(length, half);
  x = fitted(complex(x), half);
  if (value_of(rest) == 0) return x;
  Value* back = build_.slice(x, {none, rest, none}, {1, -1, 1}, {x->type.shape[0], rest, build_.dim(2)});
  Value* real = build_.slice_axis(back, 2, none, build_.dim(1));
  Value* imaginary = build_.neg(build_.slice_axis(back, 2, build_.dim(1), build_.dim(1)));
  return build_.concat({x, build_.concat({real, imaginary}, 2)}, 1);
}

// Complex numbers, along the last axis of x, times those of a table.
Value* Fourier::times(Value* x, Value* real, Value* imaginary) {
  const int last = x->type.rank() - 1;
  const auto part = [&](int64_t i) { return build_.slice_axis(x, last, build_.dim(i), build_.dim(1)); };
  Value* a = part(0);
  if (value_of(x->type.shape.back()) == 1) return build_.concat({build_.mul(a, real), build_.mul(a, imaginary)}, last);
  Value* b = part(1);
  return build_.concat({build_.sub(build_.mul(a, real), build_.mul(b, imaginary)),
                        build_.add(build_.mul(a, imaginary), build_.mul(b, real))},
                       last);
}

Value* Fourier::transform(Value* x, Dim columns, Dim length) {
  if (const auto known = value_of(length)) {
    if (!value_of(x->type.shape[1]) || rows_of(x) > *known) x = fitted(x, length);
    return known_transform(x, *value_of(columns), *known);
  }
  Fourier exact(build_, DType::F64, sign_ > 0);  // three transforms of twice the length, of tables computed: rare
  Value* y = exact.told_transform(fitted(build_.convert(x, DType::F64), length), length);
  return build_.convert(build_.slice_axis(y, 1, build_.dim(0), columns), dtype_);
}

Value* Fourier::real_inverse(Value* x, Dim length) {
  const auto known = value_of(length);
  if (!known || *known > kMostDirect) {
    Value* whole = transform(mirrored(x, length), length, length);
    whole = build_.slice_axis(whole, 2, build_.dim(0), build_.dim(1));
    return build_.div(whole, build_.convert(build_.dims_tensor({length}, {}), dtype_));
  }
  const int64_t columns = *known, half = columns / 2 + 1;
  if (!value_of(x->type.shape[1]) || rows_of(x) > half) x = fitted(x, build_.dim(half));
  return product(x, columns, 1, [&](int64_t j, int64_t part, int64_t k, int64_t) {
    const double twice = j == 0 || 2 * j == columns ? 1 : 2, angle = this->angle(j, k, columns);
    return twice * (part == 0 ? std::cos(angle) : -std::sin(angle)) / static_cast<double>(columns);
  });
}

// --- lengths known now: x has `length` rows, or fewer and zeros behind ----------------------------------------------

Value* Fourier::known_transform(Value* x, int64_t columns, int64_t length) {
  if (length <= kMostDirect) return direct(x, columns, length);
  const int64_t factor = factor_of(length);
  Value* whole = factor > 1 ? split(fitted(x, build_.dim(length)), length, factor) : chirped(x, length);
  return build_.slice_axis(whole, 1, build_.dim(0), build_.dim(columns));
}

template <typename Entry>
Value* Fourier::product(Value* x, int64_t columns, int64_t out_parts, Entry entry) {
  const int64_t rows = rows_of(x), parts = *value_of(x->type.shape[2]);
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

Value* Fourier::direct(Value* x, int64_t columns, int64_t length) {
  return product(x, columns, 2, [&](int64_t j, int64_t part, int64_t k, int64_t out) {
    const double angle = this->angle(j, k, length);
    if (part == out) return std::cos(angle);
    return part == 0 ? std::sin(angle) : -std::sin(angle);
  });
}

// j = b·j1 + j2, k = k1 + a·k2.
Value* Fourier::split(Value* x, int64_t length, int64_t a) {
  const int64_t b = length / a;
  Dim batch = x->type.shape[0], parts = x->type.shape[2], lines = build_.module.dims.mul(batch, build_.dim(b));
  Value* rows = build_.transpose(build_.reshape(x, {batch, build_.dim(a), build_.dim(b), parts}), {0, 2, 1, 3});
  Value* y = known_transform(build_.reshape(rows, {lines, build_.dim(a), parts}), a, a);
  y = turned(build_.reshape(y, {batch, build_.dim(b), build_.dim(a), build_.dim(2)}), length);
  y = build_.transpose(y, {0, 2, 1, 3});  // [batch, k1, j2]
  Value* z = known_transform(
      build_.reshape(y, {build_.module.dims.mul(batch, build_.dim(a)), build_.dim(b), build_.dim(2)}), b, b);
  z = build_.transpose(build_.reshape(z, {batch, build_.dim(a), build_.dim(b), build_.dim(2)}), {0, 2, 1, 3});
  return build_.reshape(z, {batch, build_.dim(length), build_.dim(2)});
}

// y [batch, j2, k1, 2] · e^(±2πi·j2·k1/length)
Value* Fourier::turned(Value* y, int64_t length) {
  const int64_t b = *value_of(y->type.shape[1]), a = *value_of(y->type.shape[2]);
  std::vector<std::complex<double>> factors;
  for (int64_t j = 0; j < b; ++j)
    for (int64_t k = 0; k < a; ++k) factors.push_back(std::polar(1.0, angle(j, k, length)));
  return times(y, {b, a, 1}, factors);
}

Value* Fourier::times(Value* y, const std::vector<int64_t>& shape, const std::vector<std::complex<double>>& table) {
  std::vector<Scalar> numbers[2];
  for (const std::complex<double>& number : table) {
    numbers[0].push_back(Scalar::of_float(dtype_, round_to(dtype_, number.real())));
    numbers[1].push_back(Scalar::of_float(dtype_, round_to(dtype_, number.imag())));
  }
  return times(y, constant(shape, numbers[0]), constant(shape, numbers[1]));
}

// jk = (j² + k² - (k - j)²) / 2: x times a chirp, convolved with the conjugate chirp, times the chirp.
Value* Fourier::chirped(Value* x, int64_t length) {
  int64_t size = 1;
  while (size < 2 * length - 1) size *= 2;
  std::vector<std::complex<double>> chirp, wave(static_cast<size_t>(size));
  for (int64_t j = 0; j < length; ++j) chirp.push_back(std::polar(1.0, angle(j, j, 2 * length)));
  for (int64_t j = 0; j < length; ++j) wave[j] = wave[(size - j) % size] = std::conj(chirp[j]);
  const std::vector<std::complex<double>> head(chirp.begin(), chirp.begin() + rows_of(x));
  Value* y = fitted(times(x, {rows_of(x), 1}, head), build_.dim(size));
  Fourier there(build_, dtype_, false), back(build_, dtype_, true);
  y = there.known_transform(y, size, size);
  spectrum(wave);
  for (std::complex<double>& number : wave) number /= static_cast<double>(size);
  y = back.known_transform(times(y, {size, 1}, wave), size, size);
  return times(build_.slice_axis(y, 1, build_.dim(0), build_.dim(length)), {length, 1}, chirp);
}

// --- lengths that only a run can tell: x has `length` rows ----------------------------------------------------------

// e^(sign·2πi·turns/length), turns i64 of [0, length).
Fourier::Waves Fourier::waves(Value* turns, Dim length, double sign) {
  Value* whole = build_.convert(build_.dims_tensor({length}, {}), dtype_);
  Value* share = build_.div(build_.convert(turns, dtype_), whole);
  Value* angle = build_.mul(share, build_.like(share, sign * 2 * std::numbers::pi));
  return {build_.scalar_op(ScalarOp::Cos, {angle}), build_.scalar_op(ScalarOp::Sin, {angle})};
}

// As chirped(), with tables computed by the run.
Value* Fourier::told_transform(Value* x, Dim length) {
  DimPool& dims = build_.module.dims;
  const Dim none = build_.dim(0), one = build_.dim(1), twice = dims.mul(length, build_.dim(2));
  const Dim needed = dims.max(dims.sub(twice, one), one);
  Dim log = none, size = one;
  for (int64_t power = 1; power <= kMostLength; power *= 2) {
    const Dim below = dims.less(build_.dim(power), needed);
    log = dims.add(log, below), size = dims.add(size, dims.mul(build_.dim(power), below));
  }
  const auto number = [&](Dim value) { return build_.dims_tensor({value}, {}); };
  const auto chirp = [&](Value* j, double sign) {
    return waves(build_.scalar_op(ScalarOp::TruncMod, {build_.mul(j, j), number(dims.max(twice, one))}), twice, sign);
  };
  const Waves own = chirp(build_.iota(DType::I64, {length, one}, 0), sign_);
  Value* place = build_.iota(DType::I64, {one, size, one}, 1);
  Value* distance = build_.scalar_op(ScalarOp::Min, {place, build_.sub(number(size), place)});
  Value* inside = build_.scalar_op(ScalarOp::Less, {distance, number(length)});
  const Waves other = chirp(distance, -sign_);
  Value* wave = build_.concat({other.cosine, other.sine}, 2);
  wave = build_.select(inside, wave, build_.like(wave, 0));

  Fourier there(build_, dtype_, false), back(build_, dtype_, true);
  Value* y = there.power_of_two(fitted(times(x, own.cosine, own.sine), size), log, size);
  wave = there.power_of_two(wave, log, size);
  wave = build_.div(wave, build_.convert(number(size), dtype_));
  const auto part = [&](int64_t i) { return build_.slice_axis(wave, 2, build_.dim(i), one); };
  y = back.power_of_two(times(y, part(0), part(1)), log, size);
  return times(build_.slice_axis(y, 1, none, length), own.cosine, own.sine);
}

// x [batch, length, 2], length = 2^log. In round i, with m = 2^i: places k + 2jm and k + 2jm + m, k < m, get the sum of
// what was at t = k + jm and t + length/2, and their difference turned by jm/length.
Value* Fourier::power_of_two(Value* x, Dim log, Dim length) {
  const Dim half = build_.module.dims.max(build_.module.dims.floordiv(length, build_.dim(2)), build_.dim(1));
  const Waves table = waves(build_.iota(DType::I64, {half, build_.dim(1)}, 0), length, sign_);
  const auto round = [&](GraphBuilder& b, std::span<Value* const> at) {
    Fourier inner(b, dtype_, sign_ > 0);
    const auto op = [&](ScalarOp scalar, Value* p, Value* q) { return b.scalar_op(scalar, {p, q}); };
    const auto integer = [&](int64_t value) { return b.scalar(Scalar::of_integer(DType::I64, value)); };
    Value *i = at[0], *u = b.iota(DType::I64, {length}, 0), *m = op(ScalarOp::ShiftLeft, integer(1), i);
    Value* k = op(ScalarOp::And, u, b.sub(m, integer(1)));
    Value* q = op(ScalarOp::ShiftRight, u, i);
    Value* jm = op(ScalarOp::ShiftLeft, op(ScalarOp::ShiftRight, q, integer(1)), i);
    Value* second = b.expand_axes(op(ScalarOp::Equal, op(ScalarOp::And, q, integer(1)), integer(1)), {1});
    Value* t = b.add(jm, k);
    Value* low = b.gather(at[1], t, 1, true);
    Value* high = b.gather(at[1], b.add(t, b.dims_tensor({half}, {})), 1, true);
    Value* turned = inner.times(b.sub(low, high), b.gather(at[2], jm, 0, true), b.gather(at[3], jm, 0, true));
    return std::vector<Value*>{b.select(second, turned, b.add(low, high))};
  };
  return build_.loop(log, {x}, {table.cosine, table.sine}, false, round)[0];
}

}  // namespace lapidary::frontend
