// The builders of loops.h: constants folded, integer arithmetic handed to loops_simplify.h, masks that are known
// dropped, statements that do nothing left out. Floats keep the arithmetic they are given: of the identities only those
// that hold for NaN, infinities and signed zeros (x * 1, x / 1, x - 0).
#include "ir/loops.h"

#include <algorithm>
#include <cmath>

#include "ir/error.h"
#include "ir/loops_nodes.h"
#include "ir/loops_simplify.h"

namespace lapidary::loops {
namespace {

bool is_constant(const Expr& e) { return e->kind == ExprKind::Const; }
bool is_constant_number(const Expr& e, double value) {
  return is_constant(e) && is_float(e->type.dtype) && e->constant.number == value && !std::signbit(e->constant.number);
}
bool is_constant_bool(const Expr& e, bool value) {
  return e && is_constant(e) && e->type.dtype == DType::Bool && (e->constant.integer != 0) == value;
}
Expr zero(ExprType type) { return nodes::constant(convert(Scalar::of_integer(DType::I64, 0), type.dtype), type.lanes); }

bool all_constant(const std::vector<Expr>& args) { return std::all_of(args.begin(), args.end(), is_constant); }

Expr fold(ScalarOp op, const std::vector<Expr>& args) {
  std::vector<Scalar> operands;
  for (const Expr& arg : args) operands.push_back(arg->constant);
  return nodes::constant(evaluate(op, operands), args.back()->type.lanes);
}

// Indices: I64 scalars. Null when the op has no normal form.
Expr apply_to_index(ScalarOp op, const std::vector<Expr>& args) {
  const Expr &a = args.front(), &b = args.back();
  if (op == ScalarOp::Add) return index_add(a, b);
  if (op == ScalarOp::Sub) return index_sub(a, b);
  if (op == ScalarOp::Mul) return index_mul(a, b);
  if (op == ScalarOp::Neg) return index_sub(integer(0), a);
  if (op == ScalarOp::Min) return index_min(a, b);
  if (op == ScalarOp::Max) return index_max(a, b);
  if (op == ScalarOp::Less) return index_less(a, b);
  if (op == ScalarOp::LessEqual) return index_less_equal(a, b);
  if (op == ScalarOp::Equal) return index_equal(a, b);
  bool natural = nodes::is_index(a) && nodes::is_index(b) && a->lo >= 0 && b->lo > 0;  // every rounding is the same
  if (op == ScalarOp::Div && natural) return index_floordiv(a, b);
  if (op == ScalarOp::TruncMod && natural) return index_mod(a, b);
  if (op == ScalarOp::FloorMod && nodes::is_index(b) && b->lo > 0) return index_mod(a, b);
  return nullptr;
}

// The operand that is the result, if it plainly is one; null otherwise.
Expr identity(ScalarOp op, const std::vector<Expr>& args) {
  const Expr &a = args.front(), &b = args.back();
  if (op == ScalarOp::Mul && is_constant_number(b, 1)) return a;
  if (op == ScalarOp::Mul && is_constant_number(a, 1)) return b;
  if (op == ScalarOp::Div && is_constant_number(b, 1)) return a;
  if (op == ScalarOp::Sub && is_constant_number(b, 0)) return a;
  if (op == ScalarOp::And && (is_constant_bool(a, true) || is_constant_bool(b, false))) return b;
  if (op == ScalarOp::And && (is_constant_bool(b, true) || is_constant_bool(a, false))) return a;
  if (op == ScalarOp::Or && (is_constant_bool(a, true) || is_constant_bool(b, false))) return a;
  if (op == ScalarOp::Or && (is_constant_bool(b, true) || is_constant_bool(a, false))) return b;
  if (op == ScalarOp::Select && (is_constant_bool(args[0], true) || same(args[1], args[2]))) return args[1];
  if (op == ScalarOp::Select && is_constant_bool(args[0], false)) return args[2];
  return nullptr;
}

bool defines_names(const Stmt& stmt) { return stmt->kind == StmtKind::Let; }

// Leaves out nothings and takes nested blocks apart where no Let's scope would change.
std::vector<Stmt> tidy(std::vector<Stmt> stmts) {
  std::vector<Stmt> result;
  for (Stmt& stmt : stmts) {
    LPD_CHECK(stmt, "null statement");
    if (stmt->kind == StmtKind::Block && std::none_of(stmt->body.begin(), stmt->body.end(), defines_names)) {
      result.insert(result.end(), stmt->body.begin(), stmt->body.end());
    } else {
      result.push_back(std::move(stmt));
    }
  }
  return result;
}

Stmt finish(StmtNode node) { return std::make_shared<const StmtNode>(std::move(node)); }

StmtNode node_of(StmtKind kind) {
  StmtNode node;
  node.kind = kind;
  return node;
}

Buffer make_buffer(std::string name, ExprType element, Space space) {
  BufferNode node;
  node.name = std::move(name);
  node.element = element;
  node.space = space;
  return std::make_shared<const BufferNode>(std::move(node));
}

}  // namespace

// --- expressions -------------------------------------------------------------------------------------------------

Expr constant(Scalar value, int lanes) { return nodes::constant(value, lanes); }
Expr integer(int64_t value) { return nodes::constant(Scalar::of_integer(DType::I64, value), 1); }
Expr real(float value, int lanes) { return nodes::constant(Scalar::of_float(DType::F32, value), lanes); }

Expr variable(const Var& var) {
  Expr node = nodes::variable(var);
  return nodes::is_i64_scalar(node) && node->lo == node->hi ? integer(node->lo) : node;
}

Expr load(const Buffer& buffer, Expr index, int lanes, Expr mask) {
  if (is_constant_bool(mask, true)) mask = nullptr;
  Expr node = nodes::load(buffer, std::move(index), lanes, mask);
  return is_constant_bool(mask, false) ? zero(node->type) : node;
}

Expr apply(ScalarOp op, std::vector<Expr> args) {
  bool index = !args.empty() && op != ScalarOp::Select && std::all_of(args.begin(), args.end(), nodes::is_i64_scalar);
  if (all_constant(args)) {
    nodes::apply(op, args);  // its type checks
    return fold(op, args);
  }
  if (index && static_cast<int>(args.size()) == operand_count(op)) {
    if (Expr simplified = apply_to_index(op, args)) return simplified;
  }
  Expr node = nodes::apply(op, args);
  Expr simplified = identity(op, args);
  return simplified ? simplified : node;
}

Expr dot(Expr a, Expr b, Expr c) { return nodes::dot(std::move(a), std::move(b), std::move(c)); }

Expr fma(Expr a, Expr b, Expr c) {
  if (nodes::is_i64_scalar(a)) return add(mul(a, b), c);
  if (a->type.dtype == DType::F32 && is_constant(a) && is_constant(b) && is_constant(c)) {
    auto value = [](const Expr& e) { return static_cast<float>(e->constant.number); };
    return real(std::fma(value(a), value(b), value(c)), a->type.lanes);
  }
  return nodes::fma(std::move(a), std::move(b), std::move(c));
}

Expr convert(Expr value, DType to) {
  if (value->type.dtype == to) return value;
  if (is_constant(value)) return nodes::constant(convert(value->constant, to), value->type.lanes);
  // What was of a storage type, widened, is that again.
  if (value->kind == ExprKind::Convert && value->args[0]->type.dtype == to && is_float(to) &&
      is_float(value->type.dtype) && bit_width(to) < bit_width(value->type.dtype) &&
      value->args[0]->kind == ExprKind::Convert)
    return value->args[0];
  return nodes::convert(std::move(value), to);
}

Expr splat(Expr value, int lanes) {
  LPD_CHECK(value->type.lanes == 1, "splat of {} lanes", value->type.lanes);
  if (lanes == 1) return value;
  if (is_constant(value)) return nodes::constant(value->constant, lanes);
  return nodes::splat(std::move(value), lanes);
}

Expr ramp(Expr start, Expr step, int lanes) {
  if (lanes == 1) return start;
  return nodes::ramp(std::move(start), std::move(step), lanes);
}

Expr reduce(ScalarOp op, Expr value) {
  if (value->type.lanes == 1) return value;
  return nodes::reduce(op, std::move(value));
}

Expr shuffle(std::vector<Expr> sources, std::vector<int> lanes_from) {
  Expr node = nodes::shuffle(std::move(sources), std::move(lanes_from));
  bool in_place = node->args[0]->type == node->type;
  for (size_t i = 0; i < node->lanes_from.size(); i++) in_place &= node->lanes_from[i] == static_cast<int>(i);
  return in_place ? node->args[0] : node;
}

// Compared in i32, which fills half the registers i64 would; the count is cut to what an i32 holds first.
Expr first_lanes(Expr count, int lanes) {
  LPD_CHECK(nodes::is_i64_scalar(count), "a lane count is an i64");
  if (lanes == 1) return less(integer(0), count);
  if (count->lo >= lanes) return constant(Scalar::of_bool(true), lanes);
  if (count->hi <= 0) return constant(Scalar::of_bool(false), lanes);
  Expr within = convert(max(min(count, integer(lanes)), integer(0)), DType::I32);
  Scalar zero = Scalar::of_integer(DType::I32, 0), one = Scalar::of_integer(DType::I32, 1);
  return less(ramp(constant(zero), constant(one), lanes), splat(within, lanes));
}

Expr add(Expr a, Expr b) { return apply(ScalarOp::Add, {std::move(a), std::move(b)}); }
Expr sub(Expr a, Expr b) { return apply(ScalarOp::Sub, {std::move(a), std::move(b)}); }
Expr mul(Expr a, Expr b) { return apply(ScalarOp::Mul, {std::move(a), std::move(b)}); }
Expr min(Expr a, Expr b) { return apply(ScalarOp::Min, {std::move(a), std::move(b)}); }
Expr max(Expr a, Expr b) { return apply(ScalarOp::Max, {std::move(a), std::move(b)}); }
Expr less(Expr a, Expr b) { return apply(ScalarOp::Less, {std::move(a), std::move(b)}); }
Expr equal(Expr a, Expr b) { return apply(ScalarOp::Equal, {std::move(a), std::move(b)}); }
Expr select(Expr condition, Expr then, Expr otherwise) {
  return apply(ScalarOp::Select, {std::move(condition), std::move(then), std::move(otherwise)});
}

Expr floordiv(Expr a, Expr b) {
  LPD_CHECK(nodes::is_i64_scalar(a) && nodes::is_i64_scalar(b), "floordiv is for i64 scalars");
  return index_floordiv(a, b);
}

Expr mod(Expr a, Expr b) {
  LPD_CHECK(nodes::is_i64_scalar(a) && nodes::is_i64_scalar(b), "mod is for i64 scalars");
  return index_mod(a, b);
}

std::optional<int64_t> value_of(const Expr& e) {
  if (!is_constant(e) || is_float(e->type.dtype)) return std::nullopt;
  return e->constant.integer;
}

Bounds bounds(const Expr& e) { return {e->lo, e->hi}; }
int64_t known_multiple(const Expr& e) { return e->multiple == 0 ? INT64_C(1) << 32 : e->multiple; }

// --- statements --------------------------------------------------------------------------------------------------

Stmt block(std::vector<Stmt> stmts) {
  StmtNode node = node_of(StmtKind::Block);
  node.body = tidy(std::move(stmts));
  return finish(std::move(node));
}

Stmt for_loop(const Var& var, Expr begin, Expr end, int64_t step, LoopKind kind, std::vector<Stmt> body) {
  LPD_CHECK(var->type == ExprType{} && nodes::is_i64_scalar(begin) && nodes::is_i64_scalar(end),
            "loop '{}' is not over i64", var->name);
  LPD_CHECK(step > 0, "loop '{}' has step {}", var->name, step);
  bool empty = is_constant(begin) && is_constant(end) && begin->constant.integer >= end->constant.integer;
  if (empty && kind != LoopKind::Task) return block({});
  StmtNode node = node_of(StmtKind::For);
  node.var = var;
  node.loop = kind;
  node.begin = std::move(begin);
  node.end = std::move(end);
  node.step = integer(step);
  node.body = tidy(std::move(body));
  return finish(std::move(node));
}

Stmt let(const Var& var, Expr value) {
  LPD_CHECK(var->type == value->type, "'{}' and its value differ in type", var->name);
  StmtNode node = node_of(StmtKind::Let);
  node.var = var;
  node.value = std::move(value);
  return finish(std::move(node));
}

Stmt if_then(Expr condition, std::vector<Stmt> then, std::vector<Stmt> otherwise) {
  LPD_CHECK((condition->type == ExprType{DType::Bool, 1}), "the condition of an if is one bool");
  if (is_constant(condition)) return block(is_constant_bool(condition, true) ? std::move(then) : std::move(otherwise));
  StmtNode node = node_of(StmtKind::If);
  node.value = std::move(condition);
  node.body = tidy(std::move(then));
  node.otherwise = tidy(std::move(otherwise));
  return finish(std::move(node));
}

Stmt store(const Buffer& buffer, Expr index, Expr value, Expr mask) {
  if (is_constant_bool(mask, true)) mask = nullptr;
  ExprType place = nodes::load(buffer, index, buffer->element.lanes > 1 ? 1 : value->type.lanes, mask)->type;
  LPD_CHECK(place == value->type, "store of another type than '{}' holds", buffer->name);
  if (is_constant_bool(mask, false)) return block({});
  StmtNode node = node_of(StmtKind::Store);
  node.buffer = buffer;
  node.index = std::move(index);
  node.value = std::move(value);
  node.mask = std::move(mask);
  return finish(std::move(node));
}

Stmt alloc(const Buffer& buffer, std::vector<Stmt> body) {
  LPD_CHECK(buffer->space != Space::Global && buffer->space != Space::Stage, "alloc of '{}', which is a parameter",
            buffer->name);
  StmtNode node = node_of(StmtKind::Alloc);
  node.buffer = buffer;
  node.body = tidy(std::move(body));
  return finish(std::move(node));
}

Stmt barrier() { return finish(node_of(StmtKind::Barrier)); }

Stmt combine(const Buffer& fragment, ScalarOp op, int group) {
  LPD_CHECK(fragment->space == Space::Fragment && group > 0 && (group & (group - 1)) == 0,
            "'{}' is combined over {} threads", fragment->name, group);
  if (group == 1) return block({});
  StmtNode node = node_of(StmtKind::Combine);
  node.buffer = fragment;
  node.op = op;
  node.group = group;
  return finish(std::move(node));
}

Stmt product(const Buffer& accumulator, ProductNode product, Expr begin, Expr end) {
  LPD_CHECK(accumulator->space == Space::Fragment && nodes::is_i64_scalar(begin) && nodes::is_i64_scalar(end) &&
                product.a.value->type.lanes == 1 && product.b.value->type.lanes == 1,
            "product into '{}'", accumulator->name);
  StmtNode node = node_of(StmtKind::Product);
  node.buffer = accumulator;
  node.begin = std::move(begin);
  node.end = std::move(end);
  node.product = std::make_shared<const ProductNode>(std::move(product));
  return finish(std::move(node));
}

Stmt attend(const Buffer& accumulator, AttendNode attend, Expr begin, Expr end) {
  LPD_CHECK(accumulator->space == Space::Fragment && nodes::is_i64_scalar(begin) && nodes::is_i64_scalar(end) &&
                (attend.scored->type == ExprType{DType::F32, 1}) && (attend.score->type == ExprType{DType::F32, 1}),
            "attention into '{}'", accumulator->name);
  StmtNode node = node_of(StmtKind::Attend);
  node.buffer = accumulator;
  node.begin = std::move(begin);
  node.end = std::move(end);
  node.attend = std::make_shared<const AttendNode>(std::move(attend));
  return finish(std::move(node));
}

// --- variables and buffers ---------------------------------------------------------------------------------------

Var make_var(std::string name, ExprType type, int64_t lo, int64_t hi, int64_t multiple) {
  LPD_CHECK(lo <= hi && multiple >= 1, "'{}' in [{}, {}], a multiple of {}", name, lo, hi, multiple);
  VarNode node;
  node.name = std::move(name);
  node.type = type;
  node.lo = lo;
  node.hi = hi;
  node.multiple = multiple;
  return std::make_shared<const VarNode>(std::move(node));
}

Buffer make_local(std::string name, ExprType element, int64_t size) {
  LPD_CHECK(size > 0, "local '{}' has {} elements", name, size);
  BufferNode node = *make_buffer(std::move(name), element, Space::Local);
  node.size = size;
  return std::make_shared<const BufferNode>(std::move(node));
}

Buffer make_global(std::string name, DType dtype, bool written, bool reads_own_writes) {
  BufferNode node = *make_buffer(std::move(name), {dtype, 1}, Space::Global);
  node.written = written;
  node.reads_own_writes = reads_own_writes;
  return std::make_shared<const BufferNode>(std::move(node));
}

Buffer make_flag(std::string name) {
  BufferNode node = *make_global(std::move(name), DType::I32, true);
  node.flag = true;
  return std::make_shared<const BufferNode>(std::move(node));
}

Buffer make_stage(std::string name, DType dtype) { return make_buffer(std::move(name), {dtype, 1}, Space::Stage); }

static Buffer make_of_block(std::string name, DType dtype, Space space, int64_t size) {
  LPD_CHECK(size > 0, "'{}' has {} elements", name, size);
  BufferNode node = *make_buffer(std::move(name), {dtype, 1}, space);
  node.size = size;
  return std::make_shared<const BufferNode>(std::move(node));
}

Buffer make_shared_memory(std::string name, DType dtype, int64_t size) {
  return make_of_block(std::move(name), dtype, Space::Shared, size);
}

Buffer make_fragment(std::string name, DType dtype, int64_t size) {
  return make_of_block(std::move(name), dtype, Space::Fragment, size);
}

// --- names in reports ------------------------------------------------------------------------------------------

std::string report_name(const Kernel& kernel) {
  return kernel.schedule.empty() ? kernel.family : kernel.family + " " + kernel.schedule;
}

namespace {

bool is_scheduled(std::string_view report_name, std::string_view how) {
  const std::string_view schedule = report_name.substr(std::min(report_name.find(' '), report_name.size()));
  return schedule == fmt::format(" {}", how) || schedule.starts_with(fmt::format(" {} ", how));
}

}  // namespace

bool is_on_host(std::string_view report_name) { return is_scheduled(report_name, kOnHost); }
bool is_on_host(const Kernel& kernel) { return is_on_host(report_name(kernel)); }

bool is_plain(std::string_view report_name) {
  if (is_on_host(report_name)) return false;
  return report_name.starts_with(kPlain) || is_scheduled(report_name, kPlain);
}

}  // namespace lapidary::loops
