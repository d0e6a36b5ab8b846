// One violation of each rule at the head of verifier.cpp, in a module that is well formed but for it.
#include "ir/verifier.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "ir/error.h"
#include "ir/graph_builder.h"

namespace lapidary {
namespace {

// func run(%0: f32[2, 3]) { %1 = neg %0; %2 = composite { exp }; %3 = group { neg }; yield %1, %2, %3 }
struct VerifierTest : testing::Test {
  Module module;
  Function& run = module.add_function("run");
  Region& body = *run.body;
  GraphBuilder b{module, body};
  Value *x, *negative, *whole, *grouped;

  VerifierTest() {
    run.argument_names = {"x"};
    run.result_names = {"a", "b", "c"};
    x = add_argument(module, body, Type::tensor(DType::F32, b.shape({2, 3})));
    negative = b.neg(x);
    whole = b.composite("c", {}, {x}, [](GraphBuilder& in, std::span<Value* const> at) {
      return std::vector<Value*>{in.scalar_op(ScalarOp::Exp, {at[0]})};
    })[0];
    Params params{{"family", std::string("elementwise")}, {"anchor", int64_t{0}}};
    Op& group = insert_op(module, body, body.ops.end(), OpKind::Group, {x}, params, {x->type}, 0);
    group.regions.push_back(clone_region(module, *whole->producer->regions[0]));
    group.regions[0]->owner = &group;
    grouped = group.result();
    b.yield({negative, whole, grouped});
  }

  Op& op() { return *negative->producer; }
  Region& inner() { return *grouped->producer->regions[0]; }
  void expect(std::string_view violation) {
    std::vector<std::string> found = verify(module);
    bool told =
        std::ranges::any_of(found, [&](const std::string& line) { return line.find(violation) != std::string::npos; });
    EXPECT_TRUE(told) << "expected '" << violation << "', found:\n" << fmt::format("{}", fmt::join(found, "\n"));
  }
};

TEST_F(VerifierTest, AcceptsWhatIsWellFormed) { EXPECT_EQ(verify(module), std::vector<std::string>()); }

TEST_F(VerifierTest, LeavesTheModuleAsItIs) {
  Value* y = add_argument(module, body, Type::tensor(DType::F32, {module.dims.symbol("N")}));
  run.argument_names.push_back("y");
  Type type = Type::tensor(DType::F32, {module.dims.symbol("S")});
  insert_op(module, body, body.ops.begin(), OpKind::Reshape, {y}, {{"shape", type.shape}}, {type}, 0);
  EXPECT_EQ(verify(module), std::vector<std::string>());
  EXPECT_TRUE(module.checks.empty());
}

TEST_F(VerifierTest, ARegionEndsWithOneYield) {
  insert_op(module, body, body.ops.begin(), OpKind::Yield, {}, {}, {}, 0);
  expect("a yield ends a region, nothing else does");
}
TEST_F(VerifierTest, ARegionHasAYield) {
  erase_op(body.yield());
  expect("a region has no yield");
}
TEST_F(VerifierTest, OpsKnowTheirRegion) {
  op().region = &inner();
  expect("neg %0 : f32[2, 3]: does not know where it is");
}
TEST_F(VerifierTest, ValuesKnowTheirPlace) {
  negative->index = 1;
  expect("value %1 does not know where it is");
}
TEST_F(VerifierTest, RegionsKnowTheirOwner) {
  inner().owner = nullptr;
  expect("its region belongs to another op");
}
TEST_F(VerifierTest, IdsAreUnique) {
  negative->id = x->id;
  expect("value %0 is defined twice");
}
TEST_F(VerifierTest, OperandsAreUses) {
  x->uses.erase(x->uses.begin());
  expect("operand 0 does not list this use");
}
TEST_F(VerifierTest, UsesAreOperands) {
  x->uses.push_back({&op(), 1});
  expect("value %0 lists a use that is none");
}
TEST_F(VerifierTest, OperandsArePresent) {
  op().operands[0] = nullptr;
  expect("operand 0 is missing");
}
TEST_F(VerifierTest, OperandsAreDefinedBefore) {
  move_before(op(), body, body.yield().self);
  move_before(*whole->producer, body, body.ops.begin());
  whole->producer->set_operand(0, negative);
  expect("operand 0 is not defined before it in its region");
}
TEST_F(VerifierTest, OperandsAreOfTheSameRegion) {
  inner().ops.front().set_operand(0, x);
  expect("operand 0 is not defined before it in its region");
}
TEST_F(VerifierTest, FunctionNamesAreUnique) {
  module.add_function("run").body = clone_region(module, body);
  module.functions[1]->argument_names = {"x"};
  module.functions[1]->result_names = {"a", "b", "c"};
  expect("another function has its name");
}
TEST_F(VerifierTest, ArgumentsHaveNames) {
  run.argument_names.clear();
  expect("names and arguments differ in number");
}
TEST_F(VerifierTest, ResultsHaveNames) {
  run.result_names.pop_back();
  expect("names and results differ in number");
}
struct StatesTest : VerifierTest {
  StatesTest() {
    const Scalar one = Scalar::of_float(DType::F32, 1);
    module.states.push_back(
        {"w", State::Kind::Parameter, x->type, module.constants.add_splat(DType::F32, {2, 3}, one)});
    run.argument_states = {0};
    run.result_states = {0, -1, -1};
  }
};
TEST_F(StatesTest, AreReadAndWritten) { EXPECT_EQ(verify(module), std::vector<std::string>()); }
TEST_F(StatesTest, HaveNamesOfTheirOwn) {
  module.states.push_back(module.states[0]);
  expect("state 'w': another state has its name");
}
TEST_F(StatesTest, HaveInitialValues) {
  module.states[0].initial = ConstantId{99};
  expect("state 'w': has no initial value");
}
TEST_F(StatesTest, HaveTheTypeOfTheirInitialValue) {
  module.states[0].initial = module.constants.add_splat(DType::F32, {3}, Scalar::of_float(DType::F32, 1));
  expect("state 'w': is f32[2, 3], which its initial value is not");
}
TEST_F(StatesTest, HaveConstantExtents) {
  module.states[0].type.shape[0] = module.dims.symbol("N");
  expect("state 'w': is f32[N, 3], which its initial value is not");
}
TEST_F(StatesTest, HaveTheTypeOfWhatStandsForThem) {
  module.states[0].type.dtype = DType::F16;
  expect("is f32[2, 3], its state 'w' is f16[2, 3]");
}
TEST_F(StatesTest, AreWrittenOnce) {
  run.result_states = {0, 0, -1};
  expect("state 'w' twice");
}
TEST_F(StatesTest, Exist) {
  run.argument_states = {7};
  expect("a state that is not there");
}
TEST_F(StatesTest, AreToldOfEveryArgument) {
  run.argument_states = {0, 0};
  expect("states and values at its border differ in number");
}
TEST_F(VerifierTest, OperandsAreCounted) {
  op().add_operand(x);
  expect("has 2 operands");
}
TEST_F(VerifierTest, RegionsAreCounted) {
  grouped->producer->regions.clear();
  expect("has 0 regions, expected 1");
}
TEST_F(VerifierTest, ResultsAreCounted) {
  insert_op(module, body, body.ops.begin(), OpKind::Neg, {x}, {}, {}, 0);
  expect("has 0 results, expected 1");
}
TEST_F(VerifierTest, ParametersAreKnown) {
  op().params.set("axis", int64_t{0});
  expect("takes no parameter 'axis'");
}
TEST_F(VerifierTest, ParametersArePresent) {
  grouped->producer->params.erase("family");
  expect("parameter 'family' is missing");
}
TEST_F(VerifierTest, ParametersHaveTheirType) {
  grouped->producer->params.set("family", int64_t{0});
  expect("parameter 'family' is no str");
}
TEST_F(VerifierTest, ConstantsExist) {
  Type type = Type::tensor(DType::F32, {});
  insert_op(module, body, body.ops.begin(), OpKind::Constant, {}, {{"value", ConstantId{7}}}, {type}, 0);
  expect("its constant is none");
}
TEST_F(VerifierTest, OriginsExist) {
  negative->producer->params = {};
  negative->producer->origin = 7;
  expect("origin 7 is none");
}
TEST_F(VerifierTest, ResultsHaveTheInferredType) {
  negative->type.shape[0] = b.dim(4);
  expect("result 0 should be f32[2, 3]");
}
TEST_F(VerifierTest, NoErrorTypeIsLeft) {
  negative->type = Type::error();
  expect("value %1 has no type");
}
TEST_F(VerifierTest, NoExtentIsNull) {
  negative->type.shape[0] = nullptr;
  expect("value %1 has no type");
}
TEST_F(VerifierTest, RegionArgumentsHaveTheOperandsTypes) {
  inner().arguments[0]->type = Type::tensor(DType::F32, b.shape({2, 4}));
  expect("argument 0 of its region has another type than the operand");
}
TEST_F(VerifierTest, RegionArgumentsAreAsManyAsOperands) {
  add_argument(module, inner(), x->type);
  expect("its region has 2 arguments, expected 1");
}
TEST_F(VerifierTest, BlockedAxesExist) {
  grouped->type.layout.blocked_axis = 2;
  grouped->type.layout.block = 16;
  expect("blocked axis 2 of rank 2");
}
TEST_F(VerifierTest, BlocksArePowersOfTwo) {
  grouped->type.layout.blocked_axis = 1;
  grouped->type.layout.block = 12;
  expect("a block of 12");
}
TEST_F(VerifierTest, HalosHaveAnEntryForEachAxis) {
  grouped->type.layout.halo = {{1, 1}};
  expect("a halo of 1 axes for rank 2");
}
TEST_F(VerifierTest, HalosAreNotNegative) {
  grouped->type.layout.halo = {{0, 0}, {-1, 0}};
  expect("a negative halo");
}
TEST_F(VerifierTest, BordersAreDense) {
  negative->type.layout.blocked_axis = 1;
  negative->type.layout.block = 16;
  expect("value %1 at its border is not dense");
}
TEST_F(VerifierTest, ElementsAreOfIntegers) {
  negative->elements = {b.dim(1)};
  expect("value %1 carries elements, its type f32[2, 3] does not");
}
TEST_F(VerifierTest, ElementsAreAsManyAsTheTypes) {
  b.shape_of(x)->elements.pop_back();
  expect("carries 1 elements, its type has 2");
}
TEST_F(VerifierTest, AnchorsAreOps) {
  grouped->producer->params.set("anchor", int64_t{1});
  expect("its anchor 1 is not an op of its region");
}

}  // namespace
}  // namespace lapidary
