// Folding of shape arithmetic, broadcasting with its checks, and what each op's inference gives or refuses.
#include "ir/graph_builder.h"

#include <gtest/gtest.h>

#include "ir/error.h"
#include "ir/verifier.h"

namespace lapidary {
namespace {

struct GraphBuilderTest : testing::Test {
  Module module;
  Region& body = *module.add_function("run").body;
  GraphBuilder b{module, body};
  Dim N = module.dims.symbol("N"), S = module.dims.symbol("S");

  Value* tensor(Shape shape, DType dtype = DType::F32) {
    return add_argument(module, body, Type::tensor(dtype, std::move(shape)));
  }
  Value* tensor(std::initializer_list<int64_t> extents, DType dtype = DType::F32) {
    return tensor(b.shape(extents), dtype);
  }
  Value* integers(std::vector<int64_t> values, DType dtype = DType::I64) {
    std::vector<Scalar> scalars;
    for (int64_t value : values) scalars.push_back(Scalar::of_integer(dtype, value));
    return b.constant(module.constants.add_scalars(dtype, {static_cast<int64_t>(values.size())}, scalars));
  }
  Value* integer(int64_t value) { return b.scalar(Scalar::of_integer(DType::I64, value)); }
  std::string type(Value* value) { return to_string(value->type); }
  std::string elements(Value* value) {
    std::vector<std::string> texts;
    for (Dim element : value->elements) texts.push_back(to_string(element));
    return fmt::format("{}", fmt::join(texts, ", "));
  }
  std::string failure(auto&& action) {
    try {
      action();
    } catch (const Error& error) {
      EXPECT_EQ(error.fault, Fault::Input);
      return error.what();
    }
    return "no error";
  }
};

// --- shape arithmetic -----------------------------------------------------------------------------------------------

// BERT's split of heads: Reshape(x, Concat(Gather(Shape(x), 0), Gather(Shape(x), 1), [12], [64]))
TEST_F(GraphBuilderTest, ShapeChainsOfExportersVanish) {
  Value* x = tensor({N, S, b.dim(768)});
  auto extent = [&](int axis) { return b.expand_axes(b.gather(b.shape_of(x), integer(axis), 0), {0}); };
  Value* target = b.concat({extent(0), extent(1), integers({12}), integers({64})}, 0);
  EXPECT_EQ(elements(target), "N, S, 12, 64");
  Value* heads = b.reshape(x, target->elements);
  EXPECT_EQ(type(heads), "f32[N, S, 12, 64]");
  EXPECT_TRUE(module.checks.empty());
  EXPECT_EQ(type(b.reshape(heads, {module.dims.mul(N, S), b.dim(768)})), "f32[N*S, 768]");
}

// Where(Equal(shape, -1), ones, shape), as PyTorch writes Expand
TEST_F(GraphBuilderTest, SelectedShapesAreKnown) {
  Value* shape = b.concat({integers({-1}), b.dims_tensor({S}, {1})}, 0);
  Value* is_minus_one = b.scalar_op(ScalarOp::Equal, {shape, integers({-1, -1})});
  EXPECT_EQ(elements(b.select(is_minus_one, integers({1, 1}), shape)), "1, S");
}

TEST_F(GraphBuilderTest, ElementsOfEachOp) {
  Value* shape = b.dims_tensor({N, S, b.dim(6)}, {3});
  EXPECT_EQ(elements(b.slice(shape, {b.dim(2)}, {-2}, {b.dim(2)})), "6, N");
  EXPECT_EQ(elements(b.gather(shape, integers({-1, 0}), 0)), "6, N");
  EXPECT_EQ(elements(b.reduce(OpKind::ReduceProd, shape, {0})), "6*N*S");
  EXPECT_EQ(elements(b.reduce(OpKind::ReduceMax, integers({3, 9, 4}), {0})), "9");
  EXPECT_EQ(elements(b.mul(shape, integers({2, 3, 4}))), "2*N, 3*S, 24");
  EXPECT_EQ(elements(b.div(b.mul(shape, integers({4, 4, 4})), integer(4))), "N, S, 6");
  EXPECT_EQ(elements(b.div(integers({-7, 7}), integers({2, 0}))), "-3, 0");
  EXPECT_EQ(elements(b.scalar_op(ScalarOp::FloorMod, {integers({-7}), integer(4)})), "1");
  EXPECT_EQ(elements(b.convert(shape, DType::I32)), "N, S, 6");
  EXPECT_EQ(elements(b.convert(integers({0, 5}), DType::Bool)), "0, 1");
  EXPECT_EQ(elements(b.iota(DType::I64, b.shape({2, 2}), 1)), "0, 1, 0, 1");
  EXPECT_EQ(elements(b.transpose(b.reshape(integers({1, 2, 3, 4, 5, 6}), b.shape({2, 3})), {1, 0})),
            "1, 4, 2, 5, 3, 6");
  EXPECT_EQ(elements(b.broadcast_to(integers({7}), b.shape({2, 2}))), "7, 7, 7, 7");
  EXPECT_EQ(elements(b.scalar_op(ScalarOp::Pow, {integers({3}), integers({4})})), "81");
}

TEST_F(GraphBuilderTest, ElementsWrapOrStayUnknown) {
  EXPECT_EQ(elements(b.add(integers({INT64_MAX}), integer(1))), std::to_string(INT64_MIN));
  EXPECT_EQ(elements(integers({INT64_MAX})), std::to_string(INT64_MAX));
  EXPECT_EQ(elements(b.scalar_op(ScalarOp::Min, {integers({INT64_MAX}), b.dims_tensor({S}, {1})})), "S");
  EXPECT_FALSE(b.scalar_op(ScalarOp::Pow, {b.dims_tensor({S}, {1}), integers({2})})->has_elements());
  EXPECT_FALSE(b.neg(tensor({4}, DType::I64))->has_elements());
  EXPECT_FALSE(b.iota(DType::I64, b.shape({65}), 0)->has_elements());
}

TEST_F(GraphBuilderTest, WhatChangesNothingIsNotBuilt) {
  Value* x = tensor({2, 3});
  EXPECT_EQ(b.reshape(x, b.shape({2, 3})), x);
  EXPECT_EQ(b.transpose(x, {0, 1}), x);
  EXPECT_EQ(b.transpose(b.transpose(x, {1, 0}), {1, 0}), x);
  EXPECT_EQ(b.convert(x, DType::F32), x);
  EXPECT_EQ(b.broadcast_to(x, b.shape({2, 3})), x);
  EXPECT_EQ(b.slice_axis(x, 1, b.dim(0), b.dim(3)), x);
  EXPECT_EQ(b.concat({x}, 0), x);
  EXPECT_EQ(b.pad(x, b.shape({0, 0}), b.shape({0, 0})), x);
  EXPECT_EQ(b.reduce(OpKind::ReduceSum, x, {}), x);
  EXPECT_EQ(b.reshape(b.reshape(x, b.shape({6})), b.shape({2, 3})), x);
}

// --- broadcasting
// -----------------------------------------------------------------------------------------------------

TEST_F(GraphBuilderTest, KnownExtentsBroadcastWithoutChecks) {
  EXPECT_EQ(type(b.add(tensor({N, b.dim(1), S}), tensor({b.dim(4), b.dim(1)}))), "f32[N, 4, S]");
  EXPECT_EQ(type(b.mul(tensor({N, S}), b.scalar(DType::F32, 2))), "f32[N, S]");
  EXPECT_TRUE(module.checks.empty());
  EXPECT_EQ(failure([&] {
              b.add(tensor({2, 3}), tensor({2, 4}));
            }),
            "shapes [2, 3] and [2, 4] do not broadcast: extents 3 and 4 do not broadcast");
}

TEST_F(GraphBuilderTest, UnknownExtentsBroadcastWithACheckThatNamesTheNode) {
  b.origin = module.add_origin({"add", "Add", 17});
  Value* sum = b.add(tensor({N}), tensor({S}));
  ASSERT_EQ(module.checks.size(), 1u);
  EXPECT_EQ(module.checks[0].message, "node 'add' (Add, opset 17): extents N and S must be equal, or one of them 1");
  auto extent_at = [&](int64_t n, int64_t s) {
    return evaluate(sum->type.shape[0], [&](Dim leaf) { return std::optional(leaf == N ? n : s); });
  };
  EXPECT_EQ(extent_at(1, 5), 5);
  EXPECT_EQ(extent_at(5, 1), 5);
  EXPECT_EQ(extent_at(0, 1), 0);
  b.mul(tensor({N}), tensor({S}));
  EXPECT_EQ(module.checks.size(), 1u);
}

TEST_F(GraphBuilderTest, AConstantExtentWinsOverASymbol) {
  EXPECT_EQ(type(b.add(tensor({N}), tensor({4}))), "f32[4]");
  EXPECT_EQ(module.checks.size(), 1u);
}

TEST_F(GraphBuilderTest, OperandsOfErrorTypeAreSilent) {
  Value* broken = add_argument(module, body, Type::error());
  Value* x = tensor({2, 3});
  EXPECT_TRUE(b.add(x, broken)->type.is_error());
  EXPECT_TRUE(b.matmul(broken, x)->type.is_error());
  EXPECT_TRUE(b.reshape(broken, b.shape({4}))->type.is_error());
  EXPECT_TRUE(b.convert(broken, DType::F16)->type.is_error());
  EXPECT_TRUE(b.gather(x, broken, 7)->type.is_error());
}

// --- inference, op by op
// ----------------------------------------------------------------------------------------------

TEST_F(GraphBuilderTest, Elementwise) {
  EXPECT_EQ(type(b.scalar_op(ScalarOp::Less, {tensor({2}), tensor({2})})), "bool[2]");
  EXPECT_EQ(failure([&] { b.add(tensor({2}), tensor({2}, DType::I64)); }),
            "operands have types f32 and i64, expected equal");
  EXPECT_EQ(failure([&] { b.scalar_op(ScalarOp::Not, {tensor({2})}); }), "not does not take f32");
  EXPECT_EQ(failure([&] { b.select(tensor({2}), tensor({2}), tensor({2})); }),
            "the condition has type f32, expected bool");
}

TEST_F(GraphBuilderTest, ReshapeAndBroadcast) {
  EXPECT_EQ(type(b.reshape(tensor({N, S}), {module.dims.mul(S, N)})), "f32[N*S]");
  EXPECT_EQ(failure([&] {
              b.reshape(tensor({2, 3}), b.shape({4, 2}));
            }),
            "shape [2, 3] of 6 elements does not reshape to [4, 2] of 8");
  b.reshape(tensor({N}), {S});
  EXPECT_EQ(module.checks.size(), 1u);
  EXPECT_EQ(type(b.broadcast(tensor({3}), {1}, b.shape({2, 3, 4}))), "f32[2, 3, 4]");
  EXPECT_EQ(failure([&] { b.broadcast(tensor({3}), {0}, b.shape({2})); }), "extent 3 must be 1 or 2");
  EXPECT_EQ(failure([&] { b.broadcast(tensor({3, 3}), {1, 0}, b.shape({3, 3})); }), "axes [1, 0] are not increasing");
  EXPECT_EQ(failure([&] {
              b.drop_axes(tensor({2, 3}), {1});
            }),
            "the extent of dropped axis 1 and 1 are 3 and 1, expected equal");
  EXPECT_EQ(type(b.expand_axes(tensor({2, 3}), {0, 2})), "f32[1, 2, 1, 3]");
}

TEST_F(GraphBuilderTest, TransposeSliceConcatPad) {
  EXPECT_EQ(type(b.transpose(tensor({2, 3, 4}), {2, 0, 1})), "f32[4, 2, 3]");
  EXPECT_EQ(failure([&] { b.transpose(tensor({2, 3}), {0, 0}); }), "perm [0, 0] names axis 0 twice");
  EXPECT_EQ(type(b.slice_axis(tensor({N, S}), 1, b.dim(2), b.dim(3))), "f32[N, 3]");
  EXPECT_EQ(failure([&] { b.slice_axis(tensor({4}), 0, b.dim(2), b.dim(3)); }),
            "axis 0: a slice from 2 to 4 leaves the extent 4");
  EXPECT_EQ(type(b.concat({tensor({N, b.dim(2)}), tensor({N, S})}, 1)), "f32[N, S + 2]");
  EXPECT_EQ(failure([&] {
              b.concat({tensor({2, 3}), tensor({3, 3})}, 1);
            }),
            "extents of axis 0 of concatenated operands are 2 and 3, expected equal");
  EXPECT_EQ(type(b.pad(tensor({4, 4}), b.shape({1, -1}), b.shape({2, 0}))), "f32[7, 3]");
  EXPECT_EQ(failure([&] { b.pad(tensor({2}), b.shape({-3}), b.shape({0})); }), "axis 0 is cropped to extent -1");
}

TEST_F(GraphBuilderTest, Gathers) {
  EXPECT_EQ(type(b.gather(tensor({100, 64}), tensor({N, S}, DType::I64), 0)), "f32[N, S, 64]");
  EXPECT_EQ(type(b.gather_elements(tensor({4, 5}), tensor({2, 5}, DType::I64), 0)), "f32[2, 5]");
  EXPECT_EQ(failure([&] { b.gather(tensor({4}), tensor({2}), 0); }), "indices have type f32, expected i64 or i32");
  EXPECT_EQ(failure([&] { b.gather(tensor({4}), tensor({2}, DType::I64), 1); }), "axis 1 is out of range for rank 1");
  EXPECT_EQ(failure([&] {
              b.gather(b.shape_of(tensor({4, 5})), integer(2), 0);
            }),
            "index 2 is out of range for extent 2");
}

TEST_F(GraphBuilderTest, ReductionsAndContractions) {
  EXPECT_EQ(type(b.reduce(OpKind::ReduceMean, tensor({N, S, b.dim(8)}), {2, 1})), "f32[N]");
  EXPECT_EQ(type(b.reduce(OpKind::ReduceMean, tensor({N, S}), {1}, true)), "f32[N, 1]");
  EXPECT_EQ(failure([&] { b.reduce(OpKind::ReduceSum, tensor({2}), {1}); }), "axis 1 is out of range for rank 1");
  EXPECT_EQ(type(b.contract(tensor({2, 3, 4}), tensor({2, 5, 4}), "bmk,bnk->bmn")), "f32[2, 3, 5]");
  EXPECT_EQ(failure([&] {
              b.contract(tensor({3, 4}), tensor({5, 6}), "mk,kn->mn");
            }),
            "extents 'k' of contraction 'mk,kn->mn' are 4 and 5, expected equal");
  EXPECT_EQ(failure([&] {
              b.contract(tensor({3, 4}), tensor({4}), "mk,k->mn");
            }),
            "contraction 'mk,k->mn': no operand has 'n'");
  EXPECT_EQ(failure([&] {
              b.contract(tensor({3, 4}), tensor({5}), "mk,n->mn");
            }),
            "contraction 'mk,n->mn': 'k' is summed in one operand alone");
  EXPECT_EQ(failure([&] { b.contract(tensor({3, 3}), tensor({3}), "kk,k->k"); }), "contraction 'kk,k->k'");
}

TEST_F(GraphBuilderTest, MatrixProductsFollowNumpy) {
  EXPECT_EQ(type(b.matmul(tensor({N, S, b.dim(8)}), tensor({8, 4}))), "f32[N, S, 4]");
  EXPECT_EQ(type(b.matmul(tensor({N, b.dim(1), S, b.dim(8)}), tensor({5, 8, 4}))), "f32[N, 5, S, 4]");
  EXPECT_EQ(type(b.matmul(tensor({8}), tensor({8, 4}))), "f32[4]");
  EXPECT_EQ(type(b.matmul(tensor({3, 8}), tensor({8}))), "f32[3]");
  EXPECT_EQ(type(b.matmul(tensor({8}), tensor({8}))), "f32[]");
  EXPECT_EQ(failure([&] {
              b.matmul(tensor({3, 8}), tensor({7, 4}));
            }),
            "the contracted extents are 8 and 7, expected equal");
  EXPECT_EQ(failure([&] { b.matmul(tensor({8}), b.scalar(DType::F32, 1)); }),
            "a matrix product needs operands of rank 1 or more, given a scalar");
}

TEST_F(GraphBuilderTest, Convolutions) {
  Value *x = tensor({N, b.dim(3), b.dim(224), b.dim(224)}), *w = tensor({64, 3, 7, 7});
  EXPECT_EQ(type(b.conv(x, w, nullptr, 1, {2, 2}, {1, 1}, b.shape({3, 3, 3, 3}))), "f32[N, 64, 112, 112]");
  EXPECT_EQ(failure([&] {
              b.conv(x, tensor({64, 3, 7}), nullptr, 1, {2, 2}, {1, 1}, b.shape({3, 3, 3, 3}));
            }),
            "weight has rank 3, expected 4");
  EXPECT_EQ(failure([&] {
              b.conv(x, w, nullptr, 2, {2, 2}, {1, 1}, b.shape({3, 3, 3, 3}));
            }),
            "input channels and group times the weight's are 3 and 6, expected equal");
  EXPECT_EQ(failure([&] {
              b.conv(x, tensor({64, 1, 3, 3}), nullptr, 3, {1, 1}, {1, 1}, b.shape({0, 0, 0, 0}));
            }),
            "64 output channels are not a multiple of group 3");
  EXPECT_EQ(failure([&] {
              b.conv(x, w, tensor({3}), 1, {1, 1}, {1, 1}, b.shape({0, 0, 0, 0}));
            }),
            "bias length and output channels are 3 and 64, expected equal");
  EXPECT_EQ(failure([&] {
              b.conv(tensor({1, 3, 4, 4}), w, nullptr, 1, {1, 1}, {1, 1}, b.shape({0, 0, 0, 0}));
            }),
            "spatial axis 0: a window of extent 7 does not fit the padded extent 4");
  EXPECT_EQ(failure([&] {
              b.conv(x, w, nullptr, 1, {0, 1}, {1, 1}, b.shape({0, 0, 0, 0}));
            }),
            "strides contain 0, expected at least 1");
  EXPECT_TRUE(module.checks.empty());
  Value* wide = tensor({N, b.dim(3), S, S});
  EXPECT_EQ(type(b.conv(wide, tensor({8, 3, 3, 3}), nullptr, 1, {2, 2}, {1, 1}, b.shape({1, 1, 1, 1}))),
            "f32[N, 8, (S + 1) floordiv 2, (S + 1) floordiv 2]");
  EXPECT_EQ(module.checks.size(), 1u);
}

TEST_F(GraphBuilderTest, TransposedConvolutionsAndPools) {
  Params transposed{{"group", int64_t{1}},
                    {"strides", std::vector<int64_t>{2}},
                    {"dilations", std::vector<int64_t>{1}},
                    {"pads", b.shape({1, 1})},
                    {"output_padding", std::vector<int64_t>{1}}};
  EXPECT_EQ(type(b.create(OpKind::ConvTranspose, {tensor({1, 4, 10}), tensor({4, 6, 3})}, transposed).result()),
            "f32[1, 6, 20]");
  EXPECT_EQ(failure([&] {
              b.create(OpKind::ConvTranspose, {tensor({1, 4, 10}), tensor({5, 6, 3})}, transposed);
            }),
            "input channels and the weight's first extent are 4 and 5, expected equal");
  Params pool{{"kernel", std::vector<int64_t>{3}},
              {"strides", std::vector<int64_t>{2}},
              {"dilations", std::vector<int64_t>{1}},
              {"pads", b.shape({0, 0})},
              {"sizes", b.shape({4})}};
  EXPECT_EQ(type(b.create(OpKind::MaxPool, {tensor({1, 4, 10})}, pool).result()), "f32[1, 4, 4]");
  EXPECT_EQ(failure([&] {
              b.create(OpKind::MaxPool, {tensor({1, 4})}, pool);
            }),
            "the input has rank 2, expected at least 3");
  EXPECT_EQ(failure([&] {
              b.create(OpKind::MaxPool, {tensor({1, 4, 10, 10})}, pool);
            }),
            "strides has 1 entries, expected 2");
}

TEST_F(GraphBuilderTest, GradientsOfWindows) {
  const auto filter = [&](int64_t group, Shape kernel) {
    return Params{{"group", group},
                  {"strides", std::vector<int64_t>{2, 1}},
                  {"dilations", std::vector<int64_t>{1, 2}},
                  {"pads", b.shape({1, 0, 1, 0})},
                  {"kernel", std::move(kernel)}};
  };
  Value *x = tensor({Shape{N, b.dim(6), b.dim(8), b.dim(9)}}), *dy = tensor({Shape{N, b.dim(4), b.dim(4), b.dim(5)}});
  const auto gradient = [&](Value* of, const Params& params) {
    return b.create(OpKind::ConvFilterGradient, {x, of}, params).result();
  };
  EXPECT_EQ(type(gradient(dy, filter(2, b.shape({3, 3})))), "f32[4, 3, 3, 3]");
  EXPECT_TRUE(module.checks.empty());
  EXPECT_EQ(failure([&] {
              gradient(dy, filter(2, b.shape({3, 2})));
            }),
            "the gradient's extents and the windows are 5 and 7, expected equal");
  EXPECT_EQ(failure([&] {
              gradient(dy, filter(4, b.shape({3, 3})));
            }),
            "6 input channels are not a multiple of group 4");
  EXPECT_EQ(failure([&] { gradient(dy, filter(2, b.shape({3}))); }), "kernel has 1 entries, expected 2");
  EXPECT_EQ(failure([&] { gradient(dy, filter(2, b.shape({3, 0}))); }), "kernel contains 0, expected at least 1");
  EXPECT_EQ(failure([&] {
              gradient(tensor({2, 4, 4}), filter(2, b.shape({3, 3})));
            }),
            "the result's gradient has rank 3, expected 4");

  const auto pool = [&](int64_t taps, Shape sizes) {
    return Params{{"kernel", std::vector<int64_t>{taps}},
                  {"strides", std::vector<int64_t>{2}},
                  {"dilations", std::vector<int64_t>{1}},
                  {"pads", b.shape({0, 0})},
                  {"sizes", std::move(sizes)}};
  };
  Value *pooled = tensor({1, 4, 600}), *grown = tensor({1, 4, 50});
  Value* taps = b.create(OpKind::MaxPoolTap, {pooled}, pool(3, b.shape({50}))).result();
  EXPECT_EQ(type(taps), "u8[1, 4, 50]");
  EXPECT_EQ(type(b.create(OpKind::MaxPoolTap, {pooled}, pool(256, b.shape({50}))).result()), "u8[1, 4, 50]");
  EXPECT_EQ(type(b.create(OpKind::MaxPoolTap, {pooled}, pool(257, b.shape({50}))).result()), "i32[1, 4, 50]");
  const auto back = [&](Value* gradients, Value* of, int64_t extent) {
    return b.create(OpKind::MaxPoolGradient, {gradients, of}, pool(extent, b.shape({600}))).result();
  };
  EXPECT_EQ(type(back(grown, taps, 3)), "f32[1, 4, 600]");
  EXPECT_EQ(failure([&] { back(grown, taps, 257); }), "the taps are u8, expected i32");
  EXPECT_EQ(failure([&] {
              back(tensor({1, 4, 51}), taps, 3);
            }),
            "extents of taps and gradients are 50 and 51, expected equal");
  EXPECT_EQ(failure([&] { back(tensor({1, 4, 50}, DType::I32), taps, 3); }), "max_pool_gradient of i32");
}

TEST_F(GraphBuilderTest, LoopsStackTheirSlices) {
  Value* h = tensor({2, 4});
  auto results =
      b.loop(S, {h}, {tensor({S, b.dim(2), b.dim(4)})}, true, [](GraphBuilder& step, std::span<Value* const> at) {
        Value* next = step.add(at[1], step.gather(at[2], at[0], 0));
        return std::vector<Value*>{next, next};
      });
  EXPECT_EQ(type(results[0]), "f32[2, 4]");
  EXPECT_EQ(type(results[1]), "f32[S, 2, 4]");
  EXPECT_EQ(failure([&] {
              b.loop(S, {h}, {}, false, [](GraphBuilder& step, std::span<Value* const> at) {
                return std::vector<Value*>{step.reduce(OpKind::ReduceSum, at[1], {0})};
              });
            }),
            "loop-carried value 0 starts as f32[2, 4] and becomes f32[4]");
}

}  // namespace
}  // namespace lapidary
