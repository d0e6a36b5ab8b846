// Dims as text: "4*N*S + 1", "(S + 3) floordiv 4", "max(N, 4)". A symbol whose name is no plain identifier is quoted,
// an element of a value prints as %12[0].
#include <charconv>

#include "ir/dim.h"
#include "ir/error.h"

namespace lapidary {
namespace {

struct Function {
  std::string_view name;
  DimKind kind;
  size_t operands;
};
constexpr Function kFunctions[] = {{"min", DimKind::Min, 2},
                                   {"max", DimKind::Max, 2},
                                   {"equal", DimKind::Equal, 2},
                                   {"less", DimKind::Less, 2},
                                   {"select", DimKind::Select, 3}};

const Function* function_named(std::string_view name) {
  for (const Function& function : kFunctions)
    if (function.name == name) return &function;
  return nullptr;
}

std::string_view function_name(DimKind kind) {
  for (const Function& function : kFunctions)
    if (function.kind == kind) return function.name;
  LPD_UNREACHABLE();
}

bool starts_identifier(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_plain(std::string_view name) {
  if (name.empty() || !starts_identifier(name[0]) || function_named(name) || name == "floordiv" || name == "mod")
    return false;
  for (char c : name)
    if (!starts_identifier(c) && !is_digit(c) && c != '.') return false;
  return true;
}

std::string symbol_text(const std::string& name) {
  if (is_plain(name)) return name;
  std::string result = "\"";
  for (unsigned char c : name) {
    if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
      result += static_cast<char>(c);
    else
      result += fmt::format("\\x{:02x}", c);
  }
  return result + "\"";
}

// As a factor of a product or an operand of floordiv and mod.
std::string factor_text(Dim dim) {
  bool compound = dim->kind == DimKind::Sum || dim->kind == DimKind::Product || dim->kind == DimKind::FloorDiv ||
                  dim->kind == DimKind::Mod || (dim->kind == DimKind::Constant && dim->constant < 0);
  return compound ? fmt::format("({})", to_string(dim)) : to_string(dim);
}

std::string product_text(Dim dim) {
  std::string result = dim->constant == 1 ? "" : dim->constant == -1 ? "-" : fmt::format("{}*", dim->constant);
  for (size_t i = 0; i < dim->operands.size(); i++)
    result += fmt::format("{}{}", i == 0 ? "" : "*", factor_text(dim->operands[i]));
  return result;
}

std::string sum_text(Dim dim) {
  std::string result;
  for (Dim term : dim->operands) {
    std::string text = to_string(term);
    if (result.empty())
      result = text;
    else
      result += text[0] == '-' ? fmt::format(" - {}", text.substr(1)) : fmt::format(" + {}", text);
  }
  return result;
}

std::string call_text(Dim dim) {
  std::string result(function_name(dim->kind));
  for (size_t i = 0; i < dim->operands.size(); i++)
    result += fmt::format("{}{}", i == 0 ? "(" : ", ", to_string(dim->operands[i]));
  return result + ")";
}

class Parser {
 public:
  Parser(DimPool& pool, std::string_view text) : pool_(pool), text_(text) {}

  Dim parse() {
    Dim result = sum();
    if (!at_end()) fail("expected an operator");
    return result;
  }

 private:
  static constexpr int kDeepest = 256;

  [[noreturn]] void fail(const std::string& message) const {
    throw Error(Fault::Input, fmt::format("dimension '{}', column {}: {}", printable(text_), position_ + 1, message));
  }
  void skip_space() {
    while (position_ < text_.size() && (text_[position_] == ' ' || text_[position_] == '\t')) position_++;
  }
  bool at_end() { return skip_space(), position_ == text_.size(); }
  char peek() { return at_end() ? '\0' : text_[position_]; }
  bool take(char c) {
    if (peek() != c) return false;
    position_++;
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail(fmt::format("expected '{}'", c));
  }
  std::string_view peek_word() {
    skip_space();
    size_t end = position_;
    if (end < text_.size() && starts_identifier(text_[end]))
      while (end < text_.size() && (starts_identifier(text_[end]) || is_digit(text_[end]) || text_[end] == '.')) end++;
    return text_.substr(position_, end - position_);
  }
  bool take_word(std::string_view word) {
    if (peek_word() != word) return false;
    position_ += word.size();
    return true;
  }

  template <typename Integer>
  Integer number(bool negative = false) {
    skip_space();
    std::string digits = negative ? "-" : "";
    size_t start = position_;
    while (position_ < text_.size() && is_digit(text_[position_])) digits += text_[position_++];
    Integer value{};
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size()) {
      position_ = start;
      fail("expected an integer that fits");
    }
    return value;
  }

  Dim sum() {
    if (++depth_ > kDeepest) fail("nested too deep");
    Dim result = term();
    while (true) {
      if (take('+'))
        result = pool_.add(result, term());
      else if (take('-'))
        result = pool_.sub(result, term());
      else
        break;
    }
    depth_--;
    return result;
  }

  Dim term() {
    Dim result = unary();
    while (true) {
      if (take('*'))
        result = pool_.mul(result, unary());
      else if (take_word("floordiv"))
        result = pool_.floordiv(result, unary());
      else if (take_word("mod"))
        result = pool_.mod(result, unary());
      else
        return result;
    }
  }

  Dim unary() {
    if (!take('-')) return primary();
    if (is_digit(peek())) return pool_.constant(number<int64_t>(true));
    if (++depth_ > kDeepest) fail("nested too deep");
    Dim result = pool_.neg(unary());
    depth_--;
    return result;
  }

  Dim primary() {
    if (is_digit(peek())) return pool_.constant(number<int64_t>());
    if (peek() == '"') return symbol(quoted());
    if (take('%')) return element();
    if (take('(')) {
      Dim result = sum();
      expect(')');
      return result;
    }
    std::string_view word = peek_word();
    if (word.empty()) fail("expected a dimension");
    if (word == "floordiv" || word == "mod") fail("expected a dimension before the operator");
    position_ += word.size();
    if (const Function* function = function_named(word)) return call(*function);
    return symbol(std::string(word));
  }

  // A known symbol keeps its interval: the text says nothing of it.
  Dim symbol(const std::string& name) {
    for (Dim known : pool_.symbols())
      if (known->name == name) return known;
    return pool_.symbol(name);
  }

  Dim element() {
    auto value = number<uint32_t>();
    expect('[');
    auto index = number<int64_t>();
    expect(']');
    return pool_.element(value, index);
  }

  Dim call(const Function& function) {
    std::vector<Dim> operands;
    expect('(');
    for (size_t i = 0; i < function.operands; i++) {
      if (i > 0) expect(',');
      operands.push_back(sum());
    }
    expect(')');
    return pool_.make(function.kind, operands);
  }

  std::string quoted() {
    std::string result;
    expect('"');
    while (position_ < text_.size() && text_[position_] != '"') {
      char c = text_[position_++];
      result += c == '\\' ? escaped() : c;
    }
    if (position_ == text_.size()) fail("expected '\"'");
    position_++;
    return result;
  }
  char escaped() {
    unsigned code = 0;
    const char* first = text_.data() + position_ + 1;
    bool fits = position_ + 3 <= text_.size() && text_[position_] == 'x';
    if (!fits || std::from_chars(first, first + 2, code, 16).ptr != first + 2) fail("expected \\xNN");
    position_ += 3;
    return static_cast<char>(code);
  }

  DimPool& pool_;
  std::string_view text_;
  size_t position_ = 0;
  int depth_ = 0;
};

}  // namespace

std::string to_string(Dim dim) {
  switch (dim->kind) {
    case DimKind::Constant:
      return fmt::format("{}", dim->constant);
    case DimKind::Symbol:
      return symbol_text(dim->name);
    case DimKind::Element:
      return fmt::format("%{}[{}]", dim->value_id, dim->constant);
    case DimKind::Sum:
      return sum_text(dim);
    case DimKind::Product:
      return product_text(dim);
    case DimKind::FloorDiv:
      return factor_text(dim->operands[0]) + " floordiv " + factor_text(dim->operands[1]);
    case DimKind::Mod:
      return factor_text(dim->operands[0]) + " mod " + factor_text(dim->operands[1]);
    case DimKind::Min:
    case DimKind::Max:
    case DimKind::Equal:
    case DimKind::Less:
    case DimKind::Select:
      return call_text(dim);
  }
  LPD_UNREACHABLE();
}

Dim parse_dim(DimPool& pool, std::string_view text) { return Parser(pool, text).parse(); }

}  // namespace lapidary
