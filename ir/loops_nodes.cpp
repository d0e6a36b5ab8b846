// Type rules and facts of every expression kind; see loops_nodes.h.
//
// Facts are noted once, when a node is made, from those of its arguments, so bounds() and known_multiple() cost
// nothing however deep the expression. Intervals follow the usual rules; a sum or product of index values is clamped
// to the index range instead of widened past it, by the contract in the header.
#include "ir/loops_nodes.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "ir/error.h"

namespace lapidary::loops::nodes {
namespace {

using Wide = __int128;
constexpr int64_t kMaxMultiple = INT64_C(1) << 32;

std::string describe(const ExprType& type) {
  return type.lanes == 1 ? std::string(name_of(type.dtype)) : fmt::format("{}x{}", name_of(type.dtype), type.lanes);
}

int64_t clamp_index(Wide value) { return static_cast<int64_t>(std::clamp<Wide>(value, kIndexMin, kIndexMax)); }

void set_interval(ExprNode& node, Wide lo, Wide hi) {
  node.lo = clamp_index(lo);
  node.hi = clamp_index(hi);
}

// The divisor 0, of the constant 0, is a multiple of everything; others are kept small enough to multiply.
int64_t product_multiple(int64_t a, int64_t b) {
  if (a == 0 || b == 0) return 0;
  Wide product = static_cast<Wide>(a) * b;
  return product <= kMaxMultiple ? static_cast<int64_t>(product) : std::max(a, b);
}

void note_product(ExprNode& node, const ExprNode& a, const ExprNode& b) {
  Wide corners[] = {static_cast<Wide>(a.lo) * b.lo, static_cast<Wide>(a.lo) * b.hi, static_cast<Wide>(a.hi) * b.lo,
                    static_cast<Wide>(a.hi) * b.hi};
  set_interval(node, *std::min_element(corners, corners + 4), *std::max_element(corners, corners + 4));
  node.multiple = product_multiple(a.multiple, b.multiple);
}

// Division that rounds towards zero, by a positive divisor: monotone in the dividend.
void note_quotient(ExprNode& node, const ExprNode& a, const ExprNode& b) {
  if (b.lo <= 0) return;
  node.lo = std::min(a.lo / b.lo, a.lo / b.hi);
  node.hi = std::max(a.hi / b.lo, a.hi / b.hi);
  if (b.lo == b.hi && a.multiple % b.lo == 0) node.multiple = a.multiple / b.lo;
}

void note_remainder(ExprNode& node, const ExprNode& a, const ExprNode& b) {
  if (b.lo <= 0) return;
  bool unchanged = a.lo >= 0 && a.hi < b.lo;
  node.lo = unchanged ? a.lo : 0;
  node.hi = unchanged ? a.hi : b.hi - 1;
  node.multiple = std::gcd(a.multiple, b.multiple);
}

void note_choice(ExprNode& node, const ExprNode& a, const ExprNode& b) {
  node.lo = std::min(a.lo, b.lo);
  node.hi = std::max(a.hi, b.hi);
  node.multiple = std::gcd(a.multiple, b.multiple);
}

void note_apply(ExprNode& node) {
  const ExprNode& a = *node.args.front();
  const ExprNode& b = *node.args.back();
  bool index = std::all_of(node.args.begin(), node.args.end(),
                           [](const Expr& arg) { return !is_i64_scalar(arg) || is_index(arg); });
  // Data passes through min, max and select alone: clamping it to an index range makes it an index.
  if (node.op == ScalarOp::Select) return note_choice(node, *node.args[1], b);
  if (node.op == ScalarOp::Min || node.op == ScalarOp::Max) {
    note_choice(node, a, b);
    (node.op == ScalarOp::Min ? node.hi : node.lo) =
        node.op == ScalarOp::Min ? std::min(a.hi, b.hi) : std::max(a.lo, b.lo);
    return;
  }
  if (node.op == ScalarOp::FloorMod && is_index(node.args[1])) {
    if (b.lo <= 0) return;
    if (is_index(node.args[0])) return note_remainder(node, a, b);
    node.lo = 0;
    node.hi = b.hi - 1;
    return;
  }
  if (!index) return;
  if (node.op == ScalarOp::Add || node.op == ScalarOp::Sub) {
    bool plus = node.op == ScalarOp::Add;
    set_interval(node, static_cast<Wide>(a.lo) + (plus ? b.lo : -b.hi),
                 static_cast<Wide>(a.hi) + (plus ? b.hi : -b.lo));
    node.multiple = std::gcd(a.multiple, b.multiple);
  } else if (node.op == ScalarOp::Mul) {
    note_product(node, a, b);
  } else if (node.op == ScalarOp::Div) {
    note_quotient(node, a, b);
  } else if (node.op == ScalarOp::Neg) {
    set_interval(node, -static_cast<Wide>(a.hi), -static_cast<Wide>(a.lo));
    node.multiple = a.multiple;
  }
}

void note_facts(ExprNode& node) {
  if (!(node.type == ExprType{DType::I64, 1})) return;
  switch (node.kind) {
    case ExprKind::Const:
      node.lo = node.hi = node.constant.integer;
      node.multiple = node.lo == INT64_MIN ? 1 : std::abs(node.lo);
      return;
    case ExprKind::Variable:
      node.lo = node.var->lo;
      node.hi = node.var->hi;
      node.multiple = node.lo == 0 && node.hi == 0 ? 0 : node.var->multiple;
      return;
    case ExprKind::Apply:
      return note_apply(node);
    case ExprKind::Load:  // data may have any value
    case ExprKind::Convert:
    case ExprKind::Fma:
    case ExprKind::Dot:
    case ExprKind::Splat:
    case ExprKind::Ramp:
    case ExprKind::Reduce:
    case ExprKind::Shuffle:
      return;
  }
}

uint64_t mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * UINT64_C(0x9E3779B97F4A7C15);
  return hash ^ (hash >> 29);
}

// Only ever compared for equality, so addresses may take part.
uint64_t hash_of(const ExprNode& node) {
  uint64_t hash = mix(static_cast<uint64_t>(node.kind) << 8 | static_cast<uint64_t>(node.type.dtype), node.type.lanes);
  hash = mix(mix(hash, static_cast<uint64_t>(node.op)), std::bit_cast<uint64_t>(node.constant.number));
  hash = mix(hash, static_cast<uint64_t>(node.constant.integer));
  hash = mix(hash, reinterpret_cast<uintptr_t>(node.var.get()) ^ reinterpret_cast<uintptr_t>(node.buffer.get()));
  if (node.kind == ExprKind::Apply && node.op == ScalarOp::Mul) {  // products are compared as sets of factors
    uint64_t sum = 0;
    for (const Expr& arg : node.args) {
      bool product = arg->kind == ExprKind::Apply && arg->op == ScalarOp::Mul;
      sum += product ? arg->hash : mix(0, arg->hash);
    }
    return sum;
  }
  for (const Expr& arg : node.args) hash = mix(hash, arg->hash);
  for (int lane : node.lanes_from) hash = mix(hash, static_cast<uint64_t>(lane));
  return hash;
}

ExprNode node_of(ExprKind kind, ExprType type) {
  ExprNode node;
  node.kind = kind;
  node.type = type;
  return node;
}

Expr finish(ExprNode node) {
  note_facts(node);
  node.hash = hash_of(node);
  return std::make_shared<const ExprNode>(std::move(node));
}

uint16_t checked_lanes(int64_t lanes) {
  LPD_CHECK(lanes >= 1 && lanes <= 4096, "{} lanes", lanes);
  return static_cast<uint16_t>(lanes);
}

bool takes_storage_types(ScalarOp op) { return op == ScalarOp::Select; }

}  // namespace

bool is_arithmetic(DType dtype) {
  switch (dtype) {
    case DType::Bool:
    case DType::I8:
    case DType::I16:
    case DType::I32:
    case DType::I64:
    case DType::U8:
    case DType::U16:
    case DType::U32:
    case DType::U64:
    case DType::F32:
    case DType::F64:
      return true;
    case DType::Undefined:
    case DType::String:
    case DType::F16:
    case DType::BF16:
    case DType::C64:
    case DType::C128:
    case DType::F8E4M3FN:
    case DType::F8E4M3FNUZ:
    case DType::F8E5M2:
    case DType::F8E5M2FNUZ:
    case DType::F8E8M0:
    case DType::F4E2M1:
    case DType::U4:
    case DType::I4:
    case DType::U2:
    case DType::I2:
      return false;
  }
  return false;
}

Expr constant(Scalar value, int lanes) {
  ExprNode node = node_of(ExprKind::Const, {value.dtype, checked_lanes(lanes)});
  node.constant = value;
  return finish(std::move(node));
}

Expr variable(const Var& var) {
  LPD_CHECK(var, "null variable");
  ExprNode node = node_of(ExprKind::Variable, var->type);
  node.var = var;
  return finish(std::move(node));
}

Expr load(const Buffer& buffer, Expr index, int lanes, Expr mask) {
  LPD_CHECK(buffer && index, "null buffer or index");
  ExprType element = buffer->element, at = index->type;
  bool gather = at.lanes > 1;
  LPD_CHECK(at.dtype == DType::I64 || (gather && at.dtype == DType::I32), "index of '{}' has type {}", buffer->name,
            describe(at));
  LPD_CHECK(!gather || lanes == 1 || lanes == at.lanes, "a gather of {} indices gives {} lanes", at.lanes, lanes);
  if (element.lanes > 1) {
    LPD_CHECK(!gather && !mask && (lanes == 1 || lanes == element.lanes), "'{}' holds vectors: one index, no mask",
              buffer->name);
    lanes = element.lanes;
  } else if (gather) {
    lanes = at.lanes;
  }
  ExprNode node = node_of(ExprKind::Load, {element.dtype, checked_lanes(lanes)});
  LPD_CHECK(!mask || mask->type == (ExprType{DType::Bool, node.type.lanes}), "mask of a load of {} lanes has type {}",
            lanes, describe(mask->type));
  node.buffer = buffer;
  node.args.push_back(std::move(index));
  if (mask) node.args.push_back(std::move(mask));
  return finish(std::move(node));
}

Expr apply(ScalarOp op, std::vector<Expr> args) {
  LPD_CHECK(static_cast<int>(args.size()) == operand_count(op), "{} of {} operands", name_of(op), args.size());
  std::vector<DType> dtypes;
  bool select = op == ScalarOp::Select;
  for (size_t i = 0; i < args.size(); i++) {
    ExprType type = args[i]->type, first = args[select && i > 0]->type;
    LPD_CHECK(type.lanes == first.lanes, "{}: operand {} has {} lanes, operand 0 has {}", name_of(op), i, type.lanes,
              first.lanes);
    LPD_CHECK(is_arithmetic(type.dtype) || takes_storage_types(op), "{} on {}", name_of(op), describe(type));
    LPD_CHECK(type.dtype == first.dtype, "{}: operand {} is {}, another {}", name_of(op), i, describe(type),
              describe(first));
    dtypes.push_back(type.dtype);
  }
  if (select) {
    LPD_CHECK(dtypes[0] == DType::Bool, "select on a condition of type {}", describe(args[0]->type));
    LPD_CHECK(args[0]->type.lanes == args[1]->type.lanes, "select: {} conditions for {} lanes", args[0]->type.lanes,
              args[1]->type.lanes);
  }
  LPD_CHECK(select || accepts(op, dtypes[0]), "{} does not take {}", name_of(op), name_of(dtypes[0]));
  ExprNode node = node_of(ExprKind::Apply, {result_type(op, dtypes), args.back()->type.lanes});
  node.op = op;
  node.args = std::move(args);
  return finish(std::move(node));
}

Expr fma(Expr a, Expr b, Expr c) {
  LPD_CHECK(a->type == b->type && a->type == c->type, "fma of {}, {} and {}", describe(a->type), describe(b->type),
            describe(c->type));
  LPD_CHECK(is_arithmetic(a->type.dtype) && a->type.dtype != DType::Bool, "fma on {}", describe(a->type));
  ExprNode node = node_of(ExprKind::Fma, a->type);
  node.args = {std::move(a), std::move(b), std::move(c)};
  return finish(std::move(node));
}

Expr dot(Expr a, Expr b, Expr c) {
  const bool signs = (a->type.dtype == DType::U8 && b->type.dtype == DType::I8) ||
                     (a->type.dtype == DType::I8 && b->type.dtype == DType::U8);
  const bool lanes = b->type.lanes % c->type.lanes == 0 &&
                     (a->type.lanes == b->type.lanes || a->type.lanes * c->type.lanes == b->type.lanes);
  LPD_CHECK(signs && c->type.dtype == DType::I32 && lanes, "dot of {}, {} and {}", describe(a->type), describe(b->type),
            describe(c->type));
  ExprNode node = node_of(ExprKind::Dot, c->type);
  node.args = {std::move(a), std::move(b), std::move(c)};
  return finish(std::move(node));
}

Expr convert(Expr value, DType to) {
  LPD_CHECK(bit_width(to) > 0 && value->type.dtype != to, "convert of {} to {}", describe(value->type), name_of(to));
  ExprNode node = node_of(ExprKind::Convert, {to, value->type.lanes});
  node.args.push_back(std::move(value));
  return finish(std::move(node));
}

Expr splat(Expr value, int lanes) {
  LPD_CHECK(value->type.lanes == 1 && lanes > 1, "splat of {} to {} lanes", describe(value->type), lanes);
  ExprNode node = node_of(ExprKind::Splat, {value->type.dtype, checked_lanes(lanes)});
  node.args.push_back(std::move(value));
  return finish(std::move(node));
}

Expr ramp(Expr start, Expr step, int lanes) {
  ExprType type = start->type;
  LPD_CHECK(type == step->type && type.lanes == 1 && (type.dtype == DType::I64 || type.dtype == DType::I32),
            "ramp from {} by {}", describe(type), describe(step->type));
  LPD_CHECK(lanes > 1, "ramp of {} lanes", lanes);
  ExprNode node = node_of(ExprKind::Ramp, {type.dtype, checked_lanes(lanes)});
  node.args = {std::move(start), std::move(step)};
  return finish(std::move(node));
}

Expr reduce(ScalarOp op, Expr value) {
  int lanes = value->type.lanes;
  LPD_CHECK(op == ScalarOp::Add || op == ScalarOp::Mul || op == ScalarOp::Min || op == ScalarOp::Max, "reduce by {}",
            name_of(op));
  LPD_CHECK(lanes > 1 && (lanes & (lanes - 1)) == 0, "reduce of {} lanes", lanes);
  LPD_CHECK(is_arithmetic(value->type.dtype) && accepts(op, value->type.dtype), "reduce of {}", describe(value->type));
  ExprNode node = node_of(ExprKind::Reduce, {value->type.dtype, 1});
  node.op = op;
  node.args.push_back(std::move(value));
  return finish(std::move(node));
}

Expr shuffle(std::vector<Expr> sources, std::vector<int> lanes_from) {
  LPD_CHECK(!sources.empty() && !lanes_from.empty(), "shuffle of nothing");
  int given = 0;
  for (const Expr& source : sources) {
    LPD_CHECK(source->type == sources[0]->type, "shuffle of {} and {}", describe(sources[0]->type),
              describe(source->type));
    given += source->type.lanes;
  }
  for (int lane : lanes_from) LPD_CHECK(lane >= -1 && lane < given, "shuffle takes lane {} of {}", lane, given);
  ExprNode node =
      node_of(ExprKind::Shuffle, {sources[0]->type.dtype, checked_lanes(static_cast<int64_t>(lanes_from.size()))});
  node.args = std::move(sources);
  node.lanes_from = std::move(lanes_from);
  return finish(std::move(node));
}

}  // namespace lapidary::loops::nodes
