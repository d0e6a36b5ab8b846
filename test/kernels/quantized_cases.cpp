// Products and convolutions of bytes, whose sums must be exact, and products with weights of 4 and 8 bits.
#include "ir/composites.h"
#include "test/kernels/kernel_cases.h"

namespace lapidary::test {

namespace {

using Cases = std::vector<KernelCase>;

// Integers of all the type's range.
Value* codes(CaseModel& m, DType dtype, std::vector<int64_t> extents) {
  const Tensor numbers = random_tensor(DType::F32, extents, m.seed++);
  std::vector<Scalar> scalars;
  for (int64_t i = 0; i < numbers.elements(); ++i) {
    const double number = numbers.at(i).number * 70 + (dtype == DType::U8 ? 128 : 0);
    scalars.push_back(convert(Scalar::of_float(DType::F64, number), dtype));
  }
  return m.build.constant(m.module.constants.add_scalars(dtype, extents, scalars));
}

// Bytes of all values made from an input of floats.
Value* bytes(CaseModel& m, Shape shape) {
  Value* x = m.input(std::move(shape));
  return m.build.convert(m.build.add(m.build.mul(x, m.build.like(x, 64)), m.build.like(x, 128)), DType::U8);
}

Cases product_cases() {
  Cases cases;
  struct Extents {
    int64_t depth, columns;
  };
  for (auto [k, n] : {Extents{1, 1}, {4, 16}, {5, 17}, {20, 33}, {64, 64}, {67, 200}, {512, 32}})
    cases.push_back(
        {.name = fmt::format("bytes_{}x{}", k, n),
         .kernel = "contraction tile",
         .build =
             [k = k, n = n](CaseModel& m) {
               Value* x = bytes(m, {m.symbol("M"), m.module.dims.constant(k)});
               Params params{{"spec", std::string("mk,kn->mn")}, {"to", DType::I32}};
               m.result({m.build.create(OpKind::Contract, {x, codes(m, DType::I8, {k, n})}, params).result()});
             },
         .values = {{{"M", 1}}, {{"M", 2}}, {{"M", 6}}, {{"M", 7}}, {{"M", 13}}, {{"M", 27}}, {{"M", 0}}},
         .tolerance = 0});
  cases.push_back(
      {.name = "signed_bytes",
       .kernel = "contraction tile",
       .build =
           [](CaseModel& m) {
             Value* x = bytes(m, {m.symbol("M"), m.module.dims.constant(68)});
             x = m.build.convert(m.build.sub(m.build.convert(x, DType::I32), m.build.scalar(DType::I32, 128)),
                                 DType::I8);
             Params params{{"spec", std::string("mk,nk->mn")}, {"to", DType::I32}};
             m.result({m.build.create(OpKind::Contract, {x, codes(m, DType::U8, {50, 68})}, params).result()});
           },
       .values = {{{"M", 1}}, {{"M", 7}}, {{"M", 27}}},
       .tolerance = 0});
  cases.push_back({.name = "integers_live",
                   .kernel = "contraction tile",
                   .build =
                       [](CaseModel& m) {
                         Dim k = m.symbol("K");
                         Value* a = m.input({m.symbol("B"), m.symbol("M"), k}, DType::I32);
                         Value* b = m.input({m.symbol("B"), k, m.module.dims.constant(37)}, DType::I32);
                         m.result({m.build.contract(a, b, "bmk,bkn->bmn")});
                       },
                   .values = {{{"B", 1}, {"M", 1}, {"K", 9}},
                              {{"B", 2}, {"M", 7}, {"K", 1}},
                              {{"B", 3}, {"M", 14}, {"K", 16}},
                              {{"B", 1}, {"M", 5}, {"K", 0}}},
                   .tolerance = 0});
  return cases;
}

Cases conv_cases() {
  Cases cases;
  struct Form {
    int64_t channels, outputs, kernel, stride, pad, group = 1, dilation = 1, width = 15;
    bool depthwise() const { return group == channels && group == outputs; }
    std::string name() const {
      return fmt::format("bytes_conv_{}to{}_{}x{}{}{}{}{}", channels, outputs, kernel, kernel,
                         group > 1 ? fmt::format("_in_{}", group) : "", stride > 1 ? fmt::format("_by_{}", stride) : "",
                         dilation > 1 ? "_dilated" : "",
                         width < 15   ? "_narrow"
                         : width > 15 ? "_wide"
                                      : "");
    }
  };
  for (const Form& f : {Form{3, 16, 7, 2, 3},
                        {4, 17, 3, 1, 1},
                        {3, 16, 3, 1, 1, 1, 1, 40},
                        {16, 32, 1, 1, 0},
                        {17, 48, 3, 1, 1},
                        {40, 33, 3, 2, 1},
                        {64, 16, 1, 2, 0},
                        {32, 32, 3, 1, 1, 2},
                        {48, 96, 3, 2, 1, 3},
                        {40, 40, 3, 1, 1, 10},
                        {20, 40, 3, 1, 1, 20},
                        {16, 16, 3, 1, 1, 16},
                        {35, 35, 3, 2, 1, 35},
                        {16, 16, 5, 1, 2, 16},
                        {24, 24, 7, 2, 3, 24},
                        {16, 16, 3, 1, 2, 16, 2},
                        {16, 16, 3, 1, 0, 16, 1, 3},
                        {16, 16, 2, 2, 0, 16, 1, 4},
                        {16, 16, 1, 1, 0, 16}})
    cases.push_back(
        {.name = f.name(),
         .kernel = f.depthwise() ? "conv depthwise" : "conv direct",
         .build =
             [=](CaseModel& m) {
               DimPool& d = m.module.dims;
               Value* x = bytes(m, {m.symbol("N"), d.constant(f.channels), m.symbol("H"), d.constant(f.width)});
               Value* w = codes(m, DType::I8, {f.outputs, f.channels / f.group, f.kernel, f.kernel});
               Value* y = m.build
                              .create(OpKind::Conv, {x, w, codes(m, DType::I32, {f.outputs})},
                                      {{"group", f.group},
                                       {"strides", std::vector<int64_t>{f.stride, f.stride}},
                                       {"dilations", std::vector<int64_t>{f.dilation, f.dilation}},
                                       {"pads", Shape(4, d.constant(f.pad))},
                                       {"to", DType::I32},
                                       {"fill", int64_t{131}}})
                              .result();
               m.result({m.build.convert(y, DType::F32)});
             },
         .values = {{{"N", 1}, {"H", 9}}, {{"N", 2}, {"H", 14}}, {{"N", 1}, {"H", 33}}},
         .tolerance = 0});
  return cases;
}

Cases packed_cases() {
  Cases cases;
  struct Form {
    int64_t bits, columns, depth, block;
    bool zeros;
  };
  for (const Form& f : {Form{4, 64, 64, 32, false},
                        {4, 17, 96, 32, true},
                        {4, 200, 128, 16, true},
                        {8, 33, 64, 32, false},
                        {8, 64, 128, 64, true}})
    cases.push_back({.name = fmt::format("packed_{}bits_{}x{}{}", f.bits, f.depth, f.columns, f.zeros ? "_zeros" : ""),
                     .kernel = fmt::format("packed {} bits", f.bits),
                     .build =
                         [=](CaseModel& m) {
                           const int64_t blocks = f.depth / f.block;
                           composites::PackedWeights packed{f.depth, f.columns, f.bits, f.block};
                           packed.codes = codes(m, DType::U8, {f.columns, blocks, f.block * f.bits / 8});
                           packed.scales = m.weights({f.columns, blocks});
                           if (f.zeros)
                             packed.zero_points = codes(m, DType::U8, {f.columns, (blocks * f.bits + 7) / 8});
                           DimPool& d = m.module.dims;
                           Value* x = m.input({m.symbol("B"), m.symbol("M"), d.constant(f.depth)});
                           m.result({m.relu(composites::matmul_packed(m.build, x, packed))});
                         },
                     .values = {{{"B", 1}, {"M", 1}},
                                {{"B", 2}, {"M", 1}},
                                {{"B", 1}, {"M", 3}},
                                {{"B", 4}, {"M", 1}},
                                {{"B", 1}, {"M", 5}},
                                {{"B", 2}, {"M", 9}},
                                {{"B", 3}, {"M", 13}},
                                {{"B", 0}, {"M", 1}}},
                     .tolerance = f.bits == 4 ? 1e-4 : 1e-3});
  return cases;
}

Cases half_cases() {
  Cases cases;
  for (DType dtype : {DType::F16, DType::BF16})
    cases.push_back({.name = fmt::format("conv_{}", name_of(dtype)),
                     .kernel = "conv direct",
                     .build =
                         [=](CaseModel& m) {
                           DimPool& d = m.module.dims;
                           Value* x = m.input({m.symbol("N"), d.constant(20), d.constant(9), d.constant(11)}, dtype);
                           Value* w = m.build.convert(m.weights({24, 20, 1, 3}), dtype);
                           Value* y = m.build.conv(x, w, nullptr, 1, {1, 1}, {1, 1}, m.shape({0, 1, 0, 1}));
                           m.result({m.relu(y)});
                         },
                     .values = {{{"N", 1}}, {{"N", 3}}},
                     .tolerance = dtype == DType::F16 ? 2e-3 : 1.6e-2});
  return cases;
}

}  // namespace

std::vector<KernelCase> quantized_cases() {
  Cases all;
  for (const Cases& cases : {product_cases(), conv_cases(), packed_cases(), half_cases()})
    all.insert(all.end(), cases.begin(), cases.end());
  return all;
}

// Products of two operands that the run computes, less zero points, known or not: of bytes on a GPU alone.
std::vector<KernelCase> live_byte_cases() {
  Cases cases;
  const auto add = [&](const char* name, const char* spec, std::vector<int64_t> b, DType dtype, bool zeros,
                       const char* hopper_tile) {
    const auto build = [=](CaseModel& m) {
      Shape shape = m.shape(b);
      shape.back() = shape[shape.size() - 2];
      shape[shape.size() - 2] = m.symbol("M");
      const auto less = [&](Value* x, Value* zero) {
        return m.build.sub(x, m.build.broadcast_to(zero, x->type.shape));
      };
      Value *x = m.build.convert(bytes(m, shape), DType::I32), *w = m.build.convert(bytes(m, m.shape(b)), DType::I32);
      if (dtype == DType::I8) {
        w = m.build.convert(less(w, m.build.scalar(DType::I32, 128)), DType::I8);
        w = m.build.convert(w, DType::I32);
      }
      if (zeros) {
        x = less(x, m.build.convert(bytes(m, {}), DType::I32));
        w = less(w, m.build.scalar(DType::I32, 21));
      }
      m.result({m.build.contract(x, w, spec)});
    };
    cases.push_back({.name = name,
                     .build = build,
                     .values = {{{"M", 1}}, {{"M", 145}}, {{"M", 0}}},
                     .tolerance = 0,
                     .gpu_kernel = fmt::format("factors {} turned", name_of(dtype)),
                     .hopper_tile = hopper_tile});
  };
  add("columns", "mk,kn->mn", {912, 72}, DType::U8, false, "warpgroups");
  add("odd", "mk,kn->mn", {333, 39}, DType::I8, true, "");
  add("batch", "bmk,bkn->bmn", {3, 80, 20}, DType::U8, true, "warpgroups");
  return cases;
}

}  // namespace lapidary::test
