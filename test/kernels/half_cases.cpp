// f16 and bf16: on a GPU on tensor cores, on a CPU widened. Results are rounded to their type, so a case's tolerance is
// that type's.
#include "ir/composites.h"
#include "test/kernels/kernel_cases.h"

namespace lapidary::test {

namespace {

using Cases = std::vector<KernelCase>;

double tolerance_of(DType dtype) { return dtype == DType::F16 ? 2e-3 : 1.6e-2; }
std::string name_with(const std::string& name, DType dtype) { return fmt::format("{}_{}", name, name_of(dtype)); }

// Weights small enough that sums stay near 1.
Value* half_weights(CaseModel& m, DType dtype, std::vector<int64_t> extents) {
  Value* weights = m.weights(std::move(extents));
  return m.build.convert(m.build.mul(weights, m.build.like(weights, 0.25)), dtype);
}

void add_products(Cases& cases, DType dtype) {
  struct Extents {
    int64_t depth, columns;
    bool turned;
  };
  for (auto [k, n, turned] : {Extents{1, 1, false},
                              {8, 16, false},
                              {24, 40, true},
                              {17, 33, false},
                              {31, 65, true},
                              {32, 64, false},
                              {136, 48, true}})
    cases.push_back({.name = name_with(fmt::format("product_{}x{}{}", k, n, turned ? "_turned" : ""), dtype),
                     .build =
                         [=, k = k, n = n, turned = turned](CaseModel& m) {
                           Value* x = m.input({m.symbol("M"), m.module.dims.constant(k)}, dtype);
                           Value* w = half_weights(m, dtype, turned ? std::vector{n, k} : std::vector{k, n});
                           Value* y = m.build.contract(x, w, turned ? "mk,nk->mn" : "mk,kn->mn");
                           m.result({m.relu(m.build.add(y, half_weights(m, dtype, {n})))});
                         },
                     .values = {{{"M", 0}}, {{"M", 1}}, {{"M", 33}}, {{"M", 67}}},
                     .tolerance = tolerance_of(dtype)});
}

void add_convolutions(Cases& cases, DType dtype) {
  for (auto [in, out, taps, stride] :
       {std::array<int64_t, 4>{3, 16, 3, 2}, {16, 40, 1, 1}, {20, 32, 3, 1}, {32, 33, 3, 2}})
    cases.push_back(
        {.name = name_with(fmt::format("conv_{}to{}_{}x{}_by_{}", in, out, taps, taps, stride), dtype),
         .build =
             [=, in = in, out = out, taps = taps, stride = stride](CaseModel& m) {
               DimPool& d = m.module.dims;
               Value* x = m.input({m.symbol("N"), d.constant(in), d.constant(7), d.constant(9)}, dtype);
               Value* w = half_weights(m, dtype, {out, in, taps, taps});
               Value* bias = half_weights(m, dtype, {out});
               const int64_t pad = taps / 2;
               Value* y = m.build.conv(x, w, bias, 1, {stride, stride}, {1, 1}, m.shape({pad, pad, pad, pad}));
               m.result({m.relu(y)});
             },
         .values = {{{"N", 0}}, {{"N", 1}}, {{"N", 3}}},
         .tolerance = 2 * tolerance_of(dtype)});
}

void add_attention(Cases& cases, DType dtype) {
  for (const bool causal : {false, true})
    cases.push_back({.name = name_with(causal ? "attention_causal" : "attention", dtype),
                     .build =
                         [=](CaseModel& m) {
                           DimPool& d = m.module.dims;
                           Dim b = m.symbol("B"), s = m.symbol("S"), t = m.symbol("T");
                           Value* q = m.input({b, d.constant(4), s, d.constant(32)}, dtype);
                           Value* k = m.input({b, d.constant(2), t, d.constant(32)}, dtype);
                           Value* v = m.input({b, d.constant(2), t, d.constant(48)}, dtype);
                           m.result({composites::attention(m.build, q, k, v, nullptr, 0.125, causal)});
                         },
                     .values = {{{"B", 1}, {"S", 1}, {"T", 1}},
                                {{"B", 2}, {"S", 17}, {"T", 65}},
                                {{"B", 1}, {"S", 70}, {"T", 130}},
                                {{"B", 1}, {"S", 3}, {"T", 0}}},
                     .tolerance = 4 * tolerance_of(dtype)});
}

// Rows that registers keep: of packets of 8, some threads without one; of packets of 2; of several warps.
void add_rows(Cases& cases, DType dtype) {
  for (const int64_t width : {24, 130, 768, 1000, 2560})
    cases.push_back({.name = name_with(fmt::format("rows_of_{}", width), dtype),
                     .build =
                         [=](CaseModel& m) {
                           Value* x = m.input({m.symbol("N"), m.module.dims.constant(width)}, dtype);
                           Value* sum = m.build.add(x, m.input(x->type.shape, dtype));
                           Value *scale = half_weights(m, dtype, {width}), *bias = half_weights(m, dtype, {width});
                           m.result({composites::layer_norm(m.build, sum, scale, bias, 1, 1e-3)[0],
                                     composites::softmax(m.build, x, 1)});
                         },
                     .values = {{{"N", 0}}, {{"N", 1}}, {{"N", 5}}},
                     .tolerance = 4 * tolerance_of(dtype)});
}

// Packets, and the rougher maths of what is rounded at once.
void add_activations(Cases& cases, DType dtype) {
  cases.push_back({.name = name_with("activations", dtype),
                   .build =
                       [=](CaseModel& m) {
                         GraphBuilder& b = m.build;
                         Value* x = m.input({m.symbol("N"), m.module.dims.constant(40)}, dtype);
                         Value* wide = b.mul(b.convert(x, DType::F32), b.like(b.convert(x, DType::F32), 3));
                         Value* gelu = b.mul(wide, b.add(b.scalar_op(ScalarOp::Erf, {wide}), b.like(wide, 1)));
                         Value* silu = b.mul(wide, b.scalar_op(ScalarOp::Sigmoid, {wide}));
                         m.result({b.convert(gelu, dtype), b.convert(silu, dtype), b.scalar_op(ScalarOp::Erf, {x}),
                                   composites::gelu(b, x, false), composites::gelu(b, x, true)});
                       },
                   .values = {{{"N", 1}}, {{"N", 7}}},
                   .tolerance = tolerance_of(dtype)});
}

// As many tiles as a device has multiprocessors, where the largest tiles are taken.
void add_large_products(Cases& cases) {
  cases.push_back({.name = "large_product_f16",
                   .build =
                       [](CaseModel& m) {
                         Value* x = m.input(m.shape({1000, 80}), DType::F16);
                         m.result({m.build.contract(x, half_weights(m, DType::F16, {80, 2040}), "mk,kn->mn")});
                       },
                   .tolerance = 2e-3});
}

}  // namespace

std::vector<KernelCase> halves_cases() {
  Cases cases;
  for (const DType dtype : {DType::F16, DType::BF16}) {
    add_products(cases, dtype);
    add_convolutions(cases, dtype);
    add_attention(cases, dtype);
    add_rows(cases, dtype);
    add_activations(cases, dtype);
  }
  add_large_products(cases);
  return cases;
}

}  // namespace lapidary::test
