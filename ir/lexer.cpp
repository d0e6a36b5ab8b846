// The lexer of both text forms: one token of look-ahead over a string_view, no table.
#include "ir/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "ir/error.h"

namespace lapidary {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool starts_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool in_word(char c) { return starts_word(c) || is_digit(c) || c == '.'; }

constexpr std::array<std::string_view, 6> kPairs = {"->", "..", "<=", ">=", "==", "!="};

template <class T>
std::string shortest(T value) {
  std::string text = fmt::format("{}", value);
  return text.find_first_of(".eni") == std::string::npos ? text + ".0" : text;  // n, i: nan, inf
}

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

Lexer::Lexer(std::string_view text) : text_(text) { advance(); }

void Lexer::skip_blanks() {
  while (position_ < text_.size()) {
    char c = text_[position_];
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      position_++;
    } else if (text_.substr(position_, 2) == "//") {
      position_ = std::min(text_.find('\n', position_), text_.size());
    } else {
      return;
    }
  }
}

// End of the number that starts at position_: "12", "1.5", "1e-3"; "1..4" is the integer 1.
size_t Lexer::scan_number() const {
  size_t end = position_;
  auto digits = [&] {
    while (end < text_.size() && is_digit(text_[end])) end++;
  };
  digits();
  if (end + 1 < text_.size() && text_[end] == '.' && is_digit(text_[end + 1])) {
    end++;
    digits();
  }
  if (end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
    size_t exponent = end + 1;
    if (exponent < text_.size() && (text_[exponent] == '+' || text_[exponent] == '-')) exponent++;
    if (exponent < text_.size() && is_digit(text_[exponent])) {
      end = exponent;
      digits();
    }
  }
  return end;
}

size_t Lexer::scan_string() const {
  for (size_t end = position_ + 1; end < text_.size() && text_[end] != '\n'; end++) {
    if (text_[end] == '"') return end + 1;
    if (text_[end] == '\\') end++;
  }
  fail_at(position_, "a string without end");
}

void Lexer::advance() {
  skip_blanks();
  token_ = {TokenKind::End, {}, position_};
  if (position_ == text_.size()) return;
  char first = text_[position_];
  size_t end = position_ + 1;
  if (starts_word(first)) {
    token_.kind = TokenKind::Identifier;
    while (end < text_.size() && in_word(text_[end])) end++;
  } else if (is_digit(first)) {
    end = scan_number();
    bool integer = text_.substr(position_, end - position_).find_first_of(".eE") == std::string_view::npos;
    token_.kind = integer ? TokenKind::Integer : TokenKind::Float;
  } else if (first == '"') {
    token_.kind = TokenKind::String;
    end = scan_string();
  } else {
    token_.kind = TokenKind::Punctuation;
    if (std::find(kPairs.begin(), kPairs.end(), text_.substr(position_, 2)) != kPairs.end()) end++;
  }
  token_.text = text_.substr(position_, end - position_);
  position_ = end;
}

Token Lexer::next() {
  Token token = token_;
  advance();
  return token;
}

bool Lexer::accept(std::string_view word) {
  if (!at(word)) return false;
  advance();
  return true;
}

void Lexer::expect(std::string_view word) {
  if (!accept(word)) fail(fmt::format("expected '{}'", word));
}

std::string Lexer::identifier() {
  if (token_.kind != TokenKind::Identifier) fail("expected a name");
  return std::string(next().text);
}

int64_t Lexer::integer() {
  bool negative = accept("-");
  if (token_.kind != TokenKind::Integer) fail("expected an integer");
  uint64_t value = 0;
  auto [end, error] = std::from_chars(token_.text.data(), token_.text.data() + token_.text.size(), value);
  if (error != std::errc()) fail("the integer does not fit 64 bits");
  advance();
  return static_cast<int64_t>(negative ? 0 - value : value);
}

double Lexer::number() {
  double sign = accept("-") ? -1 : 1;
  if (accept("inf")) return sign * std::numeric_limits<double>::infinity();
  if (accept("nan")) return std::numeric_limits<double>::quiet_NaN();
  if (token_.kind != TokenKind::Integer && token_.kind != TokenKind::Float) fail("expected a number");
  double value = 0;
  auto [end, error] = std::from_chars(token_.text.data(), token_.text.data() + token_.text.size(), value);
  if (error != std::errc()) fail("the number does not fit 64 bits");
  advance();
  return sign * value;
}

std::string Lexer::string() {
  if (token_.kind != TokenKind::String) fail("expected a string");
  std::string_view body = token_.text.substr(1, token_.text.size() - 2);
  std::string decoded;
  for (size_t i = 0; i < body.size(); i++) {
    if (body[i] != '\\') {
      decoded += body[i];
    } else if (body[++i] == 'n') {
      decoded += '\n';
    } else if (body[i] == '"' || body[i] == '\\') {
      decoded += body[i];
    } else {
      int high = body[i] == 'x' && i + 2 < body.size() ? hex_digit(body[i + 1]) : -1;
      int low = high >= 0 ? hex_digit(body[i + 2]) : -1;
      if (low < 0) fail("an escape other than \\\" \\\\ \\n \\xNN");
      decoded += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  advance();
  return decoded;
}

std::string_view Lexer::raw_until(std::string_view stops) {
  size_t begin = token_.offset, end = begin;
  bool in_string = false;
  for (int depth = 0; end < text_.size(); end++) {
    char c = text_[end];
    if (c == '"') in_string = !in_string;
    if (in_string) {
      if (c == '\\') end++;
      continue;
    }
    if (depth == 0 && stops.find(c) != std::string_view::npos) break;
    if (text_.substr(end, 2) == "//") break;
    if (c == '(' || c == '[' || c == '{') depth++;
    if (c == ')' || c == ']' || c == '}') depth--;
  }
  end = std::min(end, text_.size());
  position_ = end;
  advance();
  while (end > begin && text_[end - 1] == ' ') end--;
  return text_.substr(begin, end - begin);
}

void Lexer::fail(const std::string& message) const {
  std::string found = at_end() ? "the end" : fmt::format("'{}'", printable(token_.text));
  fail_at(token_.offset, fmt::format("{}, found {}", message, found));
}

void Lexer::fail_at(size_t offset, const std::string& message) const {
  std::string_view before = text_.substr(0, offset);
  auto line = 1 + std::count(before.begin(), before.end(), '\n');
  size_t newline = before.rfind('\n');
  size_t column = newline == std::string_view::npos ? offset + 1 : offset - newline;
  throw Error(Fault::Input, fmt::format("line {}, column {}: {}", line, column, message));
}

std::string quote(std::string_view text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (c >= 0x20 && c < 0x7f) {
      result += c;
    } else {
      result += c == '\n' ? "\\n" : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return result + '"';
}

std::string float_text(double value) { return shortest(value); }
std::string float_text(float value) { return shortest(value); }

}  // namespace lapidary
