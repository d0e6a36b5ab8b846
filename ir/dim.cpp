// The pool: normal forms and hash-consing.
//
// Sums and products are rebuilt from polynomials (dim_polynomial.h), so equal ones meet in one node. The rules of the
// other kinds stand with their formulas below. Limits keep hostile models from growing formulas without end: the terms
// of one sum, the factors of one term, and the size of a formula written out. Tests: test/ir/dim_test.cpp.
#include "ir/dim.h"

#include <algorithm>
#include <deque>
#include <numeric>
#include <unordered_map>

#include "ir/dim_polynomial.h"
#include "ir/error.h"

namespace lapidary {
namespace {

constexpr size_t kMostTerms = 256;
constexpr size_t kMostFactors = 256;      // of one term
constexpr uint32_t kMostNodes = 1 << 14;  // of a formula written out as a tree
constexpr uint32_t kDeepest = 512;

struct Node : DimNode {
  uint32_t size = 1, depth = 1;
};

[[noreturn]] void overflow() { throw Error(Fault::Input, "integer overflow in shape arithmetic"); }
[[noreturn]] void too_large() { throw Error(Fault::Unsupported, "a shape formula grows too large"); }

struct NodeHash {
  size_t operator()(const Node* node) const {
    size_t hash = static_cast<size_t>(node->kind) + 31 * std::hash<std::string>()(node->name);
    auto mix = [&](uint64_t x) { hash = (hash ^ x) * UINT64_C(0x9e3779b97f4a7c15) + (hash >> 29); };
    mix(static_cast<uint64_t>(node->constant));
    mix(node->value_id);
    for (Dim operand : node->operands) mix(operand->id);
    return hash;
  }
};
struct NodeEqual {
  bool operator()(const Node* a, const Node* b) const {
    return a->kind == b->kind && a->constant == b->constant && a->value_id == b->value_id && a->name == b->name &&
           a->operands == b->operands;
  }
};

bool is_leaf(DimKind kind) { return kind == DimKind::Constant || kind == DimKind::Symbol || kind == DimKind::Element; }

Interval interval_of(const DimNode& node) {
  auto of = [&](int i) { return node.operands[i]->interval; };
  switch (node.kind) {
    case DimKind::Constant: {
      int64_t clamped = std::clamp(node.constant, kDimMin, kDimMax);
      return {clamped, clamped};
    }
    case DimKind::Symbol:
    case DimKind::Element:
      return node.interval;
    case DimKind::Sum:
    case DimKind::Product:
      return Polynomial::of(&node).range();
    case DimKind::FloorDiv:
      return floor_divide(of(0), of(1));
    case DimKind::Mod:
      return modulo(of(0), of(1));
    case DimKind::Min:
      return {std::min(of(0).lo, of(1).lo), std::min(of(0).hi, of(1).hi)};
    case DimKind::Max:
      return {std::max(of(0).lo, of(1).lo), std::max(of(0).hi, of(1).hi)};
    case DimKind::Equal:
    case DimKind::Less:
      return {0, 1};
    case DimKind::Select:
      return hull(of(1), of(2));
  }
  LPD_UNREACHABLE();
}

// The atoms that every term of both polynomials has and that are never 0.
Monomial common_factor(const Polynomial& a, const Polynomial& b) {
  std::optional<Monomial> common;
  auto meet = [&](const Monomial& monomial) {
    if (!common) {
      common = monomial;
      std::erase_if(*common, [](Dim atom) { return !excludes_zero(atom->interval); });
      return;
    }
    Monomial both;
    std::set_intersection(common->begin(), common->end(), monomial.begin(), monomial.end(), std::back_inserter(both),
                          [](Dim x, Dim y) { return x->id < y->id; });
    common = both;
  };
  for (const auto& term : a.terms) meet(term.first);
  for (const auto& term : b.terms) meet(term.first);
  return common.value_or(Monomial{});
}

Polynomial divide_each(const Polynomial& p, const Monomial& factor) {
  Polynomial result;
  for (const auto& [monomial, coefficient] : p.terms) result.add_term(*divide(monomial, factor), coefficient);
  return result;
}

// The greatest common divisor of c and the coefficients beside the constant one; 0 when there is no other term and c =
// 0.
int64_t content(const Polynomial& p, int64_t c) {
  for (const auto& [monomial, coefficient] : p.terms)
    if (!monomial.empty()) c = coefficient == INT64_MIN ? 1 : std::gcd(c, coefficient);
  return c;
}

// p with every coefficient divided by a divisor of the others, the constant rounded down.
Polynomial divide_content(const Polynomial& p, int64_t by) {
  Polynomial result;
  for (const auto& [monomial, coefficient] : p.terms)
    result.add_term(monomial, monomial.empty() ? floor_divide(coefficient, by) : coefficient / by);
  return result;
}

// x and d of an atom "x op d" with a constant d > 0.
bool is_by_constant(Dim dim, DimKind kind) {
  return dim->kind == kind && dim->operands[1]->kind == DimKind::Constant && dim->operands[1]->constant > 0;
}

}  // namespace

struct DimPool::Impl {
  std::deque<Node> nodes;
  std::unordered_map<const Node*, Node*, NodeHash, NodeEqual> unique;
  std::vector<Dim> symbols;

  Dim constant(int64_t value) {
    Node node;
    node.kind = DimKind::Constant;
    node.constant = value;
    return intern(std::move(node));
  }

  Node* find(const Node& node) {
    auto place = unique.find(&node);
    return place == unique.end() ? nullptr : place->second;
  }

  // Leaves come with their interval; one that can only have one value is that constant.
  Dim intern(Node node) {
    if (Node* known = find(node)) return known;
    node.of_elements = node.kind == DimKind::Element;
    for (Dim operand : node.operands) {
      node.of_elements |= operand->of_elements;
      node.size += static_cast<const Node*>(operand)->size;
      node.depth = std::max(node.depth, static_cast<const Node*>(operand)->depth + 1);
      if (node.size > kMostNodes || node.depth > kDeepest) too_large();
    }
    node.interval = interval_of(node);
    if (!is_leaf(node.kind) && node.interval.lo == node.interval.hi && std::abs(node.interval.lo) < kDimMax)
      return constant(node.interval.lo);
    node.id = static_cast<uint32_t>(nodes.size());
    nodes.push_back(std::move(node));
    unique.emplace(&nodes.back(), &nodes.back());
    if (nodes.back().kind == DimKind::Symbol) symbols.push_back(&nodes.back());
    return &nodes.back();
  }

  Dim atom(DimKind kind, std::vector<Dim> operands) {
    Node node;
    node.kind = kind;
    node.operands = std::move(operands);
    return intern(std::move(node));
  }

  Dim product_node(const Monomial& monomial, int64_t coefficient) {
    if (monomial.empty()) return constant(coefficient);
    if (monomial.size() > kMostFactors) too_large();
    if (coefficient == 1 && monomial.size() == 1) return monomial[0];
    Node node;
    node.kind = DimKind::Product;
    node.constant = coefficient;
    node.operands = monomial;
    return intern(std::move(node));
  }

  Dim from(const Polynomial& p) {
    if (p.overflowed) overflow();
    if (p.terms.size() > kMostTerms) too_large();
    if (p.terms.empty()) return constant(0);
    std::vector<Dim> terms;
    for (const auto& [monomial, coefficient] : p.terms) terms.push_back(product_node(monomial, coefficient));
    return terms.size() == 1 ? terms[0] : atom(DimKind::Sum, std::move(terms));
  }

  Dim combine(Dim a, Dim b, int64_t scale) {
    Polynomial sum = Polynomial::of(a);
    sum.add(Polynomial::of(b), scale);
    return from(sum);
  }

  Dim floordiv(const Polynomial& a, const Polynomial& b);
  Dim floordiv_constant(const Polynomial& a, int64_t c);
  Dim floordiv_rest(Polynomial rest, int64_t c);
  Dim mod(const Polynomial& a, const Polynomial& b);
  Dim mod_constant(const Polynomial& a, int64_t c);
  Dim extremum(DimKind kind, Dim a, Dim b);
  Dim compare(DimKind kind, const Polynomial& difference);
};

// --- quotients ---------------------------------------------------------------------------------------------------

// (c·q + r) floordiv c == q + r floordiv c
Dim DimPool::Impl::floordiv_constant(const Polynomial& a, int64_t c) {
  Polynomial quotient, rest;
  for (const auto& [monomial, coefficient] : a.terms) {
    int64_t whole = monomial.empty() ? floor_divide(coefficient, c) : coefficient / c;
    quotient.add_term(monomial, whole);
    rest.add_term(monomial, coefficient - whole * c);
  }
  if (rest.is_constant()) return from(quotient);
  bool flip = rest.terms.begin()->second < 0;
  if (flip) {  // r floordiv c == -((c - 1 - r) floordiv c)
    Polynomial negated;
    negated.add(rest, -1);
    negated.add_term({}, c - 1);
    rest = negated;
  }
  quotient.add(Polynomial::of(floordiv_rest(rest, c)), flip ? -1 : 1);
  return from(quotient);
}

// Of a numerator with no multiple of c left in it.
Dim DimPool::Impl::floordiv_rest(Polynomial rest, int64_t c) {
  int64_t common = content(rest, c);  // (g·x + k) floordiv (g·c) == (x + k floordiv g) floordiv c
  rest = divide_content(rest, common);
  c /= common;
  if (c == 1) return from(rest);
  if (std::optional<int64_t> known = constant_quotient(rest.range(), c)) return constant(*known);
  const auto& [monomial, coefficient] = *rest.terms.begin();
  bool single = rest.terms.size() == (rest.constant() == 0 ? 1u : 2u) && monomial.size() == 1 && coefficient == 1;
  if (single &&
      is_by_constant(monomial[0], DimKind::FloorDiv)) {  // (x floordiv d + k) floordiv c == (x + d·k) floordiv (d·c)
    Polynomial inner = Polynomial::of(monomial[0]->operands[0]), offset;
    int64_t divisor = monomial[0]->operands[1]->constant, both;
    offset.add_term({}, rest.constant());
    inner.add(offset, divisor);
    if (!__builtin_mul_overflow(divisor, c, &both) && !inner.overflowed) return floordiv_constant(inner, both);
  }
  return atom(DimKind::FloorDiv, {from(rest), constant(c)});
}

Dim DimPool::Impl::floordiv(const Polynomial& a, const Polynomial& b) {
  if (a.overflowed || b.overflowed) overflow();
  if (b.is_constant()) {
    int64_t c = b.constant();
    if (c == 0) return constant(0);
    if (c > 0) return floordiv_constant(a, c);
    Polynomial negated;
    negated.add(a, -1);
    if (negated.overflowed || c == INT64_MIN) overflow();
    return floordiv_constant(negated, -c);
  }
  if (a.terms.empty()) return constant(0);
  if (excludes_zero(b.range())) {
    if (std::optional<Polynomial> quotient = divide_exactly(a, b)) return from(*quotient);
    if (b.terms.size() == 1) {  // (q·b + r) floordiv b == q + r floordiv b
      const auto& [divisor, by] = *b.terms.begin();
      Polynomial quotient, rest;
      for (const auto& [monomial, coefficient] : a.terms) {
        std::optional<Monomial> factor = divide(monomial, divisor);
        int64_t whole = factor && by != -1 ? coefficient / by : 0;
        if (factor) quotient.add_term(*factor, whole);
        rest.add_term(monomial, coefficient - whole * by);
      }
      if (!quotient.terms.empty()) return combine(from(quotient), floordiv(rest, b), 1);
    }
  }
  Monomial common = common_factor(a, b);  // (g·x) floordiv (g·y) == x floordiv y for g != 0
  if (!common.empty()) return floordiv(divide_each(a, common), divide_each(b, common));
  return atom(DimKind::FloorDiv, {from(a), from(b)});
}

// --- remainders --------------------------------------------------------------------------------------------------

Dim DimPool::Impl::mod_constant(const Polynomial& a, int64_t c) {
  Polynomial opened;  // (x mod d) mod c == x mod c when c divides d
  for (const auto& [monomial, coefficient] : a.terms) {
    bool inner = monomial.size() == 1 && is_by_constant(monomial[0], DimKind::Mod) &&
                 monomial[0]->operands[1]->constant % c == 0;
    if (inner)
      opened.add(Polynomial::of(monomial[0]->operands[0]), coefficient % c);
    else
      opened.add_term(monomial, coefficient % c);
  }
  if (opened.overflowed) return atom(DimKind::Mod, {from(a), constant(c)});
  Polynomial rest;  // (c·q + r) mod c == r mod c
  for (const auto& [monomial, coefficient] : opened.terms) rest.add_term(monomial, floor_modulo(coefficient, c));
  for (const Polynomial* form : {&opened, &rest}) {
    if (std::optional<int64_t> quotient = constant_quotient(form->range(), c)) {  // x mod c == x - c·(x floordiv c)
      Polynomial result = *form;
      result.add_term({}, -*quotient * c);
      return from(result);
    }
  }
  int64_t common = content(rest, c);
  if (common > 1) {  // (g·x + k) mod (g·c) == g·((x + k floordiv g) mod c) + k mod g
    Polynomial result;
    result.add(Polynomial::of(mod_constant(divide_content(rest, common), c / common)), common);
    result.add_term({}, floor_modulo(rest.constant(), common));
    return from(result);
  }
  return atom(DimKind::Mod, {from(rest), constant(c)});
}

Dim DimPool::Impl::mod(const Polynomial& a, const Polynomial& b) {
  if (a.overflowed || b.overflowed) overflow();
  if (b.is_constant()) {
    int64_t c = b.constant();
    if (c == 0) return constant(0);
    if (c > 0) return mod_constant(a, c);
    Polynomial negated, result;
    negated.add(a, -1);
    if (negated.overflowed || c == INT64_MIN) overflow();
    result.add(Polynomial::of(mod_constant(negated, -c)), -1);
    return from(result);
  }
  if (divide_exactly(a, b)) return constant(0);
  Polynomial rest = a;
  if (b.terms.size() == 1) {  // (q·b + r) mod b == r mod b
    const auto& [divisor, by] = *b.terms.begin();
    for (const auto& [monomial, coefficient] : a.terms)
      if (divide(monomial, divisor) && by != -1 && coefficient % by == 0) rest.terms.erase(monomial);
  }
  Polynomial room = b;  // 0 <= x < b: x mod b == x
  room.add(rest, -1);
  if (rest.range().lo >= 0 && !room.overflowed && room.range().lo > 0) return from(rest);
  return atom(DimKind::Mod, {from(rest), from(b)});
}

// --- min, max and comparisons --------------------------------------------------------------------------------------

// Nested ones are flattened, operands that another one rules out are dropped, the rest nest in order of creation, a
// constant last.
Dim DimPool::Impl::extremum(DimKind kind, Dim a, Dim b) {
  std::vector<Dim> operands;
  auto collect = [&](auto& self, Dim dim) -> void {
    if (dim->kind != kind) {
      operands.push_back(dim);
      return;
    }
    for (Dim operand : dim->operands) self(self, operand);
  };
  collect(collect, a);
  collect(collect, b);
  auto place = [](Dim dim) { return std::pair(dim->kind == DimKind::Constant, dim->id); };
  std::sort(operands.begin(), operands.end(), [&](Dim x, Dim y) { return place(x) < place(y); });
  operands.erase(std::unique(operands.begin(), operands.end()), operands.end());
  std::vector<Dim> kept;
  auto rules_out = [&](Dim winner, Dim loser) {
    return kind == DimKind::Min ? known_less_equal(winner, loser) : known_less_equal(loser, winner);
  };
  for (Dim candidate : operands) {
    if (std::any_of(kept.begin(), kept.end(), [&](Dim other) { return rules_out(other, candidate); })) continue;
    std::erase_if(kept, [&](Dim other) { return rules_out(candidate, other); });
    kept.push_back(candidate);
  }
  Dim result = kept[0];
  for (size_t i = 1; i < kept.size(); i++) result = atom(kind, {result, kept[i]});
  return result;
}

// difference == 0, or difference > 0 for Less; positive terms are put on one side and negative ones on the other.
Dim DimPool::Impl::compare(DimKind kind, const Polynomial& difference) {
  if (difference.overflowed) overflow();
  Interval range = difference.range();
  bool equality = kind == DimKind::Equal;
  if (difference.is_constant()) return constant(equality ? difference.constant() == 0 : difference.constant() > 0);
  if (equality && excludes_zero(range)) return constant(0);
  if (!equality && range.lo > 0) return constant(1);
  if (!equality && range.hi <= 0) return constant(0);
  int64_t common = content(difference, 0);
  Polynomial reduced = difference;
  if (equality && common > 1) {
    if (difference.constant() % common != 0) return constant(0);
    reduced = divide_content(difference, common);
  }
  int64_t sign = equality && reduced.terms.begin()->second < 0 ? -1 : 1;
  Polynomial positive, negative;
  for (const auto& [monomial, coefficient] : reduced.terms) {
    if (coefficient == INT64_MIN) overflow();
    int64_t signed_coefficient = sign * coefficient;
    (signed_coefficient > 0 ? positive : negative).add_term(monomial, std::abs(signed_coefficient));
  }
  return equality ? atom(kind, {from(positive), from(negative)}) : atom(kind, {from(negative), from(positive)});
}

// --- the interface -------------------------------------------------------------------------------------------------

DimPool::DimPool() : impl_(std::make_unique<Impl>()) {}
DimPool::~DimPool() = default;

Dim DimPool::constant(int64_t value) { return impl_->constant(value); }

Dim DimPool::symbol(const std::string& name, Interval interval) {
  Node node;
  node.kind = DimKind::Symbol;
  node.name = name;
  node.interval = interval;
  if (Node* known = impl_->find(node)) {
    Interval both{std::max(known->interval.lo, interval.lo), std::min(known->interval.hi, interval.hi)};
    if (both.lo > both.hi)
      throw Error(Fault::Input,
                  fmt::format("dimension '{}' cannot be both in [{}, {}] and in [{}, {}]", printable(name),
                              known->interval.lo, known->interval.hi, interval.lo, interval.hi));
    known->interval = both;
    return known;
  }
  return impl_->intern(std::move(node));
}

Dim DimPool::element(uint32_t value_id, int64_t index, Interval interval) {
  Node node;
  node.kind = DimKind::Element;
  node.value_id = value_id;
  node.constant = index;
  node.interval = interval;
  if (Node* known = impl_->find(node)) {
    known->interval = {std::max(known->interval.lo, interval.lo), std::min(known->interval.hi, interval.hi)};
    return known;
  }
  return impl_->intern(std::move(node));
}

Dim DimPool::add(Dim a, Dim b) { return impl_->combine(a, b, 1); }
Dim DimPool::sub(Dim a, Dim b) { return impl_->combine(a, b, -1); }
Dim DimPool::neg(Dim a) { return sub(constant(0), a); }

Dim DimPool::mul(Dim a, Dim b) {
  Polynomial left = Polynomial::of(a), right = Polynomial::of(b);
  if (left.terms.size() * right.terms.size() > kMostTerms) too_large();
  return impl_->from(times(left, right));
}

Dim DimPool::floordiv(Dim a, Dim b) { return impl_->floordiv(Polynomial::of(a), Polynomial::of(b)); }

Dim DimPool::ceildiv(Dim a, Dim b) { return neg(floordiv(neg(a), b)); }

Dim DimPool::mod(Dim a, Dim b) { return impl_->mod(Polynomial::of(a), Polynomial::of(b)); }
Dim DimPool::min(Dim a, Dim b) { return impl_->extremum(DimKind::Min, a, b); }
Dim DimPool::max(Dim a, Dim b) { return impl_->extremum(DimKind::Max, a, b); }

Dim DimPool::equal(Dim a, Dim b) {
  Polynomial difference = Polynomial::of(a);
  difference.add(Polynomial::of(b), -1);
  return impl_->compare(DimKind::Equal, difference);
}

Dim DimPool::less(Dim a, Dim b) {
  Polynomial difference = Polynomial::of(b);
  difference.add(Polynomial::of(a), -1);
  return impl_->compare(DimKind::Less, difference);
}

Dim DimPool::select(Dim condition, Dim then, Dim otherwise) {
  if (condition->kind == DimKind::Constant) return condition->constant != 0 ? then : otherwise;
  if (then == otherwise || excludes_zero(condition->interval)) return then;
  bool truth = condition->interval.lo >= 0 && condition->interval.hi <= 1;
  if (truth && lapidary::value_of(then) == 1 && lapidary::value_of(otherwise) == 0) return condition;
  if (condition->kind == DimKind::Equal) {  // select(a == b, a, b) == b
    Dim a = condition->operands[0], b = condition->operands[1];
    if ((a == then && b == otherwise) || (a == otherwise && b == then)) return otherwise;
  }
  return impl_->atom(DimKind::Select, {condition, then, otherwise});
}

Dim DimPool::product(std::span<const Dim> factors) {
  Dim result = constant(1);
  for (Dim factor : factors) result = mul(result, factor);
  return result;
}

Dim DimPool::exact_quotient(Dim a, Dim b) {
  std::optional<Polynomial> quotient = divide_exactly(Polynomial::of(a), Polynomial::of(b));
  return quotient ? impl_->from(*quotient) : nullptr;
}

Dim DimPool::make(DimKind kind, std::span<const Dim> operands) {
  LPD_CHECK(!operands.empty());
  switch (kind) {
    case DimKind::Sum: {
      Dim result = operands[0];
      for (Dim operand : operands.subspan(1)) result = add(result, operand);
      return result;
    }
    case DimKind::Product:
      return product(operands);
    case DimKind::FloorDiv:
      return floordiv(operands[0], operands[1]);
    case DimKind::Mod:
      return mod(operands[0], operands[1]);
    case DimKind::Min:
      return min(operands[0], operands[1]);
    case DimKind::Max:
      return max(operands[0], operands[1]);
    case DimKind::Equal:
      return equal(operands[0], operands[1]);
    case DimKind::Less:
      return less(operands[0], operands[1]);
    case DimKind::Select:
      return select(operands[0], operands[1], operands[2]);
    case DimKind::Constant:
    case DimKind::Symbol:
    case DimKind::Element:
      break;
  }
  LPD_UNREACHABLE("a leaf is not made from operands");
}

Dim DimPool::substitute(Dim root, const std::function<Dim(Dim)>& replace) {
  std::unordered_map<Dim, Dim> done;
  auto visit = [&](auto& self, Dim dim) -> Dim {
    if (dim->kind == DimKind::Constant) return dim;
    if (auto place = done.find(dim); place != done.end()) return place->second;
    Dim result = dim;
    if (is_leaf(dim->kind)) {
      if (Dim by = replace(dim)) result = by;
    } else {
      std::vector<Dim> operands;
      for (Dim operand : dim->operands) operands.push_back(self(self, operand));
      if (dim->kind == DimKind::Product) operands.push_back(constant(dim->constant));
      result = make(dim->kind, operands);
    }
    done.emplace(dim, result);
    return result;
  };
  return visit(visit, root);
}

const std::vector<Dim>& DimPool::symbols() const { return impl_->symbols; }

}  // namespace lapidary
