// Reads what text_graph.cpp prints. Ops come out exactly as written, nothing is folded, so a test can feed a pass any
// form; but each is held to its signature and to the types that inference gives, at the place where it stands.
//
//   module     = "module" string "{" [symbols] [elements] [dims] {constant} {state} {check} {function} "}"
//   symbols    = "symbols" name ["in" lo ".." hi] {"," …}          dims = "dims" "{" dim {"," dim} "}"
//   elements   = "elements" "%" n "[" index "]" ["in" lo ".." hi] {"," …}
//   constant   = "@" n "=" dtype "[" extents "]" ("splat" number | "{" numbers "}" | "bytes" n "#" hash)
//   state      = "state" ("parameter" | "statistic" | "optimizer" | "progress") string "=" "@" n
//   check      = "check" string ":" dim
//   function   = "func" name "(" {"%" n string ["state"] ":" type} ")" "->" "(" {string ["state"]} ")" "{" {op} "}"
//   op         = ["%" n {"," "%" n} "="] kind {"%" n} {name "=" parameter} [":" type {"," type}] {region}
//   region     = "{" "(" {"%" n ":" type} ")" {op} "}"
//   parameter  = integer | float | string | "[" integers "]" | "(" dim ")" | "{" dims "}" | dtype | "@" n
//   type       = dtype "[" dims "]" [layout] | "sequence" "<" type ">" | "optional" "<" type ">"
//   layout     = "{" ["c" block | "axis" n ":" block] ["halo=" lo[":" hi] {"," …}] ["fill=" x] ["leading=" dim] "}"
#include <algorithm>
#include <charconv>
#include <map>

#include "ir/error.h"
#include "ir/graph_builder.h"
#include "ir/lexer.h"
#include "ir/signature.h"
#include "ir/text.h"
#include "ir/text_constants.h"

namespace lapidary {

namespace {

constexpr int kMaxNesting = 100;
constexpr int64_t kMaxValueNumber = INT64_C(1) << 31;
constexpr int64_t kMaxConstantElements = INT64_C(1) << 40;

class GraphParser {
 public:
  explicit GraphParser(std::string_view text) : lexer_(text), module_(std::make_unique<Module>()) {}

  std::unique_ptr<Module> parse() {
    lexer_.expect("module");
    module_->name = lexer_.string();
    lexer_.expect("{");
    if (lexer_.accept("symbols")) list(&GraphParser::symbol);
    if (lexer_.accept("elements")) list(&GraphParser::element);
    if (lexer_.accept("dims")) dims("{", "}");
    while (lexer_.at("@")) constant();
    while (lexer_.at("state")) state();
    while (lexer_.at("check")) check();
    while (lexer_.at("func")) function();
    lexer_.expect("}");
    if (!lexer_.at_end()) lexer_.fail("expected the end");
    return std::move(module_);
  }

 private:
  void list(void (GraphParser::*item)()) {
    do { (this->*item)(); } while (lexer_.accept(","));
  }

  // Runs `action`; what it throws gets the place of the text it is about.
  auto at_offset(size_t offset, auto&& action) {
    try {
      return action();
    } catch (const Error& error) { lexer_.fail_at(offset, error.what()); }
  }

  // --- dims ------------------------------------------------------------------------------------------------------

  Dim dim(std::string_view stops) {
    size_t offset = lexer_.peek().offset;
    std::string_view text = lexer_.raw_until(stops);
    return at_offset(offset, [&] { return parse_dim(module_->dims, text); });
  }

  std::vector<Dim> dims(std::string_view open, std::string_view close) {
    std::vector<Dim> result;
    lexer_.expect(open);
    while (!lexer_.accept(close)) {
      result.push_back(dim(fmt::format(",{}", close)));
      if (!lexer_.at(close)) lexer_.expect(",");
    }
    return result;
  }

  Interval interval(Interval otherwise) {
    size_t offset = lexer_.peek().offset;
    if (!lexer_.accept("in")) return otherwise;
    Interval interval;
    interval.lo = lexer_.integer();
    lexer_.expect("..");
    interval.hi = lexer_.integer();
    if (interval.lo > interval.hi) lexer_.fail_at(offset, "an empty interval");
    return interval;
  }

  void symbol() {
    std::string name = lexer_.peek().kind == TokenKind::String ? lexer_.string() : lexer_.identifier();
    size_t offset = lexer_.peek().offset;
    const Interval within = interval(kSymbolInterval);
    at_offset(offset, [&] { return module_->dims.symbol(name, within); });
  }

  void element() {
    const int64_t value = value_number();
    lexer_.expect("[");
    const int64_t index = lexer_.integer();
    lexer_.expect("]");
    module_->dims.element(static_cast<uint32_t>(value), index, interval({kDimMin, kDimMax}));
  }

  void check() {
    lexer_.expect("check");
    std::string message = lexer_.string();
    lexer_.expect(":");
    module_->checks.push_back({dim("\n"), message});
  }

  // --- types -----------------------------------------------------------------------------------------------------

  DType dtype() {
    size_t offset = lexer_.peek().offset;
    std::string word = lexer_.identifier();
    std::optional<DType> dtype = parse_dtype(word);
    if (!dtype) lexer_.fail_at(offset, fmt::format("no element type '{}'", printable(word)));
    return *dtype;
  }

  Type type(int depth = 0) {
    if (depth > kMaxNesting) lexer_.fail("types are nested too deep");
    bool sequence = lexer_.at("sequence");
    if (sequence || lexer_.at("optional")) {
      lexer_.next();
      lexer_.expect("<");
      Type result;
      result.kind = sequence ? Type::Kind::Sequence : Type::Kind::Optional;
      result.element = std::make_shared<const Type>(type(depth + 1));
      lexer_.expect(">");
      return result;
    }
    DType element = dtype();
    Type result = Type::tensor(element, dims("[", "]"));
    if (lexer_.at("{") && !at_region()) layout(result.layout);
    return result;
  }

  // A region's brace, not a layout's.
  bool at_region() const {
    Lexer ahead = lexer_;
    ahead.next();
    return ahead.at("(");
  }

  void layout(Layout& layout) {
    lexer_.expect("{");
    while (!lexer_.accept("}")) {
      size_t offset = lexer_.peek().offset;
      std::string word = lexer_.identifier();
      if (word == "halo") {
        halo(layout);
      } else if (word == "fill") {
        lexer_.expect("=");
        layout.fill = lexer_.number();
      } else if (word == "leading") {
        lexer_.expect("=");
        layout.leading = dim("}");
      } else if (word == "last") {
        layout.last = true;
      } else if (word.starts_with("axis")) {
        layout.blocked_axis = small<int8_t>(offset, word.substr(4));
        lexer_.expect(":");
        layout.block = small<uint8_t>(offset, lexer_.next().text);
      } else if (word.starts_with("c")) {
        layout.blocked_axis = 1;
        layout.block = small<uint8_t>(offset, word.substr(1));
      } else {
        lexer_.fail_at(offset, fmt::format("no part of a layout: '{}'", printable(word)));
      }
    }
  }

  void halo(Layout& layout) {
    lexer_.expect("=");
    do {
      Halo halo;
      halo.lo = halo.hi = lexer_.integer();
      if (lexer_.accept(":")) halo.hi = lexer_.integer();
      layout.halo.push_back(halo);
    } while (lexer_.accept(","));
  }

  template <class Integer>
  Integer small(size_t offset, std::string_view digits) {
    int value = -1;
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    bool whole = error == std::errc() && end == digits.data() + digits.size();
    if (!whole || value < 0 || value > std::numeric_limits<Integer>::max())
      lexer_.fail_at(offset, "expected a small integer");
    return static_cast<Integer>(value);
  }

  // --- constants -------------------------------------------------------------------------------------------------

  void constant() {
    lexer_.expect("@");
    size_t offset = lexer_.peek().offset;
    int64_t number = lexer_.integer();
    lexer_.expect("=");
    DType element = dtype();
    std::vector<int64_t> shape = integers();
    ConstantId id = constant_value(element, shape, element_count(offset, shape));
    if (!constants_.emplace(number, id).second) lexer_.fail_at(offset, fmt::format("a second constant @{}", number));
  }

  int64_t element_count(size_t offset, const std::vector<int64_t>& shape) const {
    int64_t count = 1;
    for (int64_t extent : shape) {
      bool fits = extent >= 0 && !__builtin_mul_overflow(count, extent, &count) && count <= kMaxConstantElements;
      if (!fits) lexer_.fail_at(offset, "extents of a constant that cannot be");
    }
    return count;
  }

  ConstantId constant_value(DType element, const std::vector<int64_t>& shape, int64_t count) {
    if (lexer_.accept("splat")) return module_->constants.add_splat(element, shape, scalar(element));
    if (lexer_.accept("bytes")) return stand_in(element, shape, count);
    std::vector<Scalar> scalars;
    lexer_.expect("{");
    while (!lexer_.at("}")) {
      scalars.push_back(scalar(element));
      if (!lexer_.at("}")) lexer_.expect(",");
    }
    if (static_cast<int64_t>(scalars.size()) != count) {
      lexer_.fail(fmt::format("{} elements, expected {}", scalars.size(), count));
    }
    lexer_.expect("}");
    return module_->constants.add_scalars(element, shape, scalars);
  }

  Scalar scalar(DType dtype) {
    if (dtype == DType::String)
      return Scalar::of_integer(dtype, module_->constants.strings->number_of(lexer_.string()));
    if (is_float(dtype)) return Scalar::of_float(dtype, round_to(dtype, lexer_.number()));
    return convert(Scalar::of_integer(DType::I64, lexer_.integer()), dtype);
  }

  ConstantId stand_in(DType element, const std::vector<int64_t>& shape, int64_t count) {
    size_t offset = lexer_.peek().offset;
    if (lexer_.integer() != byte_size(element, count)) lexer_.fail_at(offset, "the bytes do not fit the type");
    lexer_.expect("#");
    offset = lexer_.peek().offset;
    std::string_view digits = lexer_.raw_until(" \n}");
    uint64_t seed = 0;
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), seed, 16);
    if (error != std::errc() || end != digits.data() + digits.size()) lexer_.fail_at(offset, "expected a hash");
    Constant constant;
    constant.dtype = constant.source_dtype = element;
    constant.shape = constant.source_shape = shape;
    constant.source = Seeded{seed, 0, kStandInDeviation};
    return module_->constants.add(std::move(constant));
  }

  // --- values ----------------------------------------------------------------------------------------------------

  int64_t value_number() {
    lexer_.expect("%");
    return lexer_.integer();
  }

  void define(size_t offset, int64_t number, Value* value) {
    if (!values_.emplace(number, value).second) lexer_.fail_at(offset, fmt::format("a second value %{}", number));
    if (number > kMaxValueNumber) lexer_.fail_at(offset, fmt::format("value numbers end at {}", kMaxValueNumber));
    value->id = static_cast<uint32_t>(number);  // what Dims call it
    module_->next_value_id = std::max(module_->next_value_id, value->id + 1);
  }

  Value* operand(const Region& region) {
    size_t offset = lexer_.peek().offset;
    int64_t number = value_number();
    auto found = values_.find(number);
    if (found == values_.end() || found->second->region != &region) {
      lexer_.fail_at(offset, fmt::format("no value %{} in this region", number));
    }
    return found->second;
  }

  void state() {
    lexer_.expect("state");
    size_t offset = lexer_.peek().offset;
    State state;
    const std::string kind = lexer_.identifier();
    if (!parse_state_kind(kind)) lexer_.fail_at(offset, fmt::format("no kind of state '{}'", printable(kind)));
    state.kind = *parse_state_kind(kind);
    state.name = lexer_.string();
    lexer_.expect("=");
    state.initial = constant_reference();
    const Constant& constant = module_->constants[state.initial];
    Shape shape;
    for (int64_t extent : constant.shape) shape.push_back(module_->dims.constant(extent));
    state.type = Type::tensor(constant.dtype, std::move(shape));
    module_->states.push_back(std::move(state));
  }

  // Of the state by this name, if the word `state` follows; else -1.
  int state_named(const std::string& name) {
    size_t offset = lexer_.peek().offset;
    if (!lexer_.accept("state")) return -1;
    const auto found = std::ranges::find(module_->states, name, &State::name);
    if (found == module_->states.end()) lexer_.fail_at(offset, fmt::format("no state '{}'", printable(name)));
    return static_cast<int>(found - module_->states.begin());
  }

  static void forget_if_none(std::vector<int>& states) {
    if (std::ranges::all_of(states, [](int state) { return state < 0; })) states.clear();
  }

  // "%0 "x": f32[N]"; the name, and whether it is a state's, only of a function's.
  void arguments(Region& region, Function* function) {
    lexer_.expect("(");
    while (!lexer_.accept(")")) {
      size_t offset = lexer_.peek().offset;
      int64_t number = value_number();
      if (function) {
        function->argument_names.push_back(lexer_.string());
        function->argument_states.push_back(state_named(function->argument_names.back()));
      }
      lexer_.expect(":");
      define(offset, number, add_argument(*module_, region, type()));
      if (!lexer_.at(")")) lexer_.expect(",");
    }
  }

  void function() {
    lexer_.expect("func");
    size_t offset = lexer_.peek().offset;
    std::string name = lexer_.identifier();
    if (module_->function(name)) lexer_.fail_at(offset, fmt::format("a second function '{}'", printable(name)));
    Function& function = module_->add_function(name);
    arguments(*function.body, &function);
    lexer_.expect("->");
    lexer_.expect("(");
    while (!lexer_.accept(")")) {
      function.result_names.push_back(lexer_.string());
      function.result_states.push_back(state_named(function.result_names.back()));
      if (!lexer_.at(")")) lexer_.expect(",");
    }
    forget_if_none(function.argument_states);
    forget_if_none(function.result_states);
    lexer_.expect("{");
    ops(*function.body, 0);
    if (function.body->results().size() != function.result_names.size()) {
      lexer_.fail_at(offset, fmt::format("function '{}' yields {} values, its results have {} names", printable(name),
                                         function.body->results().size(), function.result_names.size()));
    }
  }

  // Up to the closing brace, which it takes.
  void ops(Region& region, int depth) {
    if (depth > kMaxNesting) lexer_.fail("regions are nested too deep");
    while (region.ops.empty() || !region.yield().is(OpKind::Yield)) op(region, depth);
    lexer_.expect("}");
  }

  // --- ops -------------------------------------------------------------------------------------------------------

  struct Result {
    size_t offset;
    int64_t number;
  };

  std::vector<Result> results() {
    std::vector<Result> results;
    if (!lexer_.at("%")) return results;
    do {
      size_t offset = lexer_.peek().offset;
      results.push_back({offset, value_number()});
    } while (lexer_.accept(","));
    lexer_.expect("=");
    return results;
  }

  OpKind kind() {
    size_t offset = lexer_.peek().offset;
    std::string word = lexer_.identifier();
    std::optional<OpKind> kind = parse_op_kind(word);
    if (!kind) lexer_.fail_at(offset, fmt::format("no op '{}'", printable(word)));
    return *kind;
  }

  void op(Region& region, int depth) {
    std::vector<Result> named = results();
    size_t offset = lexer_.peek().offset;
    OpKind kind = this->kind();
    std::vector<Value*> operands;
    while (lexer_.at("%")) {
      operands.push_back(operand(region));
      if (!lexer_.accept(",")) break;
    }
    Params params = parameters();
    std::vector<Type> types;
    if (lexer_.accept(":")) {
      do types.push_back(type());
      while (lexer_.accept(","));
    }
    if (types.size() != named.size()) {
      lexer_.fail_at(offset, fmt::format("{} types for {} results", types.size(), named.size()));
    }
    Op& op = insert_op(*module_, region, region.ops.end(), kind, std::move(operands), std::move(params),
                       std::move(types), 0);
    for (size_t i = 0; i < named.size(); i++) define(named[i].offset, named[i].number, op.result(static_cast<int>(i)));
    while (lexer_.at("{")) this->region(op, depth);
    finish(op, offset);
  }

  void region(Op& op, int depth) {
    lexer_.expect("{");
    auto region = std::make_unique<Region>();
    region->owner = &op;
    arguments(*region, nullptr);
    if (op.is(OpKind::Composite) && region->arguments.size() == op.operands.size()) {
      for (size_t i = 0; i < op.operands.size(); i++) region->arguments[i]->elements = op.operands[i]->elements;
    }
    ops(*region, depth + 1);
    op.regions.push_back(std::move(region));
  }

  // Holds the op to its signature and its inferred types, and fills in its elements. The checks that inference leaves
  // are dropped: those of a module are written in its text.
  void finish(Op& op, size_t offset) {
    for (const std::string& violation : signature_violations(op)) {
      lexer_.fail_at(offset, fmt::format("{}: {}", name_of(op.kind), violation));
    }
    size_t checks = module_->checks.size();
    at_offset(offset, [&] {
      std::vector<Type> types = infer_types(*module_, op.kind, op.operands, op.params, op.regions);
      for (size_t i = 0; i < types.size() && i < op.results.size(); i++) expect_type(op, i, types[i]);
      if (types.size() != op.results.size()) {
        throw Error(Fault::Input, fmt::format("{} results, expected {}", op.results.size(), types.size()));
      }
      infer_elements(*module_, op);
    });
    module_->checks.resize(checks);
  }

  static void expect_type(const Op& op, size_t index, const Type& inferred) {
    Type dense = op.results[index]->type, expected = inferred;
    dense.layout = expected.layout = {};
    if (dense == expected || is_open_result(op, index)) return;
    throw Error(Fault::Input, fmt::format("{}: result {} is {}, inferred {}", name_of(op.kind), index,
                                          to_string(op.results[index]->type), to_string(expected)));
  }

  // --- parameters ------------------------------------------------------------------------------------------------

  Params parameters() {
    Params params;
    while (at_parameter()) {
      size_t offset = lexer_.peek().offset;
      std::string name = lexer_.identifier();
      lexer_.expect("=");
      if (params.has(name)) lexer_.fail_at(offset, fmt::format("a second parameter '{}'", printable(name)));
      params.set(name, parameter());
    }
    return params;
  }

  bool at_parameter() const {
    if (lexer_.peek().kind != TokenKind::Identifier) return false;
    Lexer ahead = lexer_;
    ahead.next();
    return ahead.at("=");
  }

  ParamValue parameter() {
    const Token& token = lexer_.peek();
    if (token.kind == TokenKind::String) return lexer_.string();
    if (token.is("[")) return integers();
    if (token.is("{")) return dims("{", "}");
    if (token.is("@")) return constant_reference();
    if (token.is("(")) {
      lexer_.next();
      Dim result = dim(")");
      lexer_.expect(")");
      return result;
    }
    bool word = token.kind == TokenKind::Identifier && token.text != "inf" && token.text != "nan";
    if (word) return dtype();
    return number();
  }

  ParamValue number() {
    Lexer ahead = lexer_;
    ahead.accept("-");
    if (ahead.peek().kind == TokenKind::Integer) return lexer_.integer();
    return lexer_.number();
  }

  ConstantId constant_reference() {
    lexer_.expect("@");
    size_t offset = lexer_.peek().offset;
    int64_t number = lexer_.integer();
    auto found = constants_.find(number);
    if (found == constants_.end()) lexer_.fail_at(offset, fmt::format("no constant @{}", number));
    return found->second;
  }

  std::vector<int64_t> integers() {
    std::vector<int64_t> result;
    lexer_.expect("[");
    while (!lexer_.accept("]")) {
      result.push_back(lexer_.integer());
      if (!lexer_.at("]")) lexer_.expect(",");
    }
    return result;
  }

  Lexer lexer_;
  std::unique_ptr<Module> module_;
  std::map<int64_t, Value*> values_;
  std::map<int64_t, ConstantId> constants_;
};

}  // namespace

std::unique_ptr<Module> parse_module(std::string_view text) { return GraphParser(text).parse(); }

}  // namespace lapidary
