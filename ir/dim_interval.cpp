// Interval arithmetic over Dims. A bound at kDimMax or kDimMin means that none is known on that side, so sums and
// quotients of it must not become finite again.
#include <algorithm>

#include "ir/dim_polynomial.h"

namespace lapidary {
namespace {

bool open_above(Interval i) { return i.hi >= kDimMax; }
bool open_below(Interval i) { return i.lo <= kDimMin; }

int64_t clamp(__int128 x) { return x >= kDimMax ? kDimMax : x <= kDimMin ? kDimMin : static_cast<int64_t>(x); }

// For divisors known to be at least 1.
Interval divide_by_positive(Interval a, Interval b) {
  int64_t smallest = a.lo >= 0 ? (open_above(b) ? 0 : floor_divide(a.lo, b.hi)) : floor_divide(a.lo, b.lo);
  int64_t largest = a.hi >= 0 ? floor_divide(a.hi, b.lo) : (open_above(b) ? -1 : floor_divide(a.hi, b.hi));
  return {open_below(a) ? kDimMin : smallest, open_above(a) ? kDimMax : largest};
}

}  // namespace

int64_t floor_divide(int64_t a, int64_t b) {
  if (b == 0) return 0;
  int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

int64_t floor_modulo(int64_t a, int64_t b) {
  if (b == 0 || b == -1) return 0;
  int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

bool excludes_zero(Interval i) { return i.lo > 0 || i.hi < 0; }
Interval hull(Interval a, Interval b) { return {std::min(a.lo, b.lo), std::max(a.hi, b.hi)}; }

Interval add(Interval a, Interval b) {
  return {open_below(a) || open_below(b) ? kDimMin : clamp(static_cast<__int128>(a.lo) + b.lo),
          open_above(a) || open_above(b) ? kDimMax : clamp(static_cast<__int128>(a.hi) + b.hi)};
}

Interval multiply(Interval a, Interval b) {
  __int128 corners[] = {static_cast<__int128>(a.lo) * b.lo, static_cast<__int128>(a.lo) * b.hi,
                        static_cast<__int128>(a.hi) * b.lo, static_cast<__int128>(a.hi) * b.hi};
  return {clamp(*std::min_element(corners, corners + 4)), clamp(*std::max_element(corners, corners + 4))};
}

Interval floor_divide(Interval a, Interval b) {
  if (b.lo >= 1) return divide_by_positive(a, b);
  if (b.lo == 0) {
    if (b.hi == 0) return {0, 0};
    return hull({0, 0}, divide_by_positive(a, {1, b.hi}));
  }
  int64_t magnitude = std::max(-a.lo, a.hi);  // |a floordiv b| <= |a|
  return {-magnitude, magnitude};
}

Interval modulo(Interval a, Interval b) {
  Interval one_less = add(b, {-1, -1}), one_more = add(b, {1, 1});
  Interval result{b.lo < 0 ? std::min<int64_t>(one_more.lo, 0) : 0, b.hi > 0 ? std::max<int64_t>(one_less.hi, 0) : 0};
  if (a.lo >= 0 && b.lo >= 0) result.hi = std::min(result.hi, a.hi);
  return result;
}

std::optional<int64_t> constant_quotient(Interval a, int64_t c) {
  if (open_below(a) || open_above(a)) return std::nullopt;
  int64_t quotient = floor_divide(a.lo, c);
  if (quotient != floor_divide(a.hi, c)) return std::nullopt;
  return quotient;
}

}  // namespace lapidary
