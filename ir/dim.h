// A Dim is an int64 known now or at run time: a constant, a symbol of the model ("N"), an element of an integer value
// the host holds, or arithmetic on those. Dims are hash-consed in a DimPool, one per Module: equal normal form means
// the same pointer, so `a == b` is a proof that two extents agree.
//
// Normal form: a sum of products with constant coefficients, terms sorted; floordiv, mod, min, max, select and
// comparisons are atoms with simplified operands. So N*S + S*N == 2*N*S, (4*N) floordiv 4 == N, but
// (N + 3) floordiv 4 stays. Every atom has an interval; facts follow from intervals and from known multiples.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace lapidary {

struct DimNode;
using Dim = const DimNode*;  // owned by its pool; never null in a finished Type
using Shape = std::vector<Dim>;

struct Interval {
  int64_t lo, hi;  // inclusive; saturated at kDimMin / kDimMax
  bool operator==(const Interval&) const = default;
};
constexpr int64_t kDimMax = INT64_C(1) << 62, kDimMin = -kDimMax;

enum class DimKind : uint8_t {
  Constant,
  Symbol,
  Element,  // Element: element `index` of a host integer value, named by value id
  Sum,
  Product,  // n-ary: Sum = Σ operand, Product = coefficient · Π atoms
  FloorDiv,
  Mod,
  Min,
  Max,  // floordiv rounds down, mod has the sign of the divisor; x floordiv 0 = x mod 0 = 0
  Equal,
  Less,    // 0 or 1
  Select,  // operands: condition (nonzero is true), then, else
};

struct DimNode {
  DimKind kind;
  int64_t constant = 0;   // Constant: its value. Product: its coefficient. Element: the index
  uint32_t id = 0;        // order of creation in the pool: the sort key of the normal form
  uint32_t value_id = 0;  // Element: which value (Value::id)
  std::string name;       // Symbol
  std::vector<Dim> operands;
  Interval interval{};
  bool of_elements = false;  // is there an Element among the leaves?
};

class DimPool {
 public:
  DimPool();
  ~DimPool();
  DimPool(const DimPool&) = delete;
  DimPool& operator=(const DimPool&) = delete;

  Dim constant(int64_t);
  // The symbol of that name; the interval is used when it is new, else intersected.
  Dim symbol(const std::string& name, Interval interval = {0, INT64_C(1) << 40});
  // Likewise; named after a to_host op's result.
  Dim element(uint32_t value_id, int64_t index, Interval interval = {kDimMin, kDimMax});

  Dim add(Dim, Dim);
  Dim sub(Dim, Dim);
  Dim neg(Dim);
  Dim mul(Dim, Dim);
  Dim floordiv(Dim, Dim);
  Dim ceildiv(Dim, Dim);  // -((-a) floordiv b)
  Dim mod(Dim, Dim);
  Dim min(Dim, Dim);
  Dim max(Dim, Dim);
  Dim equal(Dim, Dim);
  Dim less(Dim, Dim);
  Dim select(Dim condition, Dim then, Dim otherwise);
  Dim product(std::span<const Dim>);  // 1 when empty
  // q with q·b == a whatever the symbols are, zero included; null when there is none. The inferred extent of a reshape.
  Dim exact_quotient(Dim a, Dim b);
  Dim make(DimKind, std::span<const Dim> operands);  // dispatches to the above

  // Rewrites symbols and elements: `replace` returns null to keep one. Results live in this pool.
  Dim substitute(Dim, const std::function<Dim(Dim)>& replace);

  const std::vector<Dim>& symbols() const;  // in order of creation

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

std::optional<int64_t> value_of(Dim);
bool known_equal(Dim, Dim);  // provably; false means unknown
bool known_unequal(Dim, Dim);
bool known_multiple(Dim, int64_t divisor);
Interval range(Dim);
inline bool speaks_of_elements(Dim dim) { return dim->of_elements; }

// "N", "4*N*S + 1", "max(N, 4)", "(S + 3) floordiv 4": what both text forms print and parse.
std::string to_string(Dim);
// Parses the form above; unknown identifiers become symbols. Throws Error{Fault::Input} with the position.
Dim parse_dim(DimPool&, std::string_view text);

// The value under an assignment of symbols and elements, every step overflow-checked: nothing on overflow or when
// `lookup` has no answer.
std::optional<int64_t> evaluate(Dim, const std::function<std::optional<int64_t>(Dim leaf)>& lookup);

}  // namespace lapidary
