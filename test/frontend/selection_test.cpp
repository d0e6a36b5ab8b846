// What depends on the values: counted once however often it is asked for.
#include "test/frontend/imported.h"

namespace lapidary::frontend {
namespace {

int64_t count_of(const Module& module, OpKind kind) {
  int64_t count = 0;
  for (const Op& op : module.functions[0]->body->ops) count += op.is(kind);
  return count;
}

TEST(Selection, OneMaskIsCountedOnce) {
  const std::string nodes = "n = NonZero(m) o = NonZero(m) y = Add(n, o)";
  auto module = imported(model_text("g (bool[2,N] m) => (int64[2,K] y) {" + nodes + "}"));
  EXPECT_EQ(count_of(*module, OpKind::TruePositions), 1);
  EXPECT_EQ(count_of(*module, OpKind::ToHost), 1);
}

TEST(Selection, CountsLieWithinTheMask) {
  auto module = imported(model_text("g (bool[7] m) => (int64[1,K] y) { y = NonZero(m) }"));
  EXPECT_EQ(range(module->functions[0]->body->results()[0]->type.shape[1]), (Interval{0, 7}));
}

}  // namespace
}  // namespace lapidary::frontend
