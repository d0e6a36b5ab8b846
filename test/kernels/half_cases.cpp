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
                              {136, 48, true},
                              {1296, 40, false},  // long enough to be done in parts
                              {1100, 33, true}})
    cases.push_back({.name = name_with(fmt::format("product_{}x{}{}", k, n, turned ? "_turned" : ""), dtype),
                     .build =
                         [=, k = k, n = n, turned = turned](CaseModel& m) {
                           Value* x = m.input({m.symbol("M"), m.module.dims.constant(k)}, dtype);
                           Value* w = half_weights(m, dtype, turned ? std::vector{n, k} : std::vector{k, n});
                           Value* y = m.build.contract(x, w, turned ? "mk,nk->mn" : "mk,kn->mn");
                           m.result({m.relu(m.build.add(y, half_weights(m, dtype, {n})))});
                         },
                     .values = {{{"M", 0}}, {{"M", 1}}, {{"M", 5}}, {{"M", 33}}, {{"M", 67}}},
                     .tolerance = tolerance_of(dtype),
                     .gpu_kernel = k % 8 == 0 ? "few_rows" : ""});
}

// Rounded weights and sums of hundreds of products, where the body rounds each step.
void add_packed_products(Cases& cases, DType dtype) {
  struct Form {
    int64_t bits, rows, depth, columns, block;  // rows 0: some
  };
  for (const Form& f : {Form{4, 0, 256, 70, 32}, {4, 0, 1184, 8, 16}, {8, 0, 192, 36, 64}, {4, 260, 96, 2040, 32}})
    cases.push_back(
        {.name =
             name_with(fmt::format("packed_{}bits_{}x{}{}", f.bits, f.depth, f.columns, f.rows ? "_tall" : ""), dtype),
         .kernel = "packed",
         .build =
             [=](CaseModel& m) {
               const int64_t blocks = f.depth / f.block, bytes = f.block * f.bits / 8;
               const auto codes = [&](const std::vector<int64_t>& extents) {
                 const Tensor numbers = random_tensor(DType::U8, extents, m.seed++, 256);
                 std::vector<Scalar> scalars;
                 for (int64_t i = 0; i < numbers.elements(); ++i) scalars.push_back(numbers.at(i));
                 return m.build.constant(m.module.constants.add_scalars(DType::U8, extents, scalars));
               };
               composites::PackedWeights packed{f.depth, f.columns, f.bits, f.block, codes({f.columns, blocks, bytes})};
               Value* scales = m.weights({f.columns, blocks});
               const double least = f.bits == 4 ? 1.0 / 256 : 1.0 / 4096;
               packed.scales = m.build.convert(m.build.mul(scales, m.build.like(scales, least)), dtype);
               if (f.block < 64) packed.zero_points = codes({f.columns, (blocks * f.bits + 7) / 8});
               DimPool& d = m.module.dims;
               Value* x = m.input({f.rows ? d.constant(f.rows) : m.symbol("M"), d.constant(f.depth)}, dtype);
               m.result({m.relu(composites::matmul_packed(m.build, x, packed))});
             },
         .values =
             f.rows
                 ? std::vector<SymbolValues>{{}}
                 : std::vector<SymbolValues>{{{"M", 0}}, {{"M", 1}}, {{"M", 2}}, {{"M", 3}}, {{"M", 7}}, {{"M", 37}}},
         .tolerance = 2 * tolerance_of(dtype)});
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

// As few pixels as rows that are multiplied along k, and channels that end within a block.
void add_convolution_of_pixels(Cases& cases) {
  cases.push_back({.name = "conv_of_pixels_f16",
                   .build =
                       [](CaseModel& m) {
                         DimPool& d = m.module.dims;
                         Value* x = m.input({m.symbol("N"), d.constant(16), d.constant(1), d.constant(2)}, DType::F16);
                         Value* w = half_weights(m, DType::F16, {12, 16, 1, 1});
                         Value* bias = half_weights(m, DType::F16, {12});
                         m.result({m.build.conv(x, w, bias, 1, {1, 1}, {1, 1}, m.shape({0, 0, 0, 0}))});
                       },
                   .values = {{{"N", 1}}, {{"N", 3}}},
                   .tolerance = 2 * tolerance_of(DType::F16),
                   .gpu_kernel = "few_rows"});
}

// Few channels: pixels that are parts of an access, which taps begin at, in the middle of, or nowhere in particular.
void add_first_layers(Cases& cases, DType dtype) {
  struct Layer {
    int64_t channels, width;
    std::vector<int64_t> taps, strides, dilations, pads;
  };
  const Layer layers[] = {{3, 16, {7, 7}, {2, 2}, {1, 1}, {3, 3, 3, 3}},
                          {3, 14, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}},
                          {4, 10, {3, 3}, {2, 2}, {1, 1}, {0, 0, 1, 1}},
                          {1, 12, {5, 4}, {1, 2}, {1, 1}, {2, 2, 2, 1}},
                          {2, 8, {2, 5}, {3, 4}, {1, 1}, {0, 3, 1, 0}},
                          {3, 15, {7, 7}, {2, 2}, {1, 1}, {3, 3, 3, 3}},
                          {3, 12, {3, 3}, {3, 3}, {1, 1}, {1, 0, 0, 2}},
                          {4, 10, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}},
                          {3, 12, {3, 3}, {2, 2}, {1, 2}, {2, 2, 2, 2}},
                          {3, 16, {1, 1}, {2, 2}, {1, 1}, {0, 0, 0, 0}},
                          {2, 18, {7}, {2}, {1}, {3, 3}}};
  for (const Layer& layer : layers)
    cases.push_back(
        {.name = name_with(
             fmt::format("first_layer_of_{}_{}_wide_{}_by_{}_at_{}_{}", layer.channels, layer.width, layer.taps.back(),
                         layer.strides.back(), layer.pads[layer.taps.size() - 1], layer.dilations.back()),
             dtype),
         .build =
             [=](CaseModel& m) {
               DimPool& d = m.module.dims;
               Shape shape = {m.symbol("N"), d.constant(layer.channels), d.constant(11), d.constant(layer.width)};
               if (layer.taps.size() == 1) shape.erase(shape.begin() + 2);
               std::vector<int64_t> filters = {20, layer.channels};
               filters.insert(filters.end(), layer.taps.begin(), layer.taps.end());
               Value* y =
                   m.build.conv(m.input(shape, dtype), half_weights(m, dtype, filters), half_weights(m, dtype, {20}), 1,
                                layer.strides, layer.dilations, m.shape(layer.pads));
               m.result({m.relu(y)});
             },
         .values = {{{"N", 0}}, {{"N", 1}}, {{"N", 3}}},
         .tolerance = 2 * tolerance_of(dtype)});
}

// An image less each channel's mean and divided by its deviation, before the first layer.
void add_normalised_images(Cases& cases, DType dtype) {
  for (const int64_t width : {16, 6, 5})
    cases.push_back({.name = name_with(fmt::format("normalised_image_{}_wide", width), dtype),
                     .build =
                         [=](CaseModel& m) {
                           DimPool& d = m.module.dims;
                           Value* x = m.input({m.symbol("N"), d.constant(3), d.constant(4), d.constant(width)}, dtype);
                           const auto of_channel = [&] {
                             return m.build.broadcast(half_weights(m, dtype, {3}), {1}, x->type.shape);
                           };
                           Value* y = m.build.mul(m.build.sub(x, of_channel()), of_channel());
                           y = m.build.scalar_op(ScalarOp::Exp, {y});  // the fourth channel is none, and 0
                           m.result({m.build.conv(y, half_weights(m, dtype, {16, 3, 3, 3}), nullptr, 1, {2, 2}, {1, 1},
                                                  m.shape({1, 1, 1, 1}))});
                         },
                     .values = {{{"N", 1}}, {{"N", 3}}},
                     .tolerance = 2 * tolerance_of(dtype)});
}

void add_attention(Cases& cases, DType dtype) {
  struct Form {
    const char* name;
    bool causal;
    int64_t depth, width;
  };
  for (const Form& form :
       {Form{"attention", false, 32, 48}, Form{"attention_causal", true, 32, 48},
        Form{"attention_of_small_tiles", true, 144, 144}, Form{"attention_of_wide_heads", false, 256, 224},
        Form{"attention_of_padded_heads", true, 200, 192}})
    cases.push_back({.name = name_with(form.name, dtype),
                     .build =
                         [=](CaseModel& m) {
                           DimPool& d = m.module.dims;
                           Dim b = m.symbol("B"), s = m.symbol("S"), t = m.symbol("T");
                           Value* q = m.input({b, d.constant(4), s, d.constant(form.depth)}, dtype);
                           Value* k = m.input({b, d.constant(2), t, d.constant(form.depth)}, dtype);
                           Value* v = m.input({b, d.constant(2), t, d.constant(form.width)}, dtype);
                           m.result({composites::attention(m.build, q, k, v, nullptr, 0.125, form.causal)});
                         },
                     .values = {{{"B", 1}, {"S", 1}, {"T", 1}},
                                {{"B", 2}, {"S", 17}, {"T", 65}},
                                {{"B", 1}, {"S", 70}, {"T", 130}},
                                {{"B", 1}, {"S", 3}, {"T", 0}}},
                     .tolerance = 4 * tolerance_of(dtype)});
}

// Of halves that were widened, with masks of all sorts or a cap, and as many queries as warpgroups take.
void add_masked_attention(Cases& cases) {
  struct Form {
    const char* name;
    const char* mask;
    double softcap;
    int64_t head;
  };
  for (const Form& form : {Form{"masked", "BHST", 0, 64}, Form{"masked_by_key", "B11T", 0, 80},
                           Form{"masked_by_query", "11S1", 0, 64}, Form{"capped", "ST", 2, 32}})
    cases.push_back(
        {.name = fmt::format("attention_{}", form.name),
         .build =
             [=](CaseModel& m) {
               DimPool& d = m.module.dims;
               Dim b = m.symbol("B"), s = m.symbol("S"), t = m.symbol("T"), h = d.constant(2);
               const auto input = [&](Shape shape) { return m.build.convert(m.input(shape, DType::F16), DType::F32); };
               Value* q = input({b, h, s, d.constant(form.head)});
               Value* k = input({b, h, t, d.constant(form.head)});
               Value* v = input({b, h, t, d.constant(64)});
               Shape shape;
               for (const char* letter = form.mask; *letter; ++letter)
                 shape.push_back(*letter == 'B'   ? b
                                 : *letter == 'H' ? h
                                 : *letter == 'S' ? s
                                 : *letter == 'T' ? t
                                                  : d.constant(1));
               m.result({composites::attention(m.build, q, k, v, input(shape), 0.125, false, form.softcap)});
             },
         .values = {{{"B", 2}, {"S", 5}, {"T", 7}}, {{"B", 1}, {"S", 130}, {"T", 200}}},
         .tolerance = 4e-3});
}

// Few queries over many keys, which are split; and over few, or many queries, which are not.
void add_decoding(Cases& cases) {
  struct Form {
    const char* name;
    int64_t group, queries, width;  // no queries: any number
    bool causal, masked;
  };
  for (const Form& form : {Form{"heads", 3, 1, 64, false, false}, Form{"queries", 2, 0, 80, true, false},
                           Form{"masked", 4, 1, 48, false, true}, Form{"masked_queries", 1, 0, 64, false, true}})
    cases.push_back({.name = fmt::format("attention_decoding_{}", form.name),
                     .build =
                         [=](CaseModel& m) {
                           DimPool& d = m.module.dims;
                           Dim b = m.symbol("B"), t = m.symbol("T"), g = d.constant(2);
                           Dim s = form.queries ? d.constant(form.queries) : m.symbol("S");
                           Dim h = d.constant(2 * form.group);
                           Value* q = m.input({b, h, s, d.constant(64)}, DType::F16);
                           Value* k = m.input({b, g, t, d.constant(64)}, DType::F16);
                           Value* v = m.input({b, g, t, d.constant(form.width)}, DType::F16);
                           Value* mask = form.masked ? m.input({b, d.constant(1), s, t}, DType::F16) : nullptr;
                           Value* y = composites::attention(m.build, q, k, v, mask, 0.125, form.causal);
                           m.result({m.build.transpose(y, {0, 2, 1, 3})});
                         },
                     .values = {{{"B", 1}, {"S", 1}, {"T", 130}},
                                {{"B", 2}, {"S", 4}, {"T", 517}},
                                {{"B", 1}, {"S", 2}, {"T", 128}},
                                {{"B", 1}, {"S", 17}, {"T", 300}},
                                {{"B", 0}, {"S", 1}, {"T", 300}},
                                {{"B", 1}, {"S", 0}, {"T", 300}}},
                     .tolerance = 4e-3});
}

// Rows that registers keep: of packets of 8, some threads without one; of packets of 2; of several warps.
void add_rows(Cases& cases, DType dtype) {
  for (const int64_t width : {24, 130, 768, 1000, 2560, 4096})
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

// Packets, two a thread of the wider ones, and the rougher maths of what is rounded at once.
void add_activations(Cases& cases, DType dtype) {
  for (const int64_t width : {40, 2048})
    cases.push_back({.name = name_with(fmt::format("activations_{}", width), dtype),
                     .build =
                         [=](CaseModel& m) {
                           GraphBuilder& b = m.build;
                           Value* x = m.input({m.symbol("N"), m.module.dims.constant(width)}, dtype);
                           Value* wide = b.mul(b.convert(x, DType::F32), b.like(b.convert(x, DType::F32), 3));
                           Value* gelu = b.mul(wide, b.add(b.scalar_op(ScalarOp::Erf, {wide}), b.like(wide, 1)));
                           Value* silu = b.mul(wide, b.scalar_op(ScalarOp::Sigmoid, {wide}));
                           m.result({b.convert(gelu, dtype), b.convert(silu, dtype), b.scalar_op(ScalarOp::Erf, {x}),
                                     composites::gelu(b, x, false), composites::gelu(b, x, true)});
                         },
                     .values = {{{"N", 1}}, {{"N", 7}}},
                     .tolerance = tolerance_of(dtype)});
}

// As many tiles as a device has multiprocessors, and k so long that Hopper's tiles are taken: what the copy engine
// moves ends within a tile; one operand, or the results, are not for it; and there is a batch.
void add_large_products(Cases& cases) {
  const auto add = [&](const char* name, auto build) {
    cases.push_back({.name = name, .build = build, .tolerance = 2e-3});
  };
  add("large_product_f16", [](CaseModel& m) {
    Value* x = m.input(m.shape({1000, 216}), DType::F16);
    Value* y = m.build.contract(x, half_weights(m, DType::F16, {216, 2040}), "mk,kn->mn");
    m.result({m.relu(m.build.add(y, half_weights(m, DType::F16, {2040})))});
  });
  add("large_product_f16_odd", [](CaseModel& m) {
    Value* x = m.input(m.shape({1000, 216}), DType::F16);
    m.result({m.build.contract(x, half_weights(m, DType::F16, {216, 1999}), "mk,kn->mn")});
  });
  add("large_product_f16_in_parts", [](CaseModel& m) {
    Value* x = m.input(m.shape({130, 4096}), DType::F16);
    m.result({m.relu(m.build.contract(x, half_weights(m, DType::F16, {4096, 520}), "mk,kn->mn"))});
  });
  add("large_product_f16_added", [](CaseModel& m) {
    Value* x = m.input(m.shape({1000, 136}), DType::F16);
    Value* y = m.build.contract(x, half_weights(m, DType::F16, {136, 2040}), "mk,kn->mn");
    m.result({m.relu(m.build.add(y, m.input(m.shape({1000, 2040}), DType::F16)))});
  });
  add("large_product_f16_gelu", [](CaseModel& m) {
    GraphBuilder& b = m.build;
    Value* x = m.input(m.shape({1000, 136}), DType::F16);
    Value* y = b.convert(b.contract(x, half_weights(m, DType::F16, {136, 2040}), "mk,kn->mn"), DType::F32);
    m.result({b.convert(b.mul(y, b.scalar_op(ScalarOp::Sigmoid, {y})), DType::F16)});
  });
  add("large_product_f16_batch", [](CaseModel& m) {
    Value* x = m.input(m.shape({2, 9, 120, 216}), DType::F16);
    Value* y = m.input(m.shape({2, 9, 960, 216}), DType::F16);
    m.result({m.build.contract(x, y, "abmk,abnk->abmn")});
  });
  cases.push_back({.name = "product_i8",  // whose results are words, by whatever moves them
                   .build =
                       [](CaseModel& m) {
                         Value* x = m.input({m.symbol("M"), m.module.dims.constant(144)}, DType::I8);
                         Value* y = m.input(m.shape({96, 144}), DType::I8);
                         const Params params{{"spec", std::string("mk,nk->mn")}, {"to", DType::I32}};
                         m.result({m.build.create(OpKind::Contract, {x, y}, params).result()});
                       },
                   .values = {{{"M", 3}}, {{"M", 70}}},
                   .tolerance = 0});
}

}  // namespace

std::vector<KernelCase> halves_cases() {
  Cases cases;
  for (const DType dtype : {DType::F16, DType::BF16}) {
    add_products(cases, dtype);
    add_packed_products(cases, dtype);
    add_convolutions(cases, dtype);
    add_first_layers(cases, dtype);
    add_normalised_images(cases, dtype);
    add_attention(cases, dtype);
    add_rows(cases, dtype);
    add_activations(cases, dtype);
  }
  add_convolution_of_pixels(cases);
  add_masked_attention(cases);
  add_decoding(cases);
  add_large_products(cases);
  return cases;
}

}  // namespace lapidary::test
