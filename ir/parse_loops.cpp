// Reads what text_loops.cpp prints; the grammar is at its head. Expressions come out exactly as written, not
// simplified (loops_nodes.h), so a test can feed a pass any form. What a builder refuses is the text's fault here and
// is reported with its place.
#include "ir/error.h"
#include "ir/lexer.h"
#include "ir/loops_nodes.h"
#include "ir/loops_text.h"
#include "ir/text.h"

namespace lapidary::loops {
namespace {

constexpr int kMaxNesting = 500;

class Parser {
 public:
  explicit Parser(std::string_view text) : lexer_(text) {}

  Kernel kernel() {
    Kernel kernel;
    lexer_.expect("kernel");
    if (lexer_.peek().kind == TokenKind::String) kernel.family = lexer_.string();
    if (lexer_.accept("schedule")) {
      lexer_.expect("=");
      kernel.schedule = lexer_.string();
    }
    if (lexer_.accept("threads")) {
      lexer_.expect("=");
      kernel.threads = small_number();
    }
    lexer_.expect("(");
    while (!lexer_.accept(")")) {
      parameter(kernel);
      if (!lexer_.at(")")) lexer_.expect(",");
    }
    kernel.body = block(body());
    if (!lexer_.at_end()) lexer_.fail("expected the end");
    return kernel;
  }

 private:
  // --- scopes ------------------------------------------------------------------------------------------------
  struct Name {
    std::string text;
    Var var;
    Buffer buffer;
  };

  void declare(Name name) {
    for (const Name& other : scope_) {
      if (other.text == name.text && !other.var == !name.var) lexer_.fail("'" + name.text + "' is declared twice");
    }
    if (name.var && is_reserved_word(name.text)) lexer_.fail("'" + name.text + "' is a word of the language");
    scope_.push_back(std::move(name));
  }
  void declare(const Var& var) { declare({var->name, var, nullptr}); }
  void declare(const Buffer& buffer) { declare({buffer->name, nullptr, buffer}); }

  Var find_var(const std::string& text, size_t offset) const {
    for (const Name& name : scope_) {
      if (name.var && name.text == text) return name.var;
    }
    lexer_.fail_at(offset, fmt::format("no variable '{}' here", text));
  }

  Buffer buffer_name() {
    lexer_.expect("%");
    size_t offset = lexer_.peek().offset;
    std::string text = lexer_.identifier();
    for (const Name& name : scope_) {
      if (name.buffer && name.text == text) return name.buffer;
    }
    lexer_.fail_at(offset, fmt::format("no buffer '{}' here", text));
  }

  // Runs a builder; what it refuses is reported at `offset`.
  template <class Build>
  auto built(size_t offset, Build build) {
    try {
      return build();
    } catch (const Error& error) {
      if (error.fault == Fault::Input) throw;
      std::string message = error.what();
      size_t cut = message.rfind(".cpp:");  // "internal error at FILE:LINE: …"
      cut = cut == std::string::npos ? cut : message.find(": ", cut);
      lexer_.fail_at(offset, cut == std::string::npos ? message : message.substr(cut + 2));
    }
  }

  // --- declarations ------------------------------------------------------------------------------------------
  ExprType type() {
    std::string text(lexer_.peek().text);
    auto type = lexer_.peek().kind == TokenKind::Identifier ? parse_type(text) : std::nullopt;
    if (!type) lexer_.fail("expected a type");
    lexer_.next();
    return *type;
  }

  DType element_type() {
    ExprType element = type();
    if (element.lanes > 1) lexer_.fail("a parameter's elements have one lane");
    return element.dtype;
  }

  int64_t bound(int64_t open) { return lexer_.accept("..") ? open : lexer_.integer(); }

  // What the text says of a variable's facts: range [lo, hi] multiple k, each of them optional.
  struct WrittenFacts {
    std::optional<Bounds> range;
    std::optional<int64_t> multiple;
    size_t offset;
  };

  WrittenFacts written_facts() {
    WrittenFacts facts{std::nullopt, std::nullopt, lexer_.peek().offset};
    if (lexer_.accept("range")) {
      lexer_.expect("[");
      int64_t lo = bound(nodes::kIndexMin);
      lexer_.expect(",");
      facts.range = Bounds{lo, bound(nodes::kIndexMax)};
      lexer_.expect("]");
    }
    if (lexer_.accept("multiple")) facts.multiple = lexer_.integer();
    return facts;
  }

  Var make(const std::string& name, ExprType type, const WrittenFacts& written, const Facts& otherwise) {
    if (!(type == ExprType{})) return make_var(name, type);
    Bounds range = written.range.value_or(Bounds{otherwise.lo, otherwise.hi});
    int64_t multiple = written.multiple.value_or(otherwise.multiple);
    return built(written.offset, [&] { return make_var(name, type, range.lo, range.hi, multiple); });
  }

  void parameter(Kernel& kernel) {
    if (!lexer_.accept("%")) {
      std::string name = lexer_.identifier();
      lexer_.expect(":");
      ExprType integer = type();
      kernel.integers.push_back(make(name, integer, written_facts(), {nodes::kIndexMin, nodes::kIndexMax, 1}));
      return declare(kernel.integers.back());
    }
    std::string name = lexer_.identifier();
    lexer_.expect(":");
    if (lexer_.accept("flag")) {
      kernel.buffers.push_back(make_flag(name));
      return declare(kernel.buffers.back());
    }
    bool stage = lexer_.accept("stage");
    if (!stage) lexer_.expect("global");
    DType dtype = element_type();
    bool written = !stage && lexer_.accept("written");
    bool reads_own_writes = !stage && lexer_.accept("reads_own_writes");
    kernel.buffers.push_back(stage ? make_stage(name, dtype) : make_global(name, dtype, written, reads_own_writes));
    declare(kernel.buffers.back());
  }

  // --- statements --------------------------------------------------------------------------------------------
  std::vector<Stmt> body() {
    lexer_.expect("{");
    if (++nesting_ > kMaxNesting) lexer_.fail("nested too deep");
    size_t depth = scope_.size();
    std::vector<Stmt> stmts;
    while (!lexer_.accept("}")) stmts.push_back(statement());
    scope_.resize(depth);
    nesting_--;
    return stmts;
  }

  Stmt statement() {
    while (lexer_.accept("def")) definition();
    Stmt stmt = lexer_.at("{") ? block(body()) : headed_statement();
    defined_.clear();
    return stmt;
  }

  Stmt headed_statement() {
    if (lexer_.accept("for")) return for_statement();
    if (lexer_.accept("let")) return let_statement();
    if (lexer_.accept("if")) return if_statement();
    if (lexer_.accept("store")) return store_statement();
    if (lexer_.accept("local")) return alloc_statement(make_local_array);
    if (lexer_.accept("shared")) return alloc_statement(make_shared_array);
    if (lexer_.accept("fragment")) return alloc_statement(make_fragment_array);
    if (lexer_.accept("barrier")) return barrier();
    if (lexer_.accept("combine")) return combine_statement();
    if (lexer_.accept("product")) return product_statement();
    if (lexer_.accept("attend")) return attend_statement();
    lexer_.fail("expected a statement");
  }

  void definition() {
    lexer_.expect("$");
    if (lexer_.integer() != static_cast<int64_t>(defined_.size())) lexer_.fail("definitions are numbered in order");
    lexer_.expect("=");
    defined_.push_back(expression());
  }

  // "for task t in", but "for task in": there it is the variable.
  std::pair<LoopKind, std::string> loop_kind_and_variable() {
    std::string word = lexer_.identifier();
    for (LoopKind kind : {LoopKind::Unrolled, LoopKind::Task, LoopKind::Thread}) {
      if (word == loop_kind_text(kind) && !lexer_.at("in")) return {kind, lexer_.identifier()};
    }
    return {LoopKind::Serial, word};
  }

  Stmt for_statement() {
    size_t offset = lexer_.peek().offset, depth = scope_.size();
    auto [kind, name] = loop_kind_and_variable();
    lexer_.expect("in");
    lexer_.expect("[");
    Expr begin = expression();
    lexer_.expect(",");
    Expr end = expression();
    lexer_.expect(")");
    Expr step = integer(lexer_.accept("step") ? lexer_.integer() : 1);
    if (*value_of(step) < 1) lexer_.fail_at(offset, "the step is not positive");
    Var var = make(name, {}, written_facts(), facts_of_loop(begin, end, step));
    declare(var);
    defined_.clear();
    std::vector<Stmt> stmts = body();
    scope_.resize(depth);
    return built(offset, [&, kind = kind] { return for_loop(var, begin, end, *value_of(step), kind, stmts); });
  }

  Stmt let_statement() {
    std::string name = lexer_.identifier();
    lexer_.expect(":");
    ExprType type = this->type();
    WrittenFacts written = written_facts();
    lexer_.expect("=");
    Expr value = expression();
    Var var = make(name, type, written, facts_of_value(value));
    Stmt stmt = built(written.offset, [&] { return let(var, value); });
    declare(var);
    return stmt;
  }

  Stmt if_statement() {
    size_t offset = lexer_.peek().offset;
    Expr condition = expression();
    defined_.clear();
    std::vector<Stmt> then = body(), otherwise;
    if (lexer_.accept("else")) otherwise = body();
    return built(offset, [&] { return if_then(condition, then, otherwise); });
  }

  Stmt store_statement() {
    size_t offset = lexer_.peek().offset;
    Buffer buffer = buffer_name();
    Place place = this->place();
    lexer_.expect("=");
    Expr value = expression();
    bool vectors = buffer->element.lanes > 1 || place.index->type.lanes > 1;
    if (!vectors && place.lanes != value->type.lanes)
      lexer_.fail_at(offset, fmt::format("{} lanes are stored", value->type.lanes));
    return built(offset, [&] { return store(buffer, place.index, value, place.mask); });
  }

  static Buffer make_local_array(const std::string& name, ExprType element, int64_t size) {
    return make_local(name, element, size);
  }
  static Buffer make_shared_array(const std::string& name, ExprType element, int64_t size) {
    LPD_CHECK(element.lanes == 1, "shared memory of vectors");
    return make_shared_memory(name, element.dtype, size);
  }
  static Buffer make_fragment_array(const std::string& name, ExprType element, int64_t size) {
    LPD_CHECK(element.lanes == 1, "a fragment of vectors");
    return make_fragment(name, element.dtype, size);
  }

  template <class Make>
  Stmt alloc_statement(Make make_array) {
    size_t offset = lexer_.peek().offset, depth = scope_.size();
    lexer_.expect("%");
    std::string name = lexer_.identifier();
    lexer_.expect(":");
    ExprType element = type();
    lexer_.expect("[");
    int64_t size = lexer_.integer();
    lexer_.expect("]");
    Buffer buffer = built(offset, [&] { return make_array(name, element, size); });
    declare(buffer);
    std::vector<Stmt> stmts = body();
    scope_.resize(depth);
    return alloc(buffer, stmts);
  }

  int small_number() {
    const size_t offset = lexer_.peek().offset;
    const int64_t value = lexer_.integer();
    if (value < 1 || value > 4096) lexer_.fail_at(offset, "expected a number from 1 to 4096");
    return static_cast<int>(value);
  }

  Stmt combine_statement() {
    const size_t offset = lexer_.peek().offset;
    const Buffer fragment = buffer_name();
    const auto op = parse_scalar_op(lexer_.identifier());
    if (!op) lexer_.fail_at(offset, "no such operation");
    const int group = small_number();
    return built(offset, [&] { return loops::combine(fragment, *op, group); });
  }

  // "128x128x32", "3xtf32": the lexer takes them apart into a number and a word.
  std::string number_and_word() {
    std::string text = std::to_string(small_number());
    if (lexer_.peek().kind == TokenKind::Identifier) text += lexer_.identifier();
    return text;
  }

  std::vector<int> extents(size_t count) {
    const size_t offset = lexer_.peek().offset;
    const std::string text = number_and_word();
    std::vector<int> result;
    for (size_t at = 0; at <= text.size() && result.size() < count;) {
      const size_t end = std::min(text.find('x', at), text.size());
      const std::string digits = text.substr(at, end - at);
      if (digits.empty() || digits.size() > 4 || digits.find_first_not_of("0123456789") != std::string::npos) break;
      result.push_back(std::stoi(digits));
      at = end + 1;
    }
    if (result.size() != count) lexer_.fail_at(offset, fmt::format("expected {} extents", count));
    return result;
  }

  Atom atom() {
    const size_t offset = lexer_.peek().offset;
    const std::string text = lexer_.peek().kind == TokenKind::Integer ? number_and_word() : lexer_.identifier();
    for (Atom atom : {Atom::Fma, Atom::F16, Atom::BF16, Atom::TF32, Atom::TF32x3, Atom::I8})
      if (text == atom_text(atom)) return atom;
    lexer_.fail_at(offset, fmt::format("no atom '{}'", text));
  }

  ProductOperand product_operand() {
    defined_.clear();
    while (lexer_.accept("def")) definition();
    ProductOperand operand;
    operand.value = expression();
    lexer_.expect("along");
    operand.along_k = lexer_.accept("k");
    if (!operand.along_k) lexer_.expect("tile");
    operand.vector = small_number();
    return operand;
  }

  // "(i, j, k) in [BEGIN, END) {": declares them. `facts` of those that are not loops over the range.
  struct Head {
    std::vector<Var> vars;
    Expr begin, end;
  };
  Head collective_head(const std::vector<std::optional<Facts>>& facts, size_t scores) {
    std::vector<std::string> names;
    std::vector<WrittenFacts> written;
    lexer_.expect("(");
    for (size_t i = 0; i < facts.size(); ++i) {
      names.push_back(lexer_.identifier());
      written.push_back(written_facts());
      lexer_.expect(i + 1 < facts.size() ? "," : ")");
    }
    Head head;
    lexer_.expect("in");
    lexer_.expect("[");
    head.begin = expression();
    lexer_.expect(",");
    head.end = expression();
    lexer_.expect(")");
    for (size_t i = 0; i < facts.size(); ++i) {
      const Facts otherwise = facts[i] ? *facts[i] : facts_of_loop(head.begin, head.end, integer(1));
      const ExprType type = i + scores >= facts.size() ? ExprType{DType::F32, 1} : ExprType{};
      head.vars.push_back(make(names[i], type, written[i], otherwise));
      declare(head.vars.back());
    }
    lexer_.expect("{");
    return head;
  }

  Stmt product_statement() {
    const size_t offset = lexer_.peek().offset, depth = scope_.size();
    const Buffer accumulator = buffer_name();
    ProductNode product;
    product.atom = atom();
    const std::vector<int> tile = extents(3);
    product.rows = tile[0], product.columns = tile[1], product.depth = tile[2];
    lexer_.expect("over");
    const std::vector<int> warps = extents(2);
    product.warp_rows = warps[0], product.warp_columns = warps[1];
    product.warpgroups = lexer_.accept("warpgroups");
    lexer_.expect("stages");
    product.stages = small_number();
    const Head head = collective_head({Facts{0, product.rows - 1, 1}, Facts{0, product.columns - 1, 1}, {}}, 0);
    product.row = head.vars[0], product.column = head.vars[1], product.k = head.vars[2];
    product.a = product_operand();
    product.b = product_operand();
    lexer_.expect("}");
    scope_.resize(depth);
    return built(offset, [&] { return loops::product(accumulator, std::move(product), head.begin, head.end); });
  }

  Stmt attend_statement() {
    const size_t offset = lexer_.peek().offset, depth = scope_.size();
    const Buffer accumulator = buffer_name();
    AttendNode attend;
    attend.atom = atom();
    const std::vector<int> tile = extents(4);
    attend.queries = tile[0], attend.keys = tile[1], attend.depth = tile[2], attend.columns = tile[3];
    lexer_.expect("over");
    attend.warps = small_number();
    attend.warpgroups = lexer_.accept("warpgroups");
    lexer_.expect("stages");
    attend.stages = small_number();
    attend.log_sums = lexer_.accept("log_sums");
    const Head head = collective_head({Facts{0, attend.queries - 1, 1},
                                       {},
                                       Facts{0, attend.depth - 1, 1},
                                       Facts{0, attend.columns - 1, 1},
                                       Facts{0, 0, 1}},
                                      1);
    attend.query = head.vars[0], attend.key = head.vars[1], attend.inner = head.vars[2], attend.column = head.vars[3],
    attend.score = head.vars[4];
    attend.q = product_operand();
    attend.k = product_operand();
    attend.v = product_operand();
    defined_.clear();
    while (lexer_.accept("def")) definition();
    attend.scored = expression();
    lexer_.expect("}");
    scope_.resize(depth);
    return built(offset, [&] { return loops::attend(accumulator, std::move(attend), head.begin, head.end); });
  }

  // --- expressions -------------------------------------------------------------------------------------------
  // Operators of at least `precedence`.
  Expr expression(int precedence = 1) {
    Expr left = primary();
    for (const Infix* infix; (infix = next_infix(precedence));) {
      size_t offset = lexer_.next().offset;
      Expr right = expression(infix->precedence + 1);
      left = built(offset, [&] { return combine(infix->op, left, right); });
    }
    return left;
  }

  const Infix* next_infix(int precedence) const {
    const Infix* infix = lexer_.peek().kind == TokenKind::String ? nullptr : infix_of(lexer_.peek().text);
    return infix && infix->precedence >= precedence ? infix : nullptr;
  }

  // x - 3 is x + -3 in the normal form of indices.
  static Expr combine(ScalarOp op, const Expr& left, const Expr& right) {
    bool displaced = op == ScalarOp::Sub && right->kind == ExprKind::Const && right->type == ExprType{} &&
                     right->constant.integer > 0;
    if (displaced) return nodes::apply(ScalarOp::Add, {left, integer(-right->constant.integer)});
    return nodes::apply(op, {left, right});
  }

  Expr primary() {
    if (++nesting_ > kMaxNesting) lexer_.fail("nested too deep");
    Expr result = unnested_primary();
    nesting_--;
    return result;
  }

  Expr unnested_primary() {
    const Token token = lexer_.peek();
    if (lexer_.accept("(")) {
      Expr inner = expression();
      lexer_.expect(")");
      return inner;
    }
    if (lexer_.accept("$")) {
      int64_t index = lexer_.integer();
      if (index < 0 || index >= static_cast<int64_t>(defined_.size())) lexer_.fail_at(token.offset, "not defined here");
      return defined_[static_cast<size_t>(index)];
    }
    if (lexer_.at("%")) {
      Buffer buffer = buffer_name();
      Place place = this->place();
      return built(token.offset, [&] { return nodes::load(buffer, place.index, place.lanes, place.mask); });
    }
    bool word = token.kind == TokenKind::Identifier;
    if (!word || lexer_.at("inf") || lexer_.at("nan") || lexer_.at("true") || lexer_.at("false"))
      return plain_literal();
    std::string name = lexer_.identifier();
    if (auto type = parse_type(name)) return typed(*type, token.offset);
    if (lexer_.accept("(")) return call(name, token.offset);
    Var var = find_var(name, token.offset);
    return nodes::variable(var);
  }

  struct Place {
    Expr index;
    int lanes = 1;
    Expr mask;
  };

  Place place() {
    Place place;
    lexer_.expect("[");
    place.index = expression();
    if (lexer_.accept(":")) place.lanes = lane_count();
    if (lexer_.accept("if")) place.mask = expression();
    lexer_.expect("]");
    return place;
  }

  int lane_count() {
    size_t offset = lexer_.peek().offset;
    int64_t lanes = lexer_.integer();
    if (lanes < 1 || lanes > 4096) lexer_.fail_at(offset, "a number of lanes is from 1 to 4096");
    return static_cast<int>(lanes);
  }

  Expr plain_literal() {
    if (lexer_.at("true") || lexer_.at("false")) return literal({DType::Bool, 1});
    bool negative = lexer_.accept("-");
    if (lexer_.peek().kind != TokenKind::Integer)
      return real(static_cast<float>(negative ? -lexer_.number() : lexer_.number()));
    uint64_t value = static_cast<uint64_t>(lexer_.integer());
    return integer(static_cast<int64_t>(negative ? 0 - value : value));
  }

  Expr literal(ExprType type) {
    size_t offset = lexer_.peek().offset;
    Scalar value;
    if (type.dtype == DType::Bool) {
      value = Scalar::of_bool(lexer_.at("true"));
      if (!lexer_.accept("true")) lexer_.expect("false");
    } else if (is_float(type.dtype)) {
      value = Scalar::of_float(type.dtype, round_to(type.dtype, lexer_.number()));
    } else {
      value = Scalar::of_integer(type.dtype, lexer_.integer());
    }
    return built(offset, [&] { return constant(value, type.lanes); });
  }

  // Behind the name of a type: a conversion or a literal.
  Expr typed(ExprType type, size_t offset) {
    if (!lexer_.accept("(")) return literal(type);
    Expr value = expression();
    lexer_.expect(")");
    if (type.lanes > 1) lexer_.fail_at(offset, "a conversion is written with the element type alone");
    return built(offset, [&] { return nodes::convert(value, type.dtype); });
  }

  // Behind "name(".
  Expr call(const std::string& name, size_t offset) {
    std::vector<Expr> args;
    std::vector<int> lanes;
    int count = 0;
    while (!lexer_.accept(")")) {
      if (lexer_.accept("[")) {
        while (!lexer_.accept("]")) {
          lanes.push_back(static_cast<int>(lexer_.integer()));
          if (!lexer_.at("]")) lexer_.expect(",");
        }
      } else if ((name == "splat" && args.size() == 1) || (name == "ramp" && args.size() == 2)) {
        count = lane_count();
      } else {
        args.push_back(expression());
      }
      if (!lexer_.at(")")) lexer_.expect(",");
    }
    return built(offset, [&] { return call(name, offset, std::move(args), std::move(lanes), count); });
  }

  Expr call(const std::string& name, size_t offset, std::vector<Expr> args, std::vector<int> lanes, int count) {
    auto takes = [&](size_t operands) {
      if (args.size() != operands) lexer_.fail_at(offset, fmt::format("{} takes {} operands", name, operands));
    };
    if (name == "shuffle") return nodes::shuffle(std::move(args), std::move(lanes));
    if (name == "fma") return takes(3), nodes::fma(args[0], args[1], args[2]);
    if (name == "dot") return takes(3), nodes::dot(args[0], args[1], args[2]);
    if (name == "splat") return takes(1), nodes::splat(args[0], count);
    if (name == "ramp") return takes(2), nodes::ramp(args[0], args[1], count);
    constexpr std::string_view kReduce = "reduce_";
    bool reduces = name.substr(0, kReduce.size()) == kReduce;
    auto op = parse_scalar_op(reduces ? name.substr(kReduce.size()) : name);
    if (!op) lexer_.fail_at(offset, fmt::format("no operation '{}'", name));
    if (reduces) return takes(1), nodes::reduce(*op, args[0]);
    return takes(static_cast<size_t>(operand_count(*op))), nodes::apply(*op, std::move(args));
  }

  Lexer lexer_;
  std::vector<Name> scope_;
  std::vector<Expr> defined_;
  int nesting_ = 0;
};

}  // namespace
}  // namespace lapidary::loops

namespace lapidary {

loops::Kernel parse_kernel(std::string_view text) { return loops::Parser(text).kernel(); }

}  // namespace lapidary
