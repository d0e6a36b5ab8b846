// Discrete Fourier transforms of complex numbers, whose parts are the last axis.
#pragma once

#include <complex>

#include "frontend/ops/common.h"

namespace lapidary::frontend {

constexpr int64_t kMostLength = 1 << 20;  // of a transform

class Fourier {
 public:
  Fourier(GraphBuilder& build, DType dtype, bool inverse) : build_(build), dtype_(dtype), sign_(inverse ? 1 : -1) {}

  // x [batch, rows, parts], parts 1 (real) or 2, → [batch, columns, 2]: Σ x[j] · e^(±2πi·jk/length), k < columns, where
  // x has zeros behind, or is cut off at `length`.
  Value* transform(Value* x, Dim columns, Dim length);
  // The real part of that, over `length`, of a spectrum that goes on conjugate beyond length/2 + 1: [batch, length, 1].
  Value* real_inverse(Value* x, Dim length);

 private:
  Value* fitted(Value* x, Dim length);
  Value* mirrored(Value* x, Dim length);
  Value* complex(Value* x);
  double angle(int64_t j, int64_t k, int64_t length) const;
  Value* constant(std::vector<int64_t> shape, const std::vector<Scalar>& numbers);
  Value* times(Value* x, Value* real, Value* imaginary);

  // --- lengths known now
  Value* known_transform(Value* x, int64_t columns, int64_t length);
  Value* direct(Value* x, int64_t columns, int64_t length);
  template <typename Entry>
  Value* product(Value* x, int64_t columns, int64_t out_parts, Entry entry);
  Value* split(Value* x, int64_t length, int64_t factor);
  Value* turned(Value* y, int64_t length);
  Value* times(Value* y, const std::vector<int64_t>& shape, const std::vector<std::complex<double>>& table);
  Value* chirped(Value* x, int64_t length);

  // --- lengths that only a run can tell
  struct Waves {
    Value *cosine, *sine;
  };
  Waves waves(Value* turns, Dim length, double sign);
  Value* told_transform(Value* x, Dim length);
  Value* power_of_two(Value* x, Dim log, Dim length);

  GraphBuilder& build_;
  const DType dtype_;
  const double sign_;
};

}  // namespace lapidary::frontend
