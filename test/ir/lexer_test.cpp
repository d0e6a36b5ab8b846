#include "ir/lexer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ir/error.h"

namespace lapidary {
namespace {

std::string failure(auto&& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault, Fault::Input);
    return error.what();
  }
  return "no error";
}

TEST(Lexer, ReadsEachKindOfWord) {
  Lexer lexer("func run(%0 \"x\\n\": f32[N, 3*S + 1]) // the end of the line\n-> -7 1..4 -1.5e-3 inf");
  EXPECT_EQ(lexer.identifier(), "func");
  EXPECT_EQ(lexer.identifier(), "run");
  lexer.expect("(");
  lexer.expect("%");
  EXPECT_EQ(lexer.integer(), 0);
  EXPECT_EQ(lexer.string(), "x\n");
  lexer.expect(":");
  EXPECT_EQ(lexer.identifier(), "f32");
  lexer.expect("[");
  EXPECT_EQ(lexer.raw_until(",]"), "N");
  lexer.expect(",");
  EXPECT_EQ(lexer.raw_until(",]"), "3*S + 1");
  lexer.expect("]");
  lexer.expect(")");
  lexer.expect("->");
  EXPECT_EQ(lexer.integer(), -7);
  EXPECT_EQ(lexer.integer(), 1);
  lexer.expect("..");
  EXPECT_EQ(lexer.integer(), 4);
  EXPECT_EQ(lexer.number(), -1.5e-3);
  EXPECT_TRUE(std::isinf(lexer.number()));
  EXPECT_TRUE(lexer.at_end());
}

TEST(Lexer, RawTextKeepsBracketsTogether) {
  Lexer lexer("max(N, 4), S]");
  EXPECT_EQ(lexer.raw_until(",]"), "max(N, 4)");
  EXPECT_TRUE(lexer.accept(","));
  EXPECT_EQ(lexer.raw_until(",]"), "S");
  EXPECT_EQ(Lexer("\"a, ]\" + 1, S").raw_until(",]"), "\"a, ]\" + 1");
  EXPECT_EQ(Lexer("N // all of them\n").raw_until("\n"), "N");
}

TEST(Lexer, NamesLineAndColumn) {
  EXPECT_EQ(failure([] {
              Lexer lexer("a\n  b");
              lexer.next();
              lexer.expect("c");
            }),
            "line 2, column 3: expected 'c', found 'b'");
  EXPECT_EQ(failure([] { Lexer lexer("\"abc"); }), "line 1, column 1: a string without end");
  EXPECT_EQ(failure([] { Lexer("99999999999999999999").integer(); }),
            "line 1, column 1: the integer does not fit 64 bits, found '99999999999999999999'");
}

TEST(Lexer, NumbersAndStringsReadBack) {
  for (double value : {0.0, 1.0, -2.5, 1e300, 1e-300, 0.1, 3e8}) {
    std::string text = float_text(value);
    EXPECT_EQ(Lexer(text).number(), value);
    EXPECT_NE(text.find_first_of(".e"), std::string::npos) << text;
  }
  EXPECT_EQ(float_text(0.1f), "0.1");
  std::string raw("a\"\\\n\0\xff", 6);
  EXPECT_EQ(Lexer(quote(raw)).string(), raw);
}

}  // namespace
}  // namespace lapidary
