// Prints kernels. The grammar, by example:
//
//   kernel "elementwise" schedule="lanes=16" (%x: global f32, %y: global f32 written, n: i64 range [0, ..]) {
//     for task t in [0, (n + 15) / 16) {
//       let m: boolx16 = ramp(i32 0, i32 1, 16) < splat(i32(min(n - t * 16, 16)), 16)
//       store %y[t * 16 : 16 if m] = max(%x[t * 16 : 16 if m], f32x16 0.0)
//     }
//   }
//
// Statements: for [unrolled | task] VAR in [BEGIN, END) [step N] {}, let VAR: TYPE = EXPR, if EXPR {} else {},
// store %BUFFER[INDEX : LANES if MASK] = EXPR, local %BUFFER: TYPE[SIZE] {}, {} (a block of its own). Of blocks of
// threads: `threads=N` behind the schedule, for thread, shared and fragment like local, barrier, combine %F add 32, and
//   product %acc f16 128x128x32 over 2x4 stages 3 (i, j, k) in [0, K) {
//     %x[i * K + k] along k 8
//     %y[k * N + j] along tile 8
//   }
//   attend %acc f16 64x64x64x64 over 4 stages 2 (i, j, d, e, s) in [0, N) { three operands, then what becomes of s }
//   (over 8 warpgroups stages 2, over 4 stages 2 log_sums: the flags of an AttendNode)
// Expressions: literals (an integer is i64, a float f32, true and false bool; others say their type: `i32 3`,
// `f32x16 0.0`), loads written as the place they read, infix + - * / mod < <= == !=, every other operation by its name,
// TYPE(x) to convert, fma, dot, splat(x, LANES), ramp(start, step, LANES), reduce_OP(x), shuffle(a, …, [LANES]).
// `range [lo, hi]` and `multiple k` follow a variable whose facts differ from what its loop or value gives.
//
// Expressions are DAGs: a large node with several users is named once in front of its statement (def $0 = …), so the
// text is never longer than the DAG. Names are unique within their scope; a second `i` inside becomes `i_1`.
#include <algorithm>
#include <array>
#include <numeric>
#include <set>
#include <unordered_map>

#include "ir/error.h"
#include "ir/lexer.h"
#include "ir/loops_nodes.h"
#include "ir/loops_text.h"
#include "ir/text.h"

namespace lapidary::loops {

std::string type_text(ExprType type) {
  std::string text(name_of(type.dtype));
  return type.lanes == 1 ? text : fmt::format("{}x{}", text, type.lanes);
}

std::optional<ExprType> parse_type(std::string_view text) {
  if (auto dtype = parse_dtype(text)) return ExprType{*dtype, 1};
  size_t x = text.rfind('x');
  if (x == std::string_view::npos) return std::nullopt;
  auto dtype = parse_dtype(text.substr(0, x));
  std::string_view digits = text.substr(x + 1);
  bool number =
      !digits.empty() && digits.size() <= 4 && digits.find_first_not_of("0123456789") == std::string_view::npos;
  int lanes = number ? std::stoi(std::string(digits)) : 0;
  if (!dtype || lanes < 2 || lanes > 4096) return std::nullopt;
  return ExprType{*dtype, static_cast<uint16_t>(lanes)};
}

std::string_view loop_kind_text(LoopKind kind) {
  switch (kind) {
    case LoopKind::Serial:
      return "";
    case LoopKind::Unrolled:
      return "unrolled";
    case LoopKind::Task:
      return "task";
    case LoopKind::Thread:
      return "thread";
  }
  LPD_UNREACHABLE();
}

std::string_view atom_text(Atom atom) {
  switch (atom) {
    case Atom::Fma:
      return "fma";
    case Atom::F16:
      return "f16";
    case Atom::BF16:
      return "bf16";
    case Atom::TF32:
      return "tf32";
    case Atom::TF32x3:
      return "3xtf32";
    case Atom::I8:
      return "i8";
  }
  LPD_UNREACHABLE();
}

bool is_reserved_word(std::string_view word) {
  static constexpr std::array kWords = {"for",     "let",     "if",      "else",     "store",  "local",
                                        "def",     "in",      "step",    "mod",      "true",   "false",
                                        "inf",     "nan",     "range",   "kernel",   "shared", "multiple",
                                        "barrier", "combine", "product", "fragment", "attend"};
  return std::find(kWords.begin(), kWords.end(), word) != kWords.end() || parse_type(word);
}

// A bound this far off says nothing worth noting: it reads as the widest an index has.
static Facts without_far_bounds(Facts facts) {
  constexpr int64_t kFar = INT64_C(1) << 48;
  if (facts.lo <= -kFar && facts.lo >= nodes::kIndexMin) facts.lo = nodes::kIndexMin;
  if (facts.hi >= kFar && facts.hi <= nodes::kIndexMax) facts.hi = nodes::kIndexMax;
  return facts;
}

Facts facts_of_loop(const Expr& begin, const Expr& end, const Expr& step) {
  int64_t hi = std::min(nodes::kIndexMax, std::max(begin->lo, end->hi - 1));
  return without_far_bounds({begin->lo, hi, std::gcd(begin->multiple, step->multiple)});
}

Facts facts_of_value(const Expr& value) {
  return without_far_bounds({value->lo, value->hi, std::max<int64_t>(value->multiple, 1)});
}

static constexpr std::array<Infix, 9> kInfixes = {{{"<", ScalarOp::Less, 1},
                                                   {"<=", ScalarOp::LessEqual, 1},
                                                   {"==", ScalarOp::Equal, 1},
                                                   {"!=", ScalarOp::NotEqual, 1},
                                                   {"+", ScalarOp::Add, 2},
                                                   {"-", ScalarOp::Sub, 2},
                                                   {"*", ScalarOp::Mul, 3},
                                                   {"/", ScalarOp::Div, 3},
                                                   {"mod", ScalarOp::FloorMod, 3}}};

const Infix* infix_of(ScalarOp op) {
  auto found = std::find_if(kInfixes.begin(), kInfixes.end(), [&](const Infix& infix) { return infix.op == op; });
  return found == kInfixes.end() ? nullptr : &*found;
}

const Infix* infix_of(std::string_view text) {
  auto found = std::find_if(kInfixes.begin(), kInfixes.end(), [&](const Infix& infix) { return infix.text == text; });
  return found == kInfixes.end() ? nullptr : &*found;
}

namespace {

// --- names -------------------------------------------------------------------------------------------------------

// Gives variables and buffers names unique among those in scope; in canonical text, v0, v1, … and b0, b1, ….
class Names {
 public:
  explicit Names(bool canonical) : canonical_(canonical) {}

  const std::string& declare(const void* node, const std::string& wanted, char kind) {
    std::string name = canonical_ ? fmt::format("{}{}", kind, counts_[kind == 'b']++) : unique(cleaned(wanted));
    taken_.insert(name);
    scope_.push_back(name);
    return names_[node] = name;
  }

  // Of something never declared, which a kernel under repair may hold: its own name.
  std::string of(const void* node, const std::string& otherwise) const {
    auto found = names_.find(node);
    return found == names_.end() ? cleaned(otherwise) : found->second;
  }

  size_t depth() const { return scope_.size(); }
  void leave(size_t depth) {
    for (; scope_.size() > depth; scope_.pop_back()) taken_.erase(scope_.back());
  }

 private:
  static std::string cleaned(std::string name) {
    auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
    for (char& c : name) {
      if (!letter(c) && !(c >= '0' && c <= '9') && c != '.') c = '_';
    }
    if (name.empty() || !letter(name[0])) name = "_" + name;
    return is_reserved_word(name) ? name + "_" : name;
  }

  std::string unique(const std::string& wanted) const {
    std::string name = wanted;
    for (int suffix = 1; taken_.count(name); suffix++) name = fmt::format("{}_{}", wanted, suffix);
    return name;
  }

  bool canonical_;
  int counts_[2] = {0, 0};
  std::unordered_map<const void*, std::string> names_;
  std::set<std::string> taken_;
  std::vector<std::string> scope_;
};

// --- expressions -------------------------------------------------------------------------------------------------

constexpr int64_t kLargeNode = 8;  // nodes of its tree from which on a shared node is named

// The nodes of a statement's expressions that are named in front of it, each after those it uses.
class SharedNodes {
 public:
  explicit SharedNodes(const std::vector<Expr>& roots) {
    for (const Expr& root : roots) {
      if (root) visit(root.get());
    }
    auto small = [&](const ExprNode* node) { return seen_[node].uses < 2 || seen_[node].tree_size < kLargeNode; };
    order_.erase(std::remove_if(order_.begin(), order_.end(), small), order_.end());
  }

  const std::vector<const ExprNode*>& in_order() const { return order_; }

 private:
  struct Seen {
    int uses = 0;
    int64_t tree_size = 1;
  };

  int64_t visit(const ExprNode* node) {
    if (seen_[node].uses++ > 0) return seen_[node].tree_size;
    int64_t size = 1;
    for (const Expr& arg : node->args) size = std::min<int64_t>(size + visit(arg.get()), kLargeNode);
    seen_[node].tree_size = size;
    order_.push_back(node);
    return size;
  }

  std::unordered_map<const ExprNode*, Seen> seen_;
  std::vector<const ExprNode*> order_;
};

class ExprPrinter {
 public:
  ExprPrinter(const Names& names, std::string& out) : names_(names), out_(out) {}

  void define(const ExprNode* node) {
    print(*node, 0);
    defined_.emplace(node, defined_.size());
  }

  // Parenthesised when its operator binds less than `precedence`.
  void print(const Expr& e, int precedence = 0) {
    auto found = defined_.find(e.get());
    if (found != defined_.end()) {
      out_ += fmt::format("${}", found->second);
    } else {
      print(*e, precedence);
    }
  }

  void place(const Buffer& buffer, const Expr& index, int lanes, const Expr& mask) {
    out_ += fmt::format("%{}[", names_.of(buffer.get(), buffer->name));
    print(index);
    if (index->type.lanes == 1 && lanes > 1 && buffer->element.lanes == 1) out_ += fmt::format(" : {}", lanes);
    if (mask) {
      out_ += " if ";
      print(mask);
    }
    out_ += ']';
  }

 private:
  void print(const ExprNode& e, int precedence) {
    switch (e.kind) {
      case ExprKind::Const:
        return literal(e);
      case ExprKind::Variable:
        out_ += names_.of(e.var.get(), e.var->name);
        return;
      case ExprKind::Load:
        return place(e.buffer, e.args[0], e.type.lanes, e.args.size() > 1 ? e.args[1] : nullptr);
      case ExprKind::Apply:
        return apply(e, precedence);
      case ExprKind::Fma:
        return call("fma", e.args);
      case ExprKind::Dot:
        return call("dot", e.args);
      case ExprKind::Convert:
        return call(name_of(e.type.dtype), e.args);
      case ExprKind::Splat:
        return call("splat", e.args, fmt::format("{}", e.type.lanes));
      case ExprKind::Ramp:
        return call("ramp", e.args, fmt::format("{}", e.type.lanes));
      case ExprKind::Reduce:
        return call(fmt::format("reduce_{}", name_of(e.op)), e.args);
      case ExprKind::Shuffle:
        return call("shuffle", e.args, fmt::format("[{}]", fmt::join(e.lanes_from, ", ")));
    }
    LPD_UNREACHABLE();
  }

  void call(std::string_view name, const std::vector<Expr>& args, const std::string& last = "") {
    out_ += name;
    out_ += '(';
    for (size_t i = 0; i < args.size(); i++) {
      if (i > 0) out_ += ", ";
      print(args[i]);
    }
    if (!last.empty()) out_ += ", " + last;
    out_ += ')';
  }

  void apply(const ExprNode& e, int precedence) {
    const Infix* infix = infix_of(e.op);
    if (!infix) return call(name_of(e.op), e.args);
    bool parentheses = infix->precedence < precedence;
    if (parentheses) out_ += '(';
    print(e.args[0], infix->precedence);
    const ExprNode& right = *e.args[1];
    bool displaced = e.op == ScalarOp::Add && right.kind == ExprKind::Const && right.type == ExprType{} &&
                     right.constant.integer < 0 && right.constant.integer != INT64_MIN;
    if (displaced) {  // x + -3 is written x - 3
      out_ += fmt::format(" - {}", -right.constant.integer);
    } else {
      out_ += fmt::format(" {} ", infix->text);
      print(e.args[1], infix->precedence + 1);
    }
    if (parentheses) out_ += ')';
  }

  void literal(const ExprNode& e) {
    bool plain =
        e.type.lanes == 1 && (e.type.dtype == DType::I64 || e.type.dtype == DType::F32 || e.type.dtype == DType::Bool);
    if (!plain) out_ += type_text(e.type) + " ";
    if (e.type.dtype == DType::Bool) {
      out_ += e.constant.integer ? "true" : "false";
    } else if (e.type.dtype == DType::F32) {
      out_ += float_text(static_cast<float>(e.constant.number));
    } else {
      out_ += is_float(e.type.dtype) ? float_text(e.constant.number) : fmt::format("{}", e.constant.integer);
    }
  }

  const Names& names_;
  std::string& out_;
  std::unordered_map<const ExprNode*, size_t> defined_;
};

// --- statements --------------------------------------------------------------------------------------------------

std::string bound_text(int64_t bound, int64_t open) { return bound == open ? ".." : fmt::format("{}", bound); }

std::string facts_text(const VarNode& var, const Facts& expected) {
  std::string text;
  if (!(var.type == ExprType{})) return text;
  Facts facts = without_far_bounds({var.lo, var.hi, var.multiple});
  if (facts.lo != expected.lo || facts.hi != expected.hi) {
    text +=
        fmt::format(" range [{}, {}]", bound_text(facts.lo, nodes::kIndexMin), bound_text(facts.hi, nodes::kIndexMax));
  }
  if (facts.multiple != expected.multiple) text += fmt::format(" multiple {}", facts.multiple);
  return text;
}

class KernelPrinter {
 public:
  explicit KernelPrinter(bool canonical) : canonical_(canonical), names_(canonical) {}

  std::string print(const Kernel& kernel) {
    out_ = "kernel ";
    if (!canonical_) out_ += quote(kernel.family) + " ";
    if (!canonical_ && !kernel.schedule.empty()) out_ += fmt::format("schedule={} ", quote(kernel.schedule));
    if (kernel.threads > 0) out_ += fmt::format("threads={} ", kernel.threads);
    out_ += '(';
    std::string separator;
    for (const Buffer& buffer : kernel.buffers) {
      out_ += separator + parameter(*buffer);
      separator = ", ";
    }
    for (const Var& var : kernel.integers) {
      out_ += separator + names_.declare(var.get(), var->name, 'v') + ": " + type_text(var->type);
      out_ += facts_text(*var, {nodes::kIndexMin, nodes::kIndexMax, 1});
      separator = ", ";
    }
    out_ += ") ";
    if (kernel.body) body(kernel.body->kind == StmtKind::Block ? kernel.body->body : std::vector<Stmt>{kernel.body});
    return out_ += "\n";
  }

 private:
  std::string parameter(const BufferNode& buffer) {
    if (buffer.flag) return fmt::format("%{}: flag", names_.declare(&buffer, buffer.name, 'b'));
    std::string text = fmt::format("%{}: {} {}", names_.declare(&buffer, buffer.name, 'b'),
                                   buffer.space == Space::Stage ? "stage" : "global", type_text(buffer.element));
    if (buffer.written) text += " written";
    if (buffer.reads_own_writes) text += " reads_own_writes";
    return text;
  }

  void indent() { out_.append(static_cast<size_t>(2 * level_), ' '); }

  void body(const std::vector<Stmt>& stmts) {
    out_ += "{\n";
    level_++;
    size_t depth = names_.depth();
    for (const Stmt& stmt : stmts) print(*stmt);
    names_.leave(depth);
    level_--;
    indent();
    out_ += '}';
  }

  // Names what the expressions share, then starts the statement's own line.
  ExprPrinter start(const std::vector<Expr>& roots) {
    ExprPrinter printer(names_, out_);
    SharedNodes shared(roots);
    size_t count = 0;
    for (const ExprNode* node : shared.in_order()) {
      indent();
      out_ += fmt::format("def ${} = ", count++);
      printer.define(node);
      out_ += '\n';
    }
    indent();
    return printer;
  }

  void print(const StmtNode& s) {
    switch (s.kind) {
      case StmtKind::Block:
        indent();
        body(s.body);
        break;
      case StmtKind::For:
        for_loop(s);
        break;
      case StmtKind::Let:
        let(s);
        break;
      case StmtKind::If:
        if_then(s);
        break;
      case StmtKind::Store:
        store(s);
        break;
      case StmtKind::Alloc:
        alloc(s);
        break;
      case StmtKind::Barrier:
        indent();
        out_ += "barrier";
        break;
      case StmtKind::Combine:
        indent();
        out_ += fmt::format("combine %{} {} {}", names_.of(s.buffer.get(), s.buffer->name), name_of(s.op), s.group);
        break;
      case StmtKind::Product:
        product(s);
        break;
      case StmtKind::Attend:
        attend(s);
        break;
    }
    out_ += '\n';
  }

  void for_loop(const StmtNode& s) {
    ExprPrinter printer = start({s.begin, s.end});
    std::string head = "for ";
    if (s.loop != LoopKind::Serial) head += fmt::format("{} ", loop_kind_text(s.loop));
    size_t depth = names_.depth();
    out_ += head;
    size_t at = out_.size();
    out_ += " in [";
    printer.print(s.begin);
    out_ += ", ";
    printer.print(s.end);
    out_ += ')';
    if (value_of(s.step) != 1) out_ += fmt::format(" step {}", *value_of(s.step));
    out_.insert(at, names_.declare(s.var.get(), s.var->name, 'v'));
    out_ += facts_text(*s.var, facts_of_loop(s.begin, s.end, s.step)) + " ";
    body(s.body);
    names_.leave(depth);
  }

  void let(const StmtNode& s) {
    ExprPrinter printer = start({s.value});
    size_t at = out_.size();
    out_ += fmt::format(": {}{} = ", type_text(s.var->type), facts_text(*s.var, facts_of_value(s.value)));
    printer.print(s.value);
    out_.insert(at, "let " + names_.declare(s.var.get(), s.var->name, 'v'));
  }

  void if_then(const StmtNode& s) {
    ExprPrinter printer = start({s.value});
    out_ += "if ";
    printer.print(s.value);
    out_ += ' ';
    body(s.body);
    if (s.otherwise.empty()) return;
    out_ += " else ";
    body(s.otherwise);
  }

  void store(const StmtNode& s) {
    ExprPrinter printer = start({s.index, s.mask, s.value});
    out_ += "store ";
    printer.place(s.buffer, s.index, s.value->type.lanes, s.mask);
    out_ += " = ";
    printer.print(s.value);
  }

  void alloc(const StmtNode& s) {
    indent();
    size_t depth = names_.depth();
    const char* space = s.buffer->space == Space::Shared     ? "shared"
                        : s.buffer->space == Space::Fragment ? "fragment"
                                                             : "local";
    out_ += fmt::format("{} %{}: {}[{}] ", space, names_.declare(s.buffer.get(), s.buffer->name, 'b'),
                        type_text(s.buffer->element), s.buffer->size);
    body(s.body);
    names_.leave(depth);
  }

  struct Declared {
    Var var;
    Facts facts;
  };

  // "HEAD (i, j, k) in [BEGIN, END) {", the operands, a last expression, "}".
  void collective(const StmtNode& s, const std::string& head, const std::vector<Declared>& vars,
                  const std::vector<const ProductOperand*>& operands, const Expr& last) {
    ExprPrinter printer = start({s.begin, s.end});
    const size_t depth = names_.depth();
    out_ += fmt::format("{} (", head);
    const size_t at = out_.size();
    out_ += ") in [";
    printer.print(s.begin);
    out_ += ", ";
    printer.print(s.end);
    std::string names;
    for (const Declared& declared : vars)
      names += (names.empty() ? "" : ", ") + names_.declare(declared.var.get(), declared.var->name, 'v') +
               facts_text(*declared.var, declared.facts);
    out_.insert(at, names);
    out_ += ") {\n";
    level_++;
    for (const ProductOperand* operand : operands) {
      start({operand->value}).print(operand->value);
      out_ += fmt::format(" along {} {}\n", operand->along_k ? "k" : "tile", operand->vector);
    }
    if (last) {
      start({last}).print(last);
      out_ += '\n';
    }
    level_--;
    indent();
    out_ += '}';
    names_.leave(depth);
  }

  static Facts below(int extent) { return {0, extent - 1, 1}; }

  void product(const StmtNode& s) {
    const ProductNode& p = *s.product;
    collective(s,
               fmt::format("product %{} {} {}x{}x{} over {}x{}{} stages {}", names_.of(s.buffer.get(), s.buffer->name),
                           atom_text(p.atom), p.rows, p.columns, p.depth, p.warp_rows, p.warp_columns,
                           p.warpgroups ? " warpgroups" : "", p.stages),
               {{p.row, below(p.rows)}, {p.column, below(p.columns)}, {p.k, facts_of_loop(s.begin, s.end, integer(1))}},
               {&p.a, &p.b}, nullptr);
  }

  void attend(const StmtNode& s) {
    const AttendNode& a = *s.attend;
    collective(s,
               fmt::format("attend %{} {} {}x{}x{}x{} over {}{} stages {}{}", names_.of(s.buffer.get(), s.buffer->name),
                           atom_text(a.atom), a.queries, a.keys, a.depth, a.columns, a.warps,
                           a.warpgroups ? " warpgroups" : "", a.stages, a.log_sums ? " log_sums" : ""),
               {{a.query, below(a.queries)},
                {a.key, facts_of_loop(s.begin, s.end, integer(1))},
                {a.inner, below(a.depth)},
                {a.column, below(a.columns)},
                {a.score, {}}},
               {&a.q, &a.k, &a.v}, a.scored);
  }

  bool canonical_;
  Names names_;
  std::string out_;
  int level_ = 0;
};

}  // namespace

std::string canonical_text(const Kernel& kernel) { return KernelPrinter(true).print(kernel); }

}  // namespace lapidary::loops

namespace lapidary {

std::string print_kernel(const loops::Kernel& kernel) { return loops::KernelPrinter(false).print(kernel); }

}  // namespace lapidary
