// The check behind `lapidary-opt --check-values` sees what it is there to see.
#include "tools/same_values.h"

#include <gtest/gtest.h>

#include "ir/error.h"
#include "ir/text.h"
#include "passes/pipeline.h"

namespace lapidary::tools {
namespace {

std::string function(const std::string& op) {
  return "module \"m\" {\n symbols N\n @0 = f32[] splat 2.5\n func run(%0 \"x\": f32[N, 4]) -> (\"y\") {\n" + op +
         "\n yield %9\n }\n}\n";
}
std::unique_ptr<Module> negated() { return parse_module(function("%9 = neg %0 : f32[N, 4]")); }

template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault, Fault::Internal);
    return error.what();
  }
  return "";
}

TEST(SameValues, TheSameIsTheSame) {
  EXPECT_EQ(error_of([] { SameValues(*negated()).expect(*negated(), "after nothing"); }), "");
}

TEST(SameValues, OtherNumbersAreNamed) {
  std::unique_ptr<Module> before = negated(), after = parse_module(function("%9 = abs %0 : f32[N, 4]"));
  const std::string text = error_of([&] { SameValues(*before).expect(*after, "after pass 'bad'"); });
  EXPECT_NE(text.find("after pass 'bad', function 'run' with N=1: result 0: element "), std::string::npos) << text;
}

// Right for one row, wrong for more: found because symbols take several values.
TEST(SameValues, SymbolsAreRebound) {
  std::unique_ptr<Module> before = parse_module(
      function("%1 = reduce_mean %0 axes=[0] : f32[4]\n%9 = broadcast %1 axes=[1] shape={N, 4} : f32[N, 4]"));
  std::unique_ptr<Module> after = parse_module(
      function("%1 = reduce_sum %0 axes=[0] : f32[4]\n%9 = broadcast %1 axes=[1] shape={N, 4} : f32[N, 4]"));
  const std::string text = error_of([&] { SameValues(*before).expect(*after, "after pass 'bad'"); });
  EXPECT_NE(text.find("with N=2"), std::string::npos) << text;
}

TEST(SameValues, ALoweredProgramIsRun) {
  std::unique_ptr<Module> before = negated(), after = negated();
  passes::run_passes(*after, {"form-groups"}, {});
  EXPECT_EQ(error_of([&] { SameValues(*before).expect(passes::lower(*after, {})); }), "");
  std::unique_ptr<Module> other = parse_module(function("%9 = abs %0 : f32[N, 4]"));
  EXPECT_NE(error_of([&] { SameValues(*other).expect(passes::lower(*after, {})); }), "");
}

}  // namespace
}  // namespace lapidary::tools
