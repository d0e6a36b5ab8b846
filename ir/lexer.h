// Words of the text forms: identifiers, numbers, strings, punctuation. Both parsers (parse_graph.cpp, parse_kernel.cpp)
// read through it, so both have one spelling of numbers and strings, one comment (// to the end of the line) and
// messages with line and column.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lapidary {

enum class TokenKind : uint8_t {
  End,
  Identifier,   // letter or _, then letters, digits, _ and .
  Integer,      // decimal, without sign
  Float,        // 1.5, 1e-3, without sign
  String,       // "…" with \" \\ \n \xNN
  Punctuation,  // one character, or one of -> .. <= >= == !=
};

struct Token {
  TokenKind kind = TokenKind::End;
  std::string_view text;  // as written, quotes included
  size_t offset = 0;
  bool is(std::string_view word) const { return kind != TokenKind::String && kind != TokenKind::End && text == word; }
};

class Lexer {
 public:
  explicit Lexer(std::string_view text);  // the text must outlive it

  const Token& peek() const { return token_; }
  Token next();
  bool at(std::string_view word) const { return token_.is(word); }
  bool accept(std::string_view word);  // takes it when it is next
  void expect(std::string_view word);
  bool at_end() const { return token_.kind == TokenKind::End; }

  std::string identifier();
  int64_t integer();     // with sign; unsigned 64-bit ones as their bits
  double number();       // integer or float with sign, inf, nan
  std::string string();  // decoded
  // The raw text up to the first of the characters `stops` outside brackets and strings, or a comment: what parse_dim
  // takes.
  std::string_view raw_until(std::string_view stops);

  [[noreturn]] void fail(const std::string& message) const;  // Error{Fault::Input}: "line 3, column 7: …"
  [[noreturn]] void fail_at(size_t offset, const std::string& message) const;

 private:
  void advance();
  void skip_blanks();
  size_t scan_number() const;
  size_t scan_string() const;

  std::string_view text_;
  size_t position_ = 0;  // behind token_
  Token token_;
};

std::string quote(std::string_view);  // "…", bytes outside printable ASCII as \xNN
std::string float_text(double);       // shortest that reads back the same; always with '.', 'e', or inf / nan
std::string float_text(float);

}  // namespace lapidary
