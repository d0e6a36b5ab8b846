// Use lists after each kind of change, names of ops, parameters.
#include "ir/graph.h"

#include <gtest/gtest.h>

#include "ir/error.h"
#include "ir/graph_builder.h"
#include "ir/text.h"
#include "ir/verifier.h"

namespace lapidary {
namespace {

struct GraphTest : testing::Test {
  Module module;
  Function& run = module.add_function("run");
  Region& body = *run.body;
  GraphBuilder builder{module, body};

  Value* argument(Shape shape, DType dtype = DType::F32) {
    run.argument_names.push_back("x" + std::to_string(run.argument_names.size()));
    return add_argument(module, body, Type::tensor(dtype, std::move(shape)));
  }
  void finish(std::vector<Value*> results) {
    for (size_t i = 0; i < results.size(); i++) run.result_names.push_back("y" + std::to_string(i));
    builder.yield(std::move(results));
  }
  void expect_well_formed() {
    for (const std::string& violation : verify(module)) ADD_FAILURE() << violation;
  }
};

TEST_F(GraphTest, EveryNameReadsBack) {
  for (int kind = 0; kind <= static_cast<int>(OpKind::Yield); kind++) {
    EXPECT_EQ(parse_op_kind(name_of(static_cast<OpKind>(kind))), static_cast<OpKind>(kind));
  }
  EXPECT_EQ(parse_op_kind("no_such_op"), std::nullopt);
  EXPECT_TRUE(is_scalar_op(OpKind::Select));
  EXPECT_FALSE(is_scalar_op(OpKind::Constant));
}

TEST_F(GraphTest, ParametersAreSortedAndTyped) {
  Params params{{"b", int64_t{1}}, {"a", std::string("x")}};
  EXPECT_EQ(params.entries()[0].first, "a");
  params.set("b", int64_t{2});
  EXPECT_EQ(params.integer("b"), 2);
  EXPECT_EQ(params.integer_or("c", 7), 7);
  EXPECT_THROW(params.text("b"), Error);
  EXPECT_THROW(params.integer("c"), Error);
  params.erase("a");
  EXPECT_FALSE(params.has("a"));
}

TEST_F(GraphTest, ReplacingUsesMovesThemAll) {
  Value *x = argument(builder.shape({4})), *y = argument(builder.shape({4}));
  Value* sum = builder.add(x, x);
  finish({sum, x});
  x->replace_all_uses(y);
  EXPECT_TRUE(x->uses.empty());
  EXPECT_EQ(y->uses.size(), 3u);
  EXPECT_EQ(sum->producer->operand(0), y);
  expect_well_formed();
}

TEST_F(GraphTest, OperandsChangeWithTheirUses) {
  Value *x = argument(builder.shape({4})), *y = argument(builder.shape({4}));
  Op& op = builder.create(OpKind::Concat, {x, x, y}, {{"axis", int64_t{0}}});
  op.erase_operand(0);
  EXPECT_EQ(x->uses.size(), 1u);
  EXPECT_EQ(x->uses[0].operand, 0u);
  EXPECT_EQ(y->uses[0].operand, 1u);
  op.add_operand(x);
  op.set_operand(0, y);
  EXPECT_EQ(y->uses.size(), 2u);
  EXPECT_EQ(x->uses[0].operand, 2u);
  finish({op.result()});
  expect_well_formed();
}

TEST_F(GraphTest, ErasingDropsUsesAndRefusesWhatIsUsed) {
  Value* x = argument(builder.shape({4}));
  Value* negative = builder.neg(x);
  Value* dead = builder.neg(negative);
  finish({x});
  EXPECT_THROW(erase_op(*negative->producer), Error);
  erase_op(*dead->producer);
  EXPECT_TRUE(negative->uses.empty());
  erase_op(*negative->producer);
  EXPECT_EQ(body.ops.size(), 1u);
  expect_well_formed();
}

TEST_F(GraphTest, ClonedRegionsAreTheirOwn) {
  Value* x = argument(builder.shape({4}));
  Value* y = builder.composite("twice", {}, {x}, [](GraphBuilder& b, std::span<Value* const> in) {
    return std::vector<Value*>{b.add(in[0], in[0])};
  })[0];
  finish({y});
  std::unique_ptr<Region> copy = clone_region(module, *y->producer->regions[0]);
  ASSERT_EQ(copy->ops.size(), 2u);
  EXPECT_EQ(copy->ops.front().operand(0), copy->arguments[0].get());
  EXPECT_EQ(copy->arguments[0]->uses.size(), 2u);
  EXPECT_NE(copy->arguments[0]->id, y->producer->regions[0]->arguments[0]->id);
  expect_well_formed();
}

TEST_F(GraphTest, CopiesSpeakOfWhatTheirOwnOpsRead) {
  Value* x = argument(builder.shape({}), DType::I64);
  Value* y = builder.composite("spread", {}, {x}, [](GraphBuilder& b, std::span<Value* const> in) {
    const Dim extent = b.to_host(in[0], {0, 100})->elements[0];
    b.module.check(b.module.dims.less(extent, b.dim(9)), "an extent of at most 8");
    return std::vector<Value*>{b.broadcast(b.like(in[0], 1), {}, {extent})};
  })[0];
  finish({y});
  std::unique_ptr<Region> copy = clone_region(module, *y->producer->regions[0]);
  const Value* read = copy->ops.front().result();
  const Dim extent = module.dims.element(read->id, 0);
  EXPECT_EQ(read->elements, Shape{extent});
  EXPECT_EQ(copy->results()[0]->type.shape, Shape{extent});
  EXPECT_EQ(copy->results()[0]->producer->params.dims("shape"), Shape{extent});
  ASSERT_EQ(module.checks.size(), 2u);
  EXPECT_EQ(module.checks[1].must_hold, module.dims.less(extent, module.dims.constant(9)));
  EXPECT_EQ(module.checks[1].message, module.checks[0].message);
}

TEST_F(GraphTest, InlinedRegionsReadTheArguments) {
  Value* x = argument(builder.shape({4}));
  Value* y = builder.composite("inner", {}, {x}, [](GraphBuilder& outer, std::span<Value* const> in) {
    return outer.composite("innermost", {}, {in[0]}, [](GraphBuilder& b, std::span<Value* const> deep) {
      return std::vector<Value*>{b.neg(deep[0]), deep[0]};
    });
  })[0];
  finish({y});
  Op& composite = *y->producer;
  std::vector<Value*> results = inline_region(module, *composite.regions[0], composite.operands, body, composite.self);
  ASSERT_EQ(results.size(), 2u);
  for (size_t i = 0; i < results.size(); i++) composite.results[i]->replace_all_uses(results[i]);
  erase_op(composite);
  expect_well_formed();
  Op& inner = body.ops.front();
  results = inline_region(module, *inner.regions[0], inner.operands, body, inner.self);
  EXPECT_EQ(results[1], x);
  for (size_t i = 0; i < results.size(); i++) inner.results[i]->replace_all_uses(results[i]);
  erase_op(inner);
  EXPECT_EQ(body.ops.size(), 2u);
  expect_well_formed();
}

TEST_F(GraphTest, OpsMoveBetweenRegions) {
  Value* x = argument(builder.shape({4}));
  Value *a = builder.neg(x), *b = builder.scalar_op(ScalarOp::Exp, {x});
  finish({a, b});
  move_before(*b->producer, body, a->producer->self);
  EXPECT_EQ(&body.ops.front(), b->producer);
  expect_well_formed();
}

TEST_F(GraphTest, ChecksAreKeptOnceAndOnlyWhenOpen) {
  Dim n = module.dims.symbol("N"), s = module.dims.symbol("S");
  module.check(module.dims.equal(n, n), "always");
  module.check(module.dims.equal(n, s), "first");
  module.check(module.dims.equal(n, s), "second");
  ASSERT_EQ(module.checks.size(), 1u);
  EXPECT_EQ(module.checks[0].message, "first");
  EXPECT_THROW(module.check(module.dims.constant(0), "never"), Error);
}

TEST_F(GraphTest, TypesPrintTheirLayout) {
  Type type = Type::tensor(DType::F32, {module.dims.symbol("N"), builder.dim(64), builder.dim(56), builder.dim(56)});
  EXPECT_EQ(to_string(type), "f32[N, 64, 56, 56]");
  type.layout.blocked_axis = 1;
  type.layout.block = 16;
  type.layout.halo = {{}, {}, {1, 1}, {1, 2}};
  EXPECT_EQ(to_string(type), "f32[N, 64, 56, 56]{c16 halo=0,0,1,1:2}");
}

}  // namespace
}  // namespace lapidary
