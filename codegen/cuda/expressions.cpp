#include "codegen/cuda/expressions.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "ir/error.h"
#include "ir/small_floats.h"

namespace lapidary::codegen::cuda {

using loops::ExprKind;
using loops::ExprNode;

namespace {

std::string integer_literal(DType dtype, int64_t value) {
  if (dtype == DType::Bool) return value ? "true" : "false";
  if (dtype == DType::I64)
    return value == INT64_MIN ? "i64(-9223372036854775807ll - 1)"
           : value < 0        ? fmt::format("({}ll)", value)
                              : fmt::format("{}ll", value);
  if (dtype == DType::U64) return fmt::format("{}ull", static_cast<uint64_t>(value));
  return fmt::format("{}({}ll)", memory_type(dtype), value);
}

// Every bit of it: as a hexadecimal number, or by its code.
std::string float_literal(DType dtype, double value) {
  const bool is_double = dtype == DType::F64;
  if (std::isfinite(value)) return fmt::format("{:a}{}", value, is_double ? "" : "f");
  if (std::isnan(value)) return is_double ? "double_of(0x7ff8000000000000ull)" : "float_of(0x7fc00000u)";
  const std::string infinity = is_double ? "double_of(0x7ff0000000000000ull)" : "float_of(0x7f800000u)";
  return value < 0 ? "(-" + infinity + ")" : infinity;
}

std::string literal(const Scalar& scalar) {
  if (scalar.dtype == DType::F32 || scalar.dtype == DType::F64) return float_literal(scalar.dtype, scalar.number);
  if (!is_float(scalar.dtype)) return integer_literal(scalar.dtype, scalar.integer);
  uint16_t code = 0;
  store_scalar(scalar, &code, 0);
  return fmt::format("{}({})", memory_type(scalar.dtype), code);
}

bool is_trivial(const ExprNode& node) {
  return node.kind == ExprKind::Variable || (node.kind == ExprKind::Const && node.type.lanes == 1);
}

// Of a word of which low bits are taken, so few that they are the mantissa of a float as they stand: the mask's
// argument.
std::optional<size_t> mask_of_mantissa(const ExprNode& node) {
  constexpr int64_t kImplicitBit = INT64_C(1) << 23;
  if (node.kind != ExprKind::Apply || node.op != ScalarOp::And || node.type.dtype != DType::I32) return {};
  for (const size_t i : {0, 1}) {
    const ExprNode& arg = *node.args[i];
    if (arg.kind == ExprKind::Const && arg.constant.integer >= 0 && arg.constant.integer < kImplicitBit) return i;
  }
  return {};
}

std::string lanes_argument(const ExprNode& node) { return fmt::format("<{}>", node.type.lanes); }

}  // namespace

std::string_view memory_type(DType dtype) {
  switch (dtype) {
    case DType::Bool:
    case DType::U8:
    case DType::F8E4M3FN:
    case DType::F8E4M3FNUZ:
    case DType::F8E5M2:
    case DType::F8E5M2FNUZ:
    case DType::F8E8M0:
      return "u8";
    case DType::F16:
    case DType::BF16:
    case DType::U16:
      return "u16";
    case DType::F32:
    case DType::F64:
    case DType::I8:
    case DType::I16:
    case DType::I32:
    case DType::I64:
    case DType::U32:
    case DType::U64:
      return name_of(dtype);
    default:
      LPD_UNREACHABLE("elements of {} in a kernel", name_of(dtype));
  }
}

std::string value_type(const loops::ExprType& type) {
  const std::string_view element = type.dtype == DType::Bool ? "bool" : memory_type(type.dtype);
  return type.lanes == 1 ? std::string(element) : fmt::format("vec<{}, {}>", element, type.lanes);
}

std::string ExpressionPrinter::unique(const std::string& name) {
  std::string clean;
  for (char c : name) clean += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return fmt::format("{}_{}", clean, declared_++);
}

const std::string& ExpressionPrinter::declare(const loops::Var& var) { return names_[var.get()] = unique(var->name); }

const std::string& ExpressionPrinter::declare(const loops::Buffer& buffer) {
  auto& name = names_[buffer.get()];
  if (name.empty()) name = unique(buffer->name);
  return name;
}

void ExpressionPrinter::begin(const std::vector<loops::Expr>& roots) {
  uses_.clear();
  computed_.clear();
  for (const loops::Expr& root : roots)
    if (root) count(*root);
}

void ExpressionPrinter::count(const ExprNode& node) {
  if (is_trivial(node) || ++uses_[&node] > 1) return;
  for (const loops::Expr& arg : node.args) count(*arg);
}

std::string ExpressionPrinter::value(const loops::Expr& expr) {
  if (auto found = computed_.find(expr.get()); found != computed_.end()) return found->second;
  if (!is_trivial(*expr) && uses_[expr.get()] > 1) return named(expr);
  return print(*expr);
}

std::string ExpressionPrinter::named(const loops::Expr& expr) {
  if (is_trivial(*expr)) return print(*expr);
  auto& name = computed_[expr.get()];
  if (!name.empty()) return name;
  const bool rough = std::exchange(rough_, false);
  const std::string text = print(*expr);
  rough_ = rough;
  const std::string given = unique("v");
  text_.line("const {} {} = {};", value_type(expr->type), given, text);
  return computed_[expr.get()] = given;
}

std::string ExpressionPrinter::call(std::string_view function, const ExprNode& node) {
  std::string text(function);
  text += '(';
  for (size_t i = 0; i < node.args.size(); ++i) text += (i ? ", " : "") + value(node.args[i]);
  return text + ')';
}

std::string ExpressionPrinter::print(const ExprNode& node) {
  switch (node.kind) {
    case ExprKind::Const:
      return node.type.lanes == 1 ? literal(node.constant)
                                  : fmt::format("splat<{}>({})", node.type.lanes, literal(node.constant));
    case ExprKind::Variable: {
      auto found = names_.find(node.var.get());
      LPD_CHECK(found != names_.end(), "variable '{}' is not in scope", node.var->name);
      return found->second;
    }
    case ExprKind::Load:
      return load(node);
    case ExprKind::Apply:
      return apply(node);
    case ExprKind::Fma:
      return call("op_fma", node);
    case ExprKind::Dot:
      return call("dot", node);
    case ExprKind::Convert:
      return convert(node);
    case ExprKind::Splat:
      return call("splat" + lanes_argument(node), node);
    case ExprKind::Ramp:
      return call("ramp" + lanes_argument(node), node);
    case ExprKind::Reduce:
      return call(fmt::format("reduce_{}", name_of(node.op)), node);
    case ExprKind::Shuffle:
      return shuffle(node);
  }
  LPD_UNREACHABLE();
}

std::string ExpressionPrinter::convert(const ExprNode& node) {
  const DType from = node.args[0]->type.dtype, to = node.type.dtype;
  const std::string function = fmt::format("convert_{}_{}", name_of(from), name_of(to));
  const ExprNode& given = *node.args[0];
  if (const auto mask = mask_of_mantissa(given); mask && to == DType::F32)
    return fmt::format("float_of_mantissa({}, {})", value(given.args[1 - *mask]), given.args[*mask]->constant.integer);
  const bool rounds = from == DType::F32 && (to == DType::F16 || to == DType::BF16);
  const bool outer = std::exchange(rough_, rounds && !strict_math_);
  const std::string text = rough_ && is_only(*node.args[0], ScalarOp::Erf)  // nothing can cancel before it is rounded
                               ? fmt::format("{}({})", function, call("op_rough_erf", *node.args[0]))
                               : call(function, node);
  rough_ = outer;
  return text;
}

bool ExpressionPrinter::is_only(const ExprNode& node, ScalarOp op) const {
  const auto uses = uses_.find(&node);
  return node.kind == ExprKind::Apply && node.op == op && uses != uses_.end() && uses->second == 1;
}

// x, where the node is x * 0.5 * (1 + erf(x / sqrt(2))) and nothing else needs a part of it.
const loops::Expr* ExpressionPrinter::argument_of_gelu(const ExprNode& node) const {
  constexpr double kHalf = 0.5, kRootOfHalf = 0.70710678118654752, kOff = 1e-3;  // as 16 bits may have it
  const auto other_factor = [](const ExprNode& product, double factor) -> const loops::Expr* {
    for (const int i : {0, 1}) {
      const ExprNode& constant = *product.args[i];
      if (constant.kind == ExprKind::Const && std::abs(constant.constant.number - factor) < kOff * factor)
        return &product.args[1 - i];
    }
    return nullptr;
  };
  for (const int i : {0, 1}) {
    const ExprNode &half = *node.args[i], &sum = *node.args[1 - i];
    if (!is_only(half, ScalarOp::Mul) || !is_only(sum, ScalarOp::Add)) continue;
    const bool one_first = sum.args[0]->kind == ExprKind::Const;
    const ExprNode &one = *sum.args[one_first ? 0 : 1], &erf = *sum.args[one_first ? 1 : 0];
    if (one.kind != ExprKind::Const || one.constant.number != 1 || !is_only(erf, ScalarOp::Erf)) continue;
    if (!is_only(*erf.args[0], ScalarOp::Mul)) continue;
    const loops::Expr *x = other_factor(half, kHalf), *again = other_factor(*erf.args[0], kRootOfHalf);
    if (x && again && *x == *again) return x;
  }
  return nullptr;
}

// What f32 is not needed for to its last bit; empty where there is nothing rougher.
std::string ExpressionPrinter::rough(const ExprNode& node) {
  if (!rough_ || node.type.dtype != DType::F32) return {};
  if (node.op == ScalarOp::Sigmoid) return call("op_rough_sigmoid", node);
  if (node.op == ScalarOp::Mul)
    if (const loops::Expr* x = argument_of_gelu(node)) return fmt::format("op_rough_gelu({})", value(*x));
  if (node.op != ScalarOp::Add) return {};
  for (int i : {0, 1}) {
    const ExprNode &curve = *node.args[i], &one = *node.args[1 - i];
    if (one.kind != ExprKind::Const || one.constant.number != 1) continue;
    if (is_only(curve, ScalarOp::Erf)) return call("op_rough_one_plus_erf", curve);
    if (is_only(curve, ScalarOp::Tanh)) return call("op_rough_one_plus_tanh", curve);
  }
  return {};
}

// Scalar i64 arithmetic whose interval is known does not wrap, and divides without guards.
std::string ExpressionPrinter::apply(const ExprNode& node) {
  if (node.op == ScalarOp::Select) return call("op_select", node);
  if (node.type == loops::ExprType{DType::I64, 1} && node.args.size() == 2) {
    const ExprNode &x = *node.args[0], &y = *node.args[1];
    const bool bounded = node.lo > INT64_MIN && node.hi < INT64_MAX, plain = x.lo >= 0 && y.lo > 0;
    const auto infix = [&](const char* op) {
      return fmt::format("({} {} {})", value(node.args[0]), op, value(node.args[1]));
    };
    if (node.op == ScalarOp::Add && bounded) return infix("+");
    if (node.op == ScalarOp::Sub && bounded) return infix("-");
    if (node.op == ScalarOp::Mul && bounded) return infix("*");
    const bool small = std::max(x.hi, y.hi) <= UINT32_MAX;
    if (node.op == ScalarOp::Div && plain) return call(small ? "small_quotient" : "quotient", node);
    if ((node.op == ScalarOp::FloorMod || node.op == ScalarOp::TruncMod) && plain)
      return call(small ? "small_remainder" : "remainder", node);
  }
  if (const std::string text = rough(node); !text.empty()) return text;
  if (node.op == ScalarOp::Div && node.type.lanes > 1) {
    const loops::Expr& divisor = node.args[1];
    const char* name = rough_ && node.type.dtype == DType::F32 ? "op_rough_div" : "op_div";
    if (divisor->kind == ExprKind::Splat)
      return fmt::format("{}({}, {})", name, value(node.args[0]), value(divisor->args[0]));
    if (divisor->kind == ExprKind::Const)
      return fmt::format("{}({}, {})", name, value(node.args[0]), literal(divisor->constant));
  }
  return call(fmt::format("op_{}", name_of(node.op)), node);
}

void ExpressionPrinter::give(const loops::Expr& load, std::string value) {
  given_load_ = load;
  given_ = std::move(value);
}

std::string ExpressionPrinter::load(const ExprNode& node) {
  const bool is_given = given_load_ && node.buffer == given_load_->buffer && node.type == given_load_->type &&
                        node.args.size() == given_load_->args.size() && loops::same(node.args[0], given_load_->args[0]);
  if (is_given) return given_;
  const std::string& buffer = names_.at(node.buffer.get());
  const std::string index = value(node.args[0]);
  const std::string mask = node.args.size() > 1 ? ", " + value(node.args[1]) : "";
  if (node.buffer->element.lanes > 1) return fmt::format("{}[{}]", buffer, index);
  std::string loaded;
  if (node.args[0]->type.lanes > 1)
    loaded = fmt::format("gather({}, {}{})", buffer, index, mask);
  else if (node.type.lanes == 1)
    loaded =
        mask.empty() ? fmt::format("{}[{}]", buffer, index) : fmt::format("load_if({} + {}{})", buffer, index, mask);
  else
    loaded = fmt::format("{}<{}>({} + {}{})",
                         is_whole(*node.buffer, node.args[0], node.type, mask.empty()) ? "load_aligned" : "load",
                         node.type.lanes, buffer, index, mask);
  return node.type.dtype == DType::Bool ? "truth(" + loaded + ")" : loaded;
}

std::string ExpressionPrinter::store(const loops::StmtNode& statement) {
  const loops::BufferNode& buffer = *statement.buffer;
  const std::string& name = names_.at(&buffer);
  std::string data = value(statement.value);
  const std::string index = value(statement.index);
  if (buffer.element.lanes > 1) return fmt::format("{}[{}] = {}", name, index, data);
  if (buffer.element.dtype == DType::Bool) data = "as_byte(" + data + ")";
  const std::string mask = statement.mask ? ", " + value(statement.mask) : "";
  if (statement.index->type.lanes > 1) return fmt::format("scatter({}, {}, {}{})", name, index, data, mask);
  if (!is_whole(buffer, statement.index, statement.value->type, !statement.mask))
    return fmt::format("store({} + {}, {}{})", name, index, data, mask);
  const bool seen_later = buffer.space != loops::Space::Global || buffer.reads_own_writes;
  return fmt::format("{}({} + {}, {})", seen_later ? "store_aligned" : "store_global", name, index, data);
}

// Are the lanes a piece of memory that a few accesses take?
bool ExpressionPrinter::is_whole(const loops::BufferNode& buffer, const loops::Expr& index, loops::ExprType type,
                                 bool unmasked) {
  const bool memory = buffer.space == loops::Space::Global || buffer.space == loops::Space::Shared;
  const int bits = type.lanes * bit_width(buffer.element.dtype);
  const int64_t piece = std::min<int64_t>(type.lanes, 128 / bit_width(buffer.element.dtype));  // lanes of an access
  return memory && unmasked && type.lanes > 1 && bits <= 512 && (type.lanes & (type.lanes - 1)) == 0 &&
         loops::known_multiple(index) % piece == 0;
}

// Lane by lane, from sources that have names.
std::string ExpressionPrinter::shuffle(const ExprNode& node) {
  const int given = node.args[0]->type.lanes;
  std::vector<std::string> sources;
  for (const loops::Expr& arg : node.args) sources.push_back(named(arg));
  const auto lane = [&](int from) {
    if (from < 0) return value_type({node.type.dtype, 1}) + "(0)";
    const std::string& source = sources[static_cast<size_t>(from / given)];
    return given == 1 ? source : fmt::format("{}.v[{}]", source, from % given);
  };
  if (node.type.lanes == 1) return lane(node.lanes_from[0]);
  std::string text = value_type(node.type) + "{{";
  for (size_t i = 0; i < node.lanes_from.size(); ++i) text += (i ? ", " : "") + lane(node.lanes_from[i]);
  return text + "}}";
}

}  // namespace lapidary::codegen::cuda
