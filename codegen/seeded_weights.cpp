#include "codegen/seeded_weights.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace lapidary::codegen {
namespace {

constexpr int64_t kLeastBytes = 16 << 10;             // of what is made up
constexpr int64_t kSamples = 1 << 16;                 // of it that are looked at
constexpr double kRootMeanSquareOfMantissa = 1.5275;  // of numbers spread evenly from 1 to 2: sqrt(7 / 3)

struct FloatForm {
  int bits, mantissa, bias;
};

std::optional<FloatForm> form_of(DType dtype) {
  switch (dtype) {
    case DType::F16:
      return FloatForm{16, 10, 15};
    case DType::BF16:
      return FloatForm{16, 7, 127};
    case DType::F32:
      return FloatForm{32, 23, 127};
    case DType::F64:
      return FloatForm{64, 52, 1023};
    default:
      return {};
  }
}

double root_mean_square(DType dtype, const std::vector<std::byte>& bytes, int64_t elements) {
  const int64_t step = std::max<int64_t>(elements / kSamples, 1);
  double sum = 0;
  int64_t count = 0;
  for (int64_t i = 0; i < elements; i += step, ++count) {
    const double x = load_scalar(dtype, bytes.data(), i).number;
    sum += x * x;
  }
  return std::sqrt(sum / static_cast<double>(count));
}

// The same in each element of a word.
uint64_t repeated(uint64_t element, int bits) {
  for (; bits < 64; bits *= 2) element |= element << bits;
  return element;
}

}  // namespace

SeededWeight seeded_weight(const ConstantTable& constants, ConstantId id) {
  const Constant& constant = constants[id];
  SeededWeight weight{.bytes = constant.bytes()};
  const std::optional<FloatForm> form = form_of(constant.dtype);
  const bool is_byte = constant.dtype == DType::I8 || constant.dtype == DType::U8;
  const std::vector<std::byte> bytes = constants.bytes_of(id);
  if (is_byte && weight.bytes >= kLeastBytes) {
    weight.mask = ~uint64_t{0};
    return weight;
  }
  const double size = form ? root_mean_square(constant.dtype, bytes, constant.elements()) : 0;
  if (weight.bytes >= kLeastBytes && size > 0 && std::isfinite(size)) {
    const int most = 2 * form->bias, exponent = std::ilogb(size / kRootMeanSquareOfMantissa) + form->bias;
    const uint64_t sign = uint64_t{1} << (form->bits - 1), mantissa = (uint64_t{1} << form->mantissa) - 1;
    weight.mask = repeated(sign | mantissa, form->bits);
    weight.bits = repeated(static_cast<uint64_t>(std::clamp(exponent, 1, most)) << form->mantissa, form->bits);
    return weight;
  }
  const char* begin = reinterpret_cast<const char*>(bytes.data());
  weight.exact.assign(begin, begin + bytes.size());
  return weight;
}

}  // namespace lapidary::codegen
