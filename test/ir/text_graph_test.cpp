// Modules printed and read: what is printed prints again from what was read, and wrong text is told with its place.
#include <gtest/gtest.h>

#include "ir/composites.h"
#include "ir/error.h"
#include "ir/graph_builder.h"
#include "ir/text.h"
#include "ir/verifier.h"

namespace lapidary {
namespace {

void expect_round_trip(const Module& module) {
  for (const std::string& violation : verify(module)) ADD_FAILURE() << violation;
  std::string text = print_module(module);
  std::unique_ptr<Module> read = parse_module(text);
  for (const std::string& violation : verify(*read)) ADD_FAILURE() << violation;
  EXPECT_EQ(print_module(*read), text);
}

struct Building {
  Module module;
  Function& run = module.add_function("run");
  Region& body = *run.body;
  GraphBuilder b{module, body};

  Value* argument(Shape shape, DType dtype = DType::F32) {
    run.argument_names.push_back(fmt::format("x{}", run.argument_names.size()));
    return add_argument(module, body, Type::tensor(dtype, std::move(shape)));
  }
  void finish(std::vector<Value*> results) {
    for (size_t i = 0; i < results.size(); i++) run.result_names.push_back(fmt::format("y{}", i));
    b.yield(std::move(results));
  }
};

TEST(GraphText, ReadsAndPrintsTheSame) {
  std::string text = R"(module "m \xc3\xa9" {
  symbols N, S in 1..512
  dims {(S + 3) floordiv 4, max(N, 4)}
  @0 = f32[64, 3, 7, 7] splat 0.5
  @1 = i64[2] {1, -2}
  @2 = f32[1000] bytes 4000 #0123456789abcdef
  @3 = f16[3] {0.099975586, -inf, nan}
  @4 = bool[] splat 1
  check "N and S": equal(N, S)
  func run(%0 "x": f32[N, 3, 224, 224]) -> ("y", "z") {
    %1 = constant value=@0 : f32[64, 3, 7, 7]
    %2 = conv %0, %1 dilations=[1, 1] group=1 pads={3, 3, 3, 3} strides=[2, 2] : f32[N, 64, 112, 112]
    %3 = group %2 anchor=0 family="elementwise" : f32[N, 64, 112, 112]{c16 halo=0,0,1:2,1 fill=-inf} {
      (%4: f32[N, 64, 112, 112])
      %5 = neg %4 : f32[N, 64, 112, 112]
      yield %5
    }
    %6 = relayout %3 : f32[N, 64, 112, 112]
    %7 = constant value=@1 : i64[2]
    %8 = constant value=@2 : f32[1000]
    %9 = constant value=@3 : f16[3]
    %10 = constant value=@4 : bool[]
    %11 = dims_tensor dtype=i64 elements={(S + 3) floordiv 4 + max(N, 4), 7} shape=[2] : i64[2]
    %12 = composite %8 axis=0 epsilon=1e-05 extent=(S) name="n" : f32[1000] {
      (%13: f32[1000])
      yield %13
    }
    yield %6, %12
  }
}
)";
  // Numbering is in order of definition, so this text is what prints.
  std::unique_ptr<Module> module = parse_module(text);
  for (const std::string& violation : verify(*module)) ADD_FAILURE() << violation;
  EXPECT_EQ(print_module(*module), text);
}

TEST(GraphText, CommentsAndSpacesDoNotMatter) {
  auto module = parse_module(
      "// one line\nmodule \"m\" { func run(%7 \"x\": f32[N]) -> (\"y\") { %9 = neg %7 : f32[N] // node\n yield %9 } "
      "}");
  EXPECT_EQ(print_module(*module),
            "module \"m\" {\n  symbols N\n  func run(%0 \"x\": f32[N]) -> (\"y\") {\n    %1 = neg %0 : f32[N]\n    "
            "yield %1\n  }\n}\n");
}

TEST(GraphText, CompositesAndLoopsRoundTrip) {
  Building g;
  Dim n = g.module.dims.symbol("N"), s = g.module.dims.symbol("batch size", {1, 64});
  Value* q = g.argument({n, g.b.dim(4), s, g.b.dim(8)});
  Value* k = g.argument({n, g.b.dim(2), s, g.b.dim(8)});
  Value* attended = composites::attention(g.b, q, k, k, nullptr, 0.25, true);
  composites::Recurrence cell{
      .cell = "lstm", .direction = composites::kReverse, .r = g.argument(g.b.shape({1, 20, 5}))};
  cell.h0 = g.argument({g.b.dim(1), n, g.b.dim(5)}), cell.c0 = g.argument({g.b.dim(1), n, g.b.dim(5)});
  auto lstm = composites::recurrent_layer(g.b, g.argument({s, n, g.b.dim(3)}), g.argument(g.b.shape({1, 20, 3})),
                                          g.argument(g.b.shape({1, 20})), cell);
  Value* normal = composites::layer_norm(g.b, attended, g.b.splat(DType::F32, g.b.shape({8}), 1), nullptr, 3, 1e-5)[0];
  g.finish({composites::gelu(g.b, normal, true), lstm[0], lstm[2]});
  expect_round_trip(g.module);
}

// The terms of these sums are in the order in which their parts were made, which is not the order of the text.
TEST(GraphText, TheOrderOfDimsRoundTrips) {
  Building g;
  DimPool& dims = g.module.dims;
  Dim b = dims.symbol("B"), a = dims.symbol("A");
  Dim second = dims.floordiv(dims.add(a, g.b.dim(1)), g.b.dim(2)),
      first = dims.floordiv(dims.add(b, g.b.dim(1)), g.b.dim(3));
  Value* x = g.argument({dims.add(a, b), first, dims.add(first, second)});
  Value* y = g.argument({dims.min(dims.add(b, g.b.dim(7)), dims.max(a, g.b.dim(4)))});
  Value* z = g.argument({dims.select(dims.less(a, b), first, second)});
  g.finish({x, y, z});
  expect_round_trip(g.module);
}

TEST(GraphText, ConstantsWithTransformsReadAsWhatTheyAre) {
  Building g;
  std::vector<Scalar> scalars;
  for (int i = 0; i < 6; i++) scalars.push_back(Scalar::of_float(DType::F32, i + 0.1f));
  ConstantId table = g.module.constants.add_scalars(DType::F32, {2, 3}, scalars);
  Transform transpose{Transform::Kind::Transpose, DType::Undefined, {1, 0}, {}, 0, {}};
  Value* x = g.b.constant(g.module.constants.transformed(table, transpose));
  Constant large;
  large.dtype = large.source_dtype = DType::BF16;
  large.shape = large.source_shape = {10, 20};
  large.source = Seeded{7, 1, 2};
  Value* y = g.b.constant(g.module.constants.transformed(g.module.constants.add(large), transpose));
  g.finish({x, y});
  std::string text = print_module(g.module);
  EXPECT_NE(text.find("@0 = f32[3, 2] {0.1, 3.1, 1.1, 4.1, 2.1, 5.1}"), std::string::npos) << text;
  EXPECT_NE(text.find("@1 = bf16[20, 10] bytes 400 #"), std::string::npos) << text;
  expect_round_trip(g.module);
}

TEST(GraphText, ElementsAreKnownAgainAfterReading) {
  Building g;
  Value* x = g.argument({g.module.dims.symbol("N"), g.b.dim(3)});
  g.finish({g.b.shape_of(x)});
  auto read = parse_module(print_module(g.module));
  const Value* shape = read->functions[0]->body->results()[0];
  ASSERT_EQ(shape->elements.size(), 2u);
  EXPECT_EQ(to_string(shape->elements[0]), "N");
}

TEST(GraphText, OriginsAreComments) {
  Building g;
  g.b.origin = g.module.add_origin({"no\nde", "Neg", 13});
  g.finish({g.b.neg(g.argument(g.b.shape({2})))});
  std::string text = print_module(g.module, {.origins = true});
  EXPECT_NE(text.find(": f32[2]  // no\\x0ade\n"), std::string::npos) << text;
  EXPECT_EQ(print_module(*parse_module(text)), print_module(g.module));
}

std::string failure(const std::string& body) {
  try {
    parse_module("module \"m\" {\n" + body + "\n}");
  } catch (const Error& error) {
    EXPECT_EQ(error.fault, Fault::Input);
    return error.what();
  }
  return "no error";
}

std::string op_failure(const std::string& ops) {
  return failure("func f(%0 \"x\": f32[2, 3]) -> (\"y\") {\n" + ops + "\n}");
}

TEST(GraphText, WrongTextIsToldWithItsPlace) {
  EXPECT_EQ(op_failure("%1 = nag %0 : f32[2, 3]\nyield %1"), "line 3, column 6: no op 'nag'");
  EXPECT_EQ(op_failure("%1 = neg %2 : f32[2, 3]\nyield %1"), "line 3, column 10: no value %2 in this region");
  EXPECT_EQ(op_failure("%0 = neg %0 : f32[2, 3]\nyield %0"), "line 3, column 1: a second value %0");
  EXPECT_EQ(op_failure("%1 = neg %0 : f32[3, 2]\nyield %1"),
            "line 3, column 6: neg: result 0 is f32[3, 2], inferred f32[2, 3]");
  EXPECT_EQ(op_failure("%1 = neg %0\nyield %1"), "line 3, column 6: 0 types for 1 results");
  EXPECT_EQ(op_failure("%1 = neg %0, %0 : f32[2, 3]\nyield %1"), "line 3, column 6: neg: has 2 operands");
  EXPECT_EQ(op_failure("%1 = neg %0 axis=1 : f32[2, 3]\nyield %1"), "line 3, column 6: neg: takes no parameter 'axis'");
  EXPECT_EQ(op_failure("%1 = reshape %0 : f32[6]\nyield %1"),
            "line 3, column 6: reshape: parameter 'shape' is missing");
  EXPECT_EQ(op_failure("%1 = reshape %0 shape=[6] : f32[6]\nyield %1"),
            "line 3, column 6: reshape: parameter 'shape' is no dims");
  EXPECT_EQ(op_failure("%1 = reshape %0 shape={7} : f32[7]\nyield %1"),
            "line 3, column 6: shape [2, 3] of 6 elements does not reshape to [7] of 7");
  EXPECT_EQ(op_failure("%1 = constant value=@0 : f32[7]\nyield %1"), "line 3, column 22: no constant @0");
  EXPECT_EQ(op_failure("%1 = neg %0 : f32[2 3]\nyield %1"),
            "line 3, column 19: dimension '2 3', column 3: expected an operator");
  EXPECT_EQ(op_failure("%1 = neg %0 : f33[2]\nyield %1"), "line 3, column 15: no element type 'f33'");
  EXPECT_EQ(op_failure("yield"), "line 2, column 6: function 'f' yields 0 values, its results have 1 names");
  EXPECT_EQ(op_failure("yield %0\nyield %0"), "line 4, column 1: expected '}', found 'yield'");
  EXPECT_EQ(failure("@0 = f32[2] {1.0}"), "line 2, column 17: 1 elements, expected 2, found '}'");
  EXPECT_EQ(failure("@0 = f32[200] bytes 4 #12"), "line 2, column 21: the bytes do not fit the type");
  EXPECT_EQ(failure("@0 = f32[4000000000, 4000000000] splat 1.0"),
            "line 2, column 2: extents of a constant that cannot be");
  EXPECT_EQ(failure("symbols N in 4..1"), "line 2, column 11: an empty interval");
}

TEST(GraphText, EveryCutOfATextIsAnErrorOfInput) {
  Building g;
  Value* x = g.argument({g.module.dims.symbol("N"), g.b.dim(4)});
  g.finish({composites::softmax(g.b, x, 1)});
  std::string text = print_module(g.module);
  for (size_t length = 0; length + 2 < text.size(); length++) {
    try {
      parse_module(text.substr(0, length));
      ADD_FAILURE() << "cut at " << length;
    } catch (const Error& error) { EXPECT_EQ(error.fault, Fault::Input) << error.what(); }
  }
}

}  // namespace
}  // namespace lapidary
