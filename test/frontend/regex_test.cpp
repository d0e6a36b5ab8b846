// Patterns of RE2's syntax as automata: what they take, what is wrong with them, what is not supported.
#include "frontend/regex.h"

#include <gtest/gtest.h>

#include "ir/error.h"

namespace lapidary::frontend {
namespace {

bool matches(std::string_view pattern, std::string_view text) {
  const std::vector<int32_t> table = automaton_of(pattern);
  const auto classes = static_cast<size_t>(table[1]), states = static_cast<size_t>(table[0]);
  const int32_t* class_of = table.data() + 2;
  const int32_t *accepts = class_of + 256, *next = accepts + states;
  size_t state = 0;
  for (unsigned char c : text) state = static_cast<size_t>(next[state * classes + static_cast<size_t>(class_of[c])]);
  return accepts[state] != 0;
}

Fault fault_of(std::string_view pattern) {
  try {
    automaton_of(pattern);
  } catch (const Error& error) { return error.fault; }
  return Fault::Internal;
}

TEST(Regex, MatchesWholeTexts) {
  EXPECT_TRUE(matches("", ""));
  EXPECT_FALSE(matches("", "a"));
  EXPECT_TRUE(matches("ab|c", "ab"));
  EXPECT_TRUE(matches("ab|c", "c"));
  EXPECT_FALSE(matches("ab|c", "ac"));
  EXPECT_FALSE(matches("a", "aa"));
  EXPECT_TRUE(matches("(\\W|^)[\\w.\\-]{0,25}@(yahoo|gmail)\\.com(\\W|$)", "account@gmail.com"));
  EXPECT_FALSE(matches("(\\W|^)[\\w.\\-]{0,25}@(yahoo|gmail)\\.com(\\W|$)", "not email"));
}

TEST(Regex, Repeats) {
  for (const char* text : {"", "a", "aa", "aaa", "aaaa"}) {
    const size_t length = std::string_view(text).size();
    EXPECT_EQ(matches("a*", text), true);
    EXPECT_EQ(matches("a+", text), length > 0);
    EXPECT_EQ(matches("a?", text), length < 2);
    EXPECT_EQ(matches("a{2}", text), length == 2);
    EXPECT_EQ(matches("a{2,}", text), length >= 2);
    EXPECT_EQ(matches("a{1,3}?", text), length >= 1 && length <= 3);
    EXPECT_EQ(matches("(a|b*)*", text), true);
  }
  EXPECT_TRUE(matches("a{,2}", "a{,2}"));  // no repetition: as it stands
  EXPECT_TRUE(matches("x{0}y", "y"));
}

TEST(Regex, ReadsCodePoints) {
  EXPECT_TRUE(matches(".", "é"));
  EXPECT_FALSE(matches("..", "é"));
  EXPECT_TRUE(matches("[α-ω]+", "λογος"));
  EXPECT_TRUE(matches("[^a]", "𝄞"));
  EXPECT_FALSE(matches(".", "\xff"));
  EXPECT_FALSE(matches(".", "\n"));
  EXPECT_TRUE(matches("(?s).", "\n"));
  EXPECT_TRUE(matches("\\x{1D11E}", "𝄞"));
  EXPECT_TRUE(matches("[\\x{7ff}-\\x{800}]{2}", "\u07ff\u0800"));
  EXPECT_TRUE(matches("[\\x{10}-\\x{10ffff}]", "\U0010ffff"));
  EXPECT_FALSE(matches("[^\\x{10}-\\x{10ffff}]", "\u20ac"));
}

TEST(Regex, KnowsClassesAndEscapes) {
  EXPECT_TRUE(matches("[]a-]+", "]-a"));
  EXPECT_TRUE(matches("[[:alpha:]_]+", "Ab_"));
  EXPECT_FALSE(matches("[[:^alpha:]]", "A"));
  EXPECT_TRUE(matches("\\d\\D\\s\\S\\w\\W", "1a b_-"));
  EXPECT_TRUE(matches("[\\d\\]]+", "1]"));
  EXPECT_TRUE(matches("\\Qa.b*\\E+", "a.b**"));
  EXPECT_TRUE(matches("\\101\\x42\\t", "AB\t"));
  EXPECT_TRUE(matches("(?P<year>\\d{4})-(?<month>\\d\\d)", "2024-05"));
}

TEST(Regex, FoldsCase) {
  EXPECT_TRUE(matches("(?i)straße", "STRAßE"));
  EXPECT_TRUE(matches("(?i)k", "\u212a"));  // the sign of kelvins
  EXPECT_TRUE(matches("(?i:a)b", "Ab"));
  EXPECT_FALSE(matches("(?i:a)b", "AB"));
  EXPECT_TRUE(matches("a(?i)b|c", "aB"));
  EXPECT_TRUE(matches("a(?i)b|c", "C"));
  EXPECT_TRUE(matches("(?i)[^a]", "b"));
  EXPECT_FALSE(matches("(?i)[^a]", "A"));
}

TEST(Regex, KnowsWhereTextsBeginAndEnd) {
  EXPECT_TRUE(matches("^a$", "a"));
  EXPECT_TRUE(matches("(^|x)a", "a"));
  EXPECT_FALSE(matches("a^b", "ab"));
  EXPECT_FALSE(matches("a$b", "ab"));
  EXPECT_TRUE(matches("\\A(^$)*\\z", ""));
}

TEST(Regex, KnowsWhereWordsBeginAndEnd) {
  EXPECT_TRUE(matches("\\ba\\b", "a"));
  EXPECT_TRUE(matches("a\\b.*", "a b"));
  EXPECT_FALSE(matches("a\\b.*", "ab"));
  EXPECT_TRUE(matches("a\\B.*", "ab"));
  EXPECT_FALSE(matches("a\\B", "a"));
  EXPECT_TRUE(matches("\\B", ""));
  EXPECT_FALSE(matches("\\b", ""));
  EXPECT_TRUE(matches("^\\b\\w+\\b \\b\\w+$", "two words"));
  EXPECT_TRUE(matches("www\\.[\\w.-]+\\.\\bcom\\b", "www.google.com"));
  EXPECT_TRUE(matches("é\\Bé", "éé"));  // letters of ASCII make words
}

TEST(Regex, RefusesWhatRe2Refuses) {
  for (const char* pattern :
       {"(",  ")",   "a)",  "[a",    "*",       "a**",   "a{3}{2}",    "a{2,1}",      "a{1001}", "[b-a]",
        "\\", "\\q", "\\1", "(?=a)", "(?P<>a)", "(?P<a", "[[:nope:]]", "\\x{110000}", "\xff",    "(?i"})
    EXPECT_EQ(fault_of(pattern), Fault::Input) << pattern;
}

TEST(Regex, SaysWhatIsNotSupported) {
  for (const char* pattern : {"\\pL", "(?m)^a", "\\C", "((((a{100}){100}){100}){100})", "(a|b)*a(a|b){14}"})
    EXPECT_EQ(fault_of(pattern), Fault::Unsupported) << pattern;
  EXPECT_EQ(fault_of(std::string(1000, '(') + std::string(1000, ')')), Fault::Unsupported);
}

}  // namespace
}  // namespace lapidary::frontend
