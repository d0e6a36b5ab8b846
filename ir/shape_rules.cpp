// Fits of extents. The check a broadcast leaves is written in one form only (`may_broadcast`), so that asking twice
// about the same two extents leaves one check: Module::check drops what is already there.
#include "ir/shape_rules.h"

#include <algorithm>
#include <numeric>

#include "ir/error.h"

namespace lapidary {

namespace {

bool is_one(Dim d) { return value_of(d) == 1; }

// (a == b) or (a == 1) or (b == 1), as a Dim
Dim may_broadcast(DimPool& dims, Dim a, Dim b) {
  if (b->id < a->id) std::swap(a, b);
  Dim one = dims.constant(1);
  return dims.max(dims.equal(a, b), dims.max(dims.equal(a, one), dims.equal(b, one)));
}

void check_may_broadcast(Module& module, Dim a, Dim b) {
  std::string message = fmt::format("extents {} and {} must be equal, or one of them 1", to_string(a), to_string(b));
  module.check(may_broadcast(module.dims, a, b), std::move(message));
}

// The two extents a select(a == 1, b, a) of broadcast_extent was made of.
struct Parts {
  Dim a, b;
};
std::optional<Parts> parts_of(DimPool& dims, Dim d) {
  if (d->kind != DimKind::Select) return std::nullopt;
  Parts parts{d->operands[2], d->operands[1]};
  if (d->operands[0] != dims.equal(parts.a, dims.constant(1))) return std::nullopt;
  return parts;
}

// True when `result` was made by broadcasting `extent` with others; adds the checks that make it so.
bool made_by_broadcasting(Module& module, Dim extent, Dim result) {
  if (is_one(extent) || known_equal(extent, result)) return true;
  std::optional<Parts> parts = parts_of(module.dims, result);
  if (!parts) return false;
  if (!made_by_broadcasting(module, extent, parts->a) && !made_by_broadcasting(module, extent, parts->b)) return false;
  check_may_broadcast(module, parts->a, parts->b);
  return true;
}

// A table of c rows cut to the first S of them has min(S, c): beside an extent S it fits exactly when S <= c, ones
// included as c > 1. Exporters slice position tables so, and no model means anything by a longer S; so the check is
// left and S is at most c from here on.
bool settled_by_limit(Module& module, Dim a, Dim b) {
  if (a->kind != DimKind::Min) std::swap(a, b);
  if (a->kind != DimKind::Min || b->kind != DimKind::Symbol || a->operands.size() != 2) return false;
  std::optional<int64_t> limit = value_of(a->operands[a->operands[0] == b ? 1 : 0]);
  if ((a->operands[0] != b && a->operands[1] != b) || !limit || *limit <= 1) return false;
  module.check(module.dims.less(b, module.dims.constant(*limit + 1)),
               fmt::format("{} must be at most {}", to_string(b), *limit));
  module.dims.symbol(b->name, {b->interval.lo, *limit});
  return true;
}

}  // namespace

std::vector<int64_t> all_axes(const Value* x) {
  std::vector<int64_t> axes(static_cast<size_t>(x->type.rank()));
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

void require_equal(Module& module, Dim a, Dim b, std::string_view what) {
  if (known_equal(a, b) || settled_by_limit(module, a, b)) return;
  if (known_unequal(a, b)) {
    throw Error(Fault::Input, fmt::format("{} are {} and {}, expected equal", what, to_string(a), to_string(b)));
  }
  module.check(module.dims.equal(a, b), fmt::format("{} {} and {} must be equal", what, to_string(a), to_string(b)));
}

Dim broadcast_extent(Module& module, Dim a, Dim b) {
  if (known_equal(a, b) || is_one(b)) return a;
  if (is_one(a)) return b;
  if (settled_by_limit(module, a, b)) return a->kind == DimKind::Symbol ? a : b;
  DimPool& dims = module.dims;
  Dim one = dims.constant(1);
  bool a_wide = known_unequal(a, one), b_wide = known_unequal(b, one);
  if (a_wide && b_wide && known_unequal(a, b)) {
    throw Error(Fault::Input, fmt::format("extents {} and {} do not broadcast", to_string(a), to_string(b)));
  }
  check_may_broadcast(module, a, b);
  if (a_wide) return a;
  if (b_wide) return b;
  return dims.select(dims.equal(a, one), b, a);
}

Shape broadcast_shapes(Module& module, const Shape& a, const Shape& b) {
  const Shape &longer = a.size() >= b.size() ? a : b, &shorter = a.size() >= b.size() ? b : a;
  size_t extra = longer.size() - shorter.size();
  Shape result = longer;
  for (size_t i = extra; i < longer.size(); i++) {
    try {
      result[i] = broadcast_extent(module, longer[i], shorter[i - extra]);
    } catch (const Error& error) {
      throw Error(error.fault,
                  fmt::format("shapes {} and {} do not broadcast: {}", to_string(a), to_string(b), error.what()));
    }
  }
  return result;
}

void require_broadcasts(Module& module, Dim extent, Dim result) {
  if (made_by_broadcasting(module, extent, result) || settled_by_limit(module, extent, result)) return;
  DimPool& dims = module.dims;
  Dim is_result = dims.equal(extent, result), is_unit = dims.equal(extent, dims.constant(1));
  std::string message = fmt::format("extent {} must be 1 or {}", to_string(extent), to_string(result));
  if (value_of(is_result) == 0 && value_of(is_unit) == 0) throw Error(Fault::Input, message);
  module.check(dims.max(is_result, is_unit), std::move(message));
}

std::string to_string(const Shape& shape) {
  std::vector<std::string> extents;
  for (Dim extent : shape) extents.push_back(to_string(extent));
  return fmt::format("[{}]", fmt::join(extents, ", "));
}

std::optional<std::vector<int64_t>> constant_extents(const Shape& shape) {
  std::vector<int64_t> extents;
  for (Dim extent : shape) {
    std::optional<int64_t> value = value_of(extent);
    if (!value) return std::nullopt;
    extents.push_back(*value);
  }
  return extents;
}

}  // namespace lapidary
