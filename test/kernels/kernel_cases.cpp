#include "test/kernels/kernel_cases.h"

#include "ir/composites.h"
#include "ir/error.h"

namespace lapidary::test {

namespace {

using Cases = std::vector<KernelCase>;

// Every value of one symbol, the others fixed.
std::vector<SymbolValues> each(const std::string& symbol, std::vector<int64_t> values, SymbolValues others = {}) {
  std::vector<SymbolValues> sets;
  for (int64_t value : values) {
    sets.push_back(others);
    sets.back()[symbol] = value;
  }
  return sets;
}

const std::vector<int64_t> kAroundVectors = {0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 130};
// Around register tiles of 13, 12, 11 and 6, 5, 4 rows, the skinny ones of up to 6, and where chunks of them begin.
const std::vector<int64_t> kAroundTiles = {0, 1, 2, 4, 5, 6, 7, 8, 11, 12, 13, 14, 25, 26, 27, 39, 54, 55, 67};

// --- elementwise

Cases elementwise_cases() {
  Cases cases;
  const auto symbolic = [&](const std::string& name, DType dtype, double tolerance, auto body) {
    cases.push_back({.name = name,
                     .kernel = "elementwise",
                     .build =
                         [=](CaseModel& m) {
                           Value* x = m.input({m.symbol("N")}, dtype);
                           m.result(body(m, x));
                         },
                     .values = each("N", kAroundVectors),
                     .tolerance = tolerance});
  };
  using Values = std::vector<Value*>;
  symbolic("maths", DType::F32, 1e-5, [](CaseModel& m, Value* x) {
    GraphBuilder& b = m.build;
    Value* bounded = b.scalar_op(ScalarOp::Tanh, {b.scalar_op(ScalarOp::Exp, {x})});
    Value* root = b.scalar_op(ScalarOp::Sqrt, {b.scalar_op(ScalarOp::Abs, {x})});
    return Values{b.div(b.scalar_op(ScalarOp::Erf, {x}), b.add(root, b.like(x, 1))),
                  b.scalar_op(ScalarOp::Sigmoid, {bounded})};
  });
  symbolic("choices", DType::F32, 0, [](CaseModel& m, Value* x) {
    GraphBuilder& b = m.build;
    Value* less = b.scalar_op(ScalarOp::Less, {x, b.like(x, 0)});
    return Values{b.select(less, b.neg(x), b.like(x, 6)), less};
  });
  symbolic("halves", DType::F16, 2e-3, [](CaseModel& m, Value* x) { return Values{m.build.mul(m.relu(x), x)}; });
  symbolic("doubles", DType::F64, 1e-12,
           [](CaseModel& m, Value* x) { return Values{m.build.sub(m.build.mul(x, x), x)}; });
  symbolic("bytes", DType::U8, 0, [](CaseModel& m, Value* x) {
    return Values{m.build.add(x, x), m.build.convert(x, DType::F32)};
  });
  symbolic("integers", DType::I64, 0, [](CaseModel& m, Value* x) {
    return Values{
        m.build.div(m.build.add(x, x), m.build.sub(x, m.build.constant(m.module.constants.add_splat(
                                                          DType::I64, {}, Scalar::of_integer(DType::I64, 3))))),
        m.build.convert(x, DType::I32)};
  });
  symbolic("conversions", DType::F32, 1e-2, [](CaseModel& m, Value* x) {
    return Values{m.build.convert(x, DType::F16), m.build.convert(x, DType::BF16), m.build.convert(x, DType::I8),
                  m.build.convert(x, DType::F64)};
  });
  cases.push_back({.name = "broadcasts",
                   .kernel = "elementwise",
                   .build =
                       [](CaseModel& m) {
                         Dim n = m.symbol("N"), s = m.symbol("S"), one = m.module.dims.constant(1);
                         Value *x = m.input({n, s}), *row = m.input({s}), *column = m.input({n, one});
                         m.result({m.build.add(m.build.mul(x, row), column), m.build.sub(row, column)});
                       },
                   .values = {{{"N", 3}, {"S", 17}},
                              {{"N", 1}, {"S", 16}},
                              {{"N", 17}, {"S", 1}},
                              {{"N", 0}, {"S", 5}},
                              {{"N", 5}, {"S", 0}},
                              {{"N", 2}, {"S", 130}}}});
  cases.push_back(
      {.name = "channels",
       .kernel = "elementwise",
       .build =
           [](CaseModel& m) {
             Value* x = m.input({m.symbol("N"), m.module.dims.constant(17), m.symbol("H"), m.module.dims.constant(5)});
             m.result({m.relu(m.build.add(m.build.mul(x, m.weights({17, 1, 1})), m.weights({17, 1, 1})))});
           },
       .values = {{{"N", 1}, {"H", 1}}, {{"N", 3}, {"H", 7}}, {{"N", 2}, {"H", 0}}}});
  return cases;
}

// --- transposes, concatenations, slices, pads, gathers

Cases movement_cases() {
  Cases cases;
  const auto add = [&](const std::string& name, std::vector<SymbolValues> values,
                       std::function<void(CaseModel&)> build) {
    const bool concat = name.starts_with("concat") || name == "rotary";
    cases.push_back({.name = name,
                     .kernel = concat ? "concat" : "",
                     .build = std::move(build),
                     .values = std::move(values),
                     .tolerance = 0});
  };
  const std::vector<SymbolValues> matrices = {{{"M", 1}, {"N", 1}},   {{"M", 16}, {"N", 16}}, {{"M", 15}, {"N", 17}},
                                              {{"M", 17}, {"N", 15}}, {{"M", 8}, {"N", 9}},   {{"M", 33}, {"N", 64}},
                                              {{"M", 0}, {"N", 16}},  {{"M", 1}, {"N", 40}},  {{"M", 40}, {"N", 1}}};
  for (DType dtype : {DType::F32, DType::F16, DType::I64, DType::U8, DType::Bool})
    add(fmt::format("transpose_{}", name_of(dtype)), matrices, [=](CaseModel& m) {
      m.result({m.build.transpose(m.input({m.symbol("M"), m.symbol("N")}, dtype), {1, 0})});
    });
  int count = 0;
  for (DType dtype : {DType::F32, DType::F16, DType::U8})  // tiles, whole and cut off, two at once; in whole packets
    add(fmt::format("images_to_channels_last_{}", name_of(dtype)), {{{"N", 0}}, {{"N", 3}}}, [=](CaseModel& m) {
      DimPool& d = m.module.dims;
      const auto turned = [&] {
        return m.build.transpose(m.input({m.symbol("N"), d.constant(72), d.constant(4), d.constant(18)}, dtype),
                                 {0, 2, 3, 1});
      };
      Value* x = turned();
      m.result({m.build.add(x, turned())});
    });
  for (std::vector<int64_t> perm :
       {std::vector<int64_t>{0, 2, 1, 3}, {0, 3, 1, 2}, {0, 2, 3, 1}, {3, 2, 1, 0}, {2, 0, 3, 1}})
    add(fmt::format("permutation_{}", count++), {{{"N", 1}, {"S", 5}}, {{"N", 3}, {"S", 17}}, {{"N", 2}, {"S", 0}}},
        [=](CaseModel& m) {
          DimPool& d = m.module.dims;
          m.result({m.build.transpose(m.input({m.symbol("N"), m.symbol("S"), d.constant(6), d.constant(18)}), perm)});
        });
  for (int axis : {0, 1, 2})
    add(fmt::format("concat_{}", axis), {{{"N", 1}}, {{"N", 5}}, {{"N", 16}}, {{"N", 17}}, {{"N", 0}}},
        [=](CaseModel& m) {
          Shape low = m.shape({3, 4, 7}), high = low;
          low[axis] = m.symbol("N");
          Value *a = m.input(low), *b = m.input(high), *c = m.input(low);
          m.result({m.build.concat({a, m.build.neg(b), c}, axis)});
        });
  add("empty_parts_of_a_concat", {{{"N", 1}}, {{"N", 17}}, {{"N", 0}}}, [](CaseModel& m) {
    Value *x = m.input({m.symbol("N"), m.module.dims.constant(5)}), *y = m.input(x->type.shape);
    Value* none = m.build.slice_axis(x, 1, m.build.dim(2), m.build.dim(0));
    Value* sum = m.build.add(x, y);
    m.result({m.build.concat({sum, none}, 1), m.build.concat({none, sum, none}, 1)});
  });
  add("slices", {{{"S", 2}}, {{"S", 9}}, {{"S", 33}}}, [](CaseModel& m) {
    DimPool& d = m.module.dims;
    Value* x = m.input({m.symbol("S"), d.constant(37)});
    m.result({m.build.slice(x, {d.constant(1), d.constant(36)}, {1, -2},
                            {d.sub(m.symbol("S"), d.constant(1)), d.constant(19)}),
              m.build.slice(x, {d.constant(0), d.constant(2)}, {1, 3}, {m.symbol("S"), d.constant(11)}),
              m.build.slice_axis(x, 1, d.constant(20), d.constant(17))});
  });
  for (const char* mode : {"constant", "edge", "reflect", "wrap"})
    add(fmt::format("pad_{}", mode), {{{"S", 3}}, {{"S", 16}}, {{"S", 17}}}, [=](CaseModel& m) {
      DimPool& d = m.module.dims;
      Value* x = m.input({d.constant(4), m.symbol("S")});
      m.result({m.build.pad(x, {d.constant(1), d.constant(2)}, {d.constant(0), d.constant(1)}, mode)});
    });
  add("pad_empty", {{{"S", 0}}, {{"S", 1}}}, [](CaseModel& m) {
    DimPool& d = m.module.dims;
    Value* x = m.input({m.symbol("S"), d.constant(17)});
    m.result({m.build.pad(x, {d.constant(1), d.constant(0)}, {d.constant(2), d.constant(3)}, "constant",
                          m.build.like(x, 7))});
  });
  for (int axis : {0, 1})
    add(fmt::format("gather_{}", axis), {{{"S", 7}, {"K", 1}}, {{"S", 17}, {"K", 16}}, {{"S", 8}, {"K", 0}}},
        [=](CaseModel& m) {
          Value* x = m.input({m.symbol("S"), m.module.dims.constant(7)});
          Value* indices = m.input({m.symbol("K")}, DType::I64);  // 0 to 6
          m.result({m.build.gather(x, indices, axis)});
        });
  add("gather_elements", {{{"K", 1}}, {{"K", 16}}, {{"K", 17}}, {{"K", 0}}}, [](CaseModel& m) {
    Value* x = m.input(m.shape({7, 19}));
    m.result({m.build.gather_elements(x, m.input({m.symbol("K"), m.module.dims.constant(19)}, DType::I64), 0)});
  });
  add("rotary", {{{"S", 1}}, {{"S", 6}}}, [](CaseModel& m) {
    GraphBuilder& b = m.build;
    Value* x = m.input({m.module.dims.constant(2), m.symbol("S"), m.module.dims.constant(32)});
    Value *low = b.slice_axis(x, 2, b.dim(0), b.dim(16)), *high = b.slice_axis(x, 2, b.dim(16), b.dim(16));
    m.result({b.concat({b.neg(high), low}, 2)});
  });
  add("iota", {{{"N", 1}}, {{"N", 16}}, {{"N", 33}}, {{"N", 0}}}, [](CaseModel& m) {
    Value* x = m.input({m.symbol("N"), m.module.dims.constant(3)}, DType::I64);
    m.result({m.build.add(x, m.build.iota(DType::I64, x->type.shape, 0))});
  });
  return cases;
}

// --- rows and reductions

Cases row_cases() {
  Cases cases;
  const auto add = [&](const std::string& name, const std::string& kernel, std::vector<SymbolValues> values,
                       double tolerance, std::function<void(CaseModel&)> build) {
    cases.push_back({.name = name,
                     .kernel = kernel,
                     .build = std::move(build),
                     .values = std::move(values),
                     .tolerance = tolerance});
  };
  using Kind = std::pair<OpKind, const char*>;
  for (auto [kind, name] :
       {Kind{OpKind::ReduceSum, "sum"}, Kind{OpKind::ReduceMax, "max"}, Kind{OpKind::ReduceMean, "mean"}}) {
    add(fmt::format("{}_of_rows", name), "", each("S", {1, 15, 16, 17, 63, 65, 130, 1000}, {{"N", 3}}), 2e-5,
        [kind = kind](CaseModel& m) {
          m.result({m.build.reduce(kind, m.input({m.symbol("N"), m.module.dims.symbol("S", {1, 1 << 20})}), {1})});
        });
    add(fmt::format("{}_of_columns", name), "",
        {{{"N", 1}, {"S", 16}}, {{"N", 9}, {"S", 17}}, {{"N", 65}, {"S", 1}}, {{"N", 4}, {"S", 0}}}, 2e-5,
        [kind = kind](CaseModel& m) {
          m.result({m.build.reduce(kind, m.input({m.module.dims.symbol("N", {1, 1 << 20}), m.symbol("S")}), {0})});
        });
    add(fmt::format("{}_of_images", name), "", {{{"N", 1}, {"H", 1}}, {{"N", 3}, {"H", 7}}}, 2e-5,
        [kind = kind](CaseModel& m) {
          Value* x = m.input({m.symbol("N"), m.module.dims.constant(19), m.module.dims.symbol("H", {1, 1 << 20}),
                              m.module.dims.constant(7)});
          m.result({m.build.reduce(kind, x, {2, 3}, true), m.build.reduce(kind, x, {1, 3})});
        });
  }
  for (DType dtype : {DType::F64, DType::F16, DType::I32, DType::I64, DType::U8})
    add(fmt::format("types_{}", name_of(dtype)), "",
        {{{"N", 1}, {"S", 1}}, {{"N", 5}, {"S", 16}}, {{"N", 3}, {"S", 37}}}, dtype == DType::F16 ? 1e-2 : 1e-12,
        [dtype](CaseModel& m) {
          Value* x = m.input({m.module.dims.symbol("N", {1, 1 << 20}), m.module.dims.symbol("S", {1, 1 << 20})}, dtype);
          std::vector<Value*> results;
          for (OpKind kind : {OpKind::ReduceSum, OpKind::ReduceMax, OpKind::ReduceMin})
            for (int64_t axis : {0, 1}) results.push_back(m.build.reduce(kind, x, {axis}));
          m.result(results);
        });
  for (int64_t channels : {1, 17, 40, 48})
    add(fmt::format("of_{}_blocked_channels", channels), "reduction", {{{"N", 1}}, {{"N", 4}}}, 1e-4,
        [channels](CaseModel& m) {
          DimPool& d = m.module.dims;
          Value* image = m.conv(m.input({d.symbol("N", {1, 1 << 20}), d.constant(5), d.constant(4), d.constant(16)}),
                                channels, {1, 1}, {});
          std::vector<Value*> results;
          for (OpKind kind : {OpKind::ReduceMin, OpKind::ReduceSum})
            for (std::vector<int64_t> axes : {std::vector<int64_t>{0, 3}, {2, 3}, {1}, {0, 1, 2, 3}, {3}})
              results.push_back(m.build.reduce(kind, image, axes));
          // Drops the channels' axis when there is one: then the lanes run along nothing.
          results.push_back(m.relu(m.build.expand_axes(m.build.reduce(OpKind::ReduceMax, image, {0, 3}), {2})));
          m.result(results);
        });
  add("sum_of_nothing", "", {{{"N", 3}, {"S", 0}}, {{"N", 0}, {"S", 4}}}, 0, [](CaseModel& m) {
    m.result({m.build.reduce(OpKind::ReduceSum, m.input({m.symbol("N"), m.symbol("S")}), {1})});
  });
  // Of much to few results: in parts on a GPU, always or where the run finds it long; the last of the parts have less.
  const std::vector<OpKind> kinds = {OpKind::ReduceSum, OpKind::ReduceMean, OpKind::ReduceMax, OpKind::ReduceMin,
                                     OpKind::ReduceProd};
  for (DType dtype : {DType::F32, DType::F16, DType::I32}) {
    const auto of_axis = [=](bool columns) {
      return [=](CaseModel& m) {
        const Dim known = m.module.dims.constant(9973), symbol = m.symbol("N"), few = m.module.dims.constant(3);
        std::vector<Value*> results;
        for (Dim length : {known, symbol}) {
          Value* x = m.input(columns ? Shape{length, few} : Shape{few, length}, dtype);
          for (OpKind kind : kinds)
            if (kind != OpKind::ReduceProd || dtype == DType::I32)
              results.push_back(m.build.reduce(kind, x, {!columns}));
        }
        m.result(results);
      };
    };
    for (bool columns : {false, true}) {
      add(fmt::format("{}_in_parts_{}", columns ? "columns" : "rows", name_of(dtype)), "",
          {{{"N", 1}}, {{"N", 1023}}, {{"N", 4409}}}, dtype == DType::F16 ? 2e-2 : 5e-4, of_axis(columns));
      cases.back().gpu_kernel = "combine_parts";
    }
  }
  // Over axes that do not lie next to each other, walked as one: of rows, of columns, of three axes.
  struct Apart {
    const char* name;
    std::vector<int64_t> others;  // extents behind N
    std::vector<int64_t> axes;
  };
  for (DType dtype : {DType::F32, DType::F16, DType::I32})
    for (const Apart& apart : std::vector<Apart>{
             {"rows", {3, 52}, {0, 2}}, {"columns", {2, 61, 24}, {0, 2}}, {"three", {3, 17, 2, 11, 4}, {0, 2, 4}}}) {
      add(fmt::format("{}_of_axes_apart_{}", apart.name, name_of(dtype)), "", {{{"N", 1}}, {{"N", 7}}, {{"N", 149}}},
          dtype == DType::F16 ? 2e-2 : 5e-4, [=](CaseModel& m) {
            std::vector<Value*> results;
            for (Dim first : {m.module.dims.constant(197), m.symbol("N")}) {
              Shape shape = {first};
              for (int64_t other : apart.others) shape.push_back(m.module.dims.constant(other));
              Value* x = m.input(shape, dtype);
              for (OpKind kind : {OpKind::ReduceSum, OpKind::ReduceMax})
                results.push_back(m.build.reduce(kind, x, apart.axes));
            }
            m.result(results);
          });
      cases.back().gpu_kernel = "combine_parts";
    }
  for (int axis : {1, 2})
    add(fmt::format("softmax_{}", axis), "", {{{"S", 1}}, {{"S", 15}}, {{"S", 16}}, {{"S", 17}}, {{"S", 130}}}, 1e-5,
        [axis](CaseModel& m) {
          Dim s = m.module.dims.symbol("S", {1, 1 << 20}), other = m.module.dims.constant(5);
          m.result({composites::softmax(m.build, m.input(axis == 2 ? Shape{other, other, s} : Shape{other, s, other}),
                                        axis)});
        });
  for (int64_t width : {3, 64, 130, 1024, 5000})
    add(fmt::format("softmax_of_{}", width), "", each("N", {0, 1, 5}), 1e-5, [width](CaseModel& m) {
      m.result({composites::softmax(m.build, m.input({m.symbol("N"), m.module.dims.constant(width)}), 1)});
    });
  add("softmax_and_moved", "", each("N", {0, 1, 5}), 1e-5, [](CaseModel& m) {
    Value* x = m.input({m.symbol("N"), m.module.dims.constant(24), m.module.dims.constant(24)});
    m.result({m.build.add(composites::softmax(m.build, x, 2), m.build.transpose(x, {0, 2, 1}))});
  });
  for (int64_t width : {1, 15, 16, 48, 257}) {
    add(fmt::format("layer_norm_{}", width), "reduction", each("N", {0, 1, 3}), 5e-5, [width](CaseModel& m) {
      Value *x = m.input({m.symbol("N"), m.module.dims.constant(width)}), *y = m.input(x->type.shape);
      m.result(
          {composites::layer_norm(m.build, m.build.add(x, y), m.weights({width}), m.weights({width}), 1, 1e-3)[0]});
    });
    add(fmt::format("rms_norm_{}", width), "reduction", each("N", {0, 1, 3}), 5e-5, [width](CaseModel& m) {
      m.result({composites::rms_norm(m.build, m.input({m.symbol("N"), m.module.dims.constant(width)}),
                                     m.weights({width}), 1, 1e-3)});
    });
  }
  return cases;
}

// --- contractions

Cases contraction_cases() {
  Cases cases;
  const auto add = [&](KernelCase added) { cases.push_back(std::move(added)); };
  struct Extents {
    int64_t depth, columns;
  };
  for (auto [k, n] : {Extents{1, 1},
                      {3, 15},
                      {4, 16},
                      {5, 17},
                      {17, 31},
                      {16, 32},
                      {9, 33},
                      {7, 48},
                      {33, 64},
                      {31, 65},
                      {8, 191},
                      {20, 192},
                      {7, 193},
                      {3, 208},
                      {6, 224}})
    add({.name = fmt::format("weights_{}x{}", k, n),
         .kernel = "contraction",
         .build =
             [k = k, n = n](CaseModel& m) {
               m.result({m.build.contract(m.input({m.symbol("M"), m.module.dims.constant(k)}), m.weights({k, n}),
                                          "mk,kn->mn")});
             },
         .values = each("M", kAroundTiles),
         .terms = static_cast<double>(k)});
  for (int64_t rows : {1, 3, 6, 7, 12, 13, 26, 27})
    add({.name = fmt::format("known_rows_{}", rows),
         .kernel = rows <= 6 ? "" : "contraction",
         .build =
             [rows](CaseModel& m) {
               m.result({m.build.contract(m.input(m.shape({rows, 19})), m.weights({200, 19}), "mk,nk->mn")});
             },
         .terms = 19});
  add({.name = "all_live",
       .kernel = "contraction",
       .build =
           [](CaseModel& m) {
             m.result({m.build.contract(m.input({m.symbol("M"), m.symbol("K")}),
                                        m.input({m.symbol("K"), m.symbol("N")}), "mk,kn->mn")});
           },
       .values = {{{"M", 1}, {"K", 1}, {"N", 1}},
                  {{"M", 13}, {"K", 16}, {"N", 32}},
                  {{"M", 14}, {"K", 17}, {"N", 33}},
                  {{"M", 6}, {"K", 3}, {"N", 31}},
                  {{"M", 7}, {"K", 5}, {"N", 64}},
                  {{"M", 55}, {"K", 33}, {"N", 65}},
                  {{"M", 5}, {"K", 0}, {"N", 17}},
                  {{"M", 0}, {"K", 4}, {"N", 16}},
                  {{"M", 4}, {"K", 4}, {"N", 0}}},
       .terms = 33});
  const std::vector<SymbolValues> batches = {
      {{"B", 1}, {"M", 1}}, {{"B", 3}, {"M", 13}}, {{"B", 2}, {"M", 17}}, {{"B", 0}, {"M", 4}}, {{"B", 4}, {"M", 0}}};
  for (const char* spec : {"bmk,bkn->bmn", "bmk,bnk->bmn", "bkm,bkn->bmn"})
    add({.name = fmt::format("batched_{}", cases.size()),
         .kernel = "contraction",
         .build =
             [spec](CaseModel& m) {
               Dim b = m.symbol("B"), rows = m.symbol("M"), k = m.module.dims.constant(18),
                   n = m.module.dims.constant(21);
               const std::string text = spec;
               Value* left = m.input(text[1] == 'k' ? Shape{b, k, rows} : Shape{b, rows, k});
               Value* right = m.input(text[5] == 'n' ? Shape{b, n, k} : Shape{b, k, n});
               m.result({m.build.contract(left, right, spec)});
             },
         .values = batches,
         .terms = 18});
  add({.name = "broadcast_batch",
       .kernel = "contraction",
       .build =
           [](CaseModel& m) {
             Dim k = m.module.dims.constant(18);
             m.result({m.build.matmul(m.input({m.symbol("B"), m.symbol("M"), k}),
                                      m.input({k, m.module.dims.constant(35)}))});
           },
       .values = batches,
       .terms = 18});
  add({.name = "scores_of_symbols",  // columns and rows run-time extents, depth known
       .kernel = "contraction",
       .build =
           [](CaseModel& m) {
             Dim s = m.symbol("S"), b = m.symbol("B"), k = m.module.dims.constant(8);
             m.result({m.build.contract(m.input({b, s, k}), m.input({b, s, k}), "bmk,bnk->bmn")});
           },
       .values = {{{"B", 1}, {"S", 1}},
                  {{"B", 2}, {"S", 16}},
                  {{"B", 1}, {"S", 17}},
                  {{"B", 3}, {"S", 33}},
                  {{"B", 2}, {"S", 0}}},
       .terms = 8});
  add({.name = "epilogue",
       .kernel = "contraction",
       .build =
           [](CaseModel& m) {
             Value* x = m.input({m.symbol("M"), m.module.dims.constant(24)});
             Value* residual = m.input({m.symbol("M"), m.module.dims.constant(40)});
             Value* y = m.build.add(m.build.contract(x, m.weights({24, 40}), "mk,kn->mn"), m.weights({40}));
             m.result({m.build.add(m.relu(y), residual)});
           },
       .values = each("M", kAroundTiles),
       .terms = 26});
  add({.name = "gelu",
       .kernel = "contraction",
       .build =
           [](CaseModel& m) {
             Value* x = m.input({m.symbol("M"), m.module.dims.constant(24)});
             Value* y = m.build.add(m.build.contract(x, m.weights({24, 33}), "mk,kn->mn"), m.weights({33}));
             m.result({composites::gelu(m.build, y, false)});
           },
       .values = each("M", kAroundTiles),
       .tolerance = 3e-5});
  add({.name = "heads",  // the product's result is stored split into heads, its operand read through a transpose
       .kernel = "contraction",
       .build =
           [](CaseModel& m) {
             DimPool& d = m.module.dims;
             Dim s = m.symbol("S");
             Value* x = m.input({d.constant(2), s, d.constant(24)});
             Value* y = m.build.matmul(x, m.weights({24, 48}));
             Value* heads =
                 m.build.transpose(m.build.reshape(y, {d.constant(2), s, d.constant(3), d.constant(16)}), {0, 2, 1, 3});
             m.result({heads, m.build.contract(heads, heads, "bhsd,bhtd->bhst")});
           },
       .values = each("S", {1, 5, 16, 17}),
       .tolerance = 1e-3});  // sums of 16 products of sums of 24
  add({.name = "views",
       .kernel = "contraction",
       .build =
           [](CaseModel& m) {
             GraphBuilder& b = m.build;
             Value* x = m.input({m.symbol("M"), m.module.dims.constant(50)});
             m.result({b.contract(b.slice_axis(x, 1, b.dim(7), b.dim(20)), m.weights({20, 36}), "mk,kn->mn"),
                       b.contract(b.slice_axis(x, 1, b.dim(30), b.dim(20)), m.weights({36, 20}), "mk,nk->mn")});
           },
       .values = each("M", {0, 1, 6, 7, 13, 14, 40}),
       .terms = 20});
  add({.name = "column_of_a",  // A's rows are not contiguous
       .kernel = "contraction",
       .build =
           [](CaseModel& m) {
             m.result({m.build.contract(m.input({m.module.dims.constant(19), m.symbol("M")}), m.weights({19, 34}),
                                        "km,kn->mn")});
           },
       .values = each("M", {0, 1, 6, 7, 13, 14, 40}),
       .terms = 19});
  add({.name = "vector_times_matrix",
       .kernel = "",
       .build =
           [](CaseModel& m) {
             m.result({m.build.contract(m.input(m.shape({130})), m.weights({130, 70}), "k,kn->n"),
                       m.build.contract(m.weights({70, 130}), m.input(m.shape({130})), "mk,k->m")});
           },
       .terms = 130});
  for (DType dtype : {DType::F64, DType::I32, DType::F16})
    add({.name = fmt::format("plain_{}", name_of(dtype)),
         .kernel = "",
         .build =
             [dtype](CaseModel& m) {
               m.result({m.build.contract(m.input({m.symbol("M"), m.module.dims.constant(6)}, dtype),
                                          m.input(m.shape({6, 17}), dtype), "mk,kn->mn")});
             },
         .values = each("M", {0, 1, 5}),
         .tolerance = dtype == DType::F16 ? 1e-2 : 1e-12});
  return cases;
}

// --- convolutions

struct Image {
  int64_t channels, height, width;
};

KernelCase conv_case(const std::string& name, const std::string& kernel, Image image, int64_t outputs,
                     std::vector<int64_t> window, ConvOptions options, double terms_factor = 1) {
  double terms = static_cast<double>(image.channels / options.group) + 1;
  for (int64_t extent : window) terms *= static_cast<double>(extent);
  return {.name = name,
          .kernel = kernel,
          .build =
              [=](CaseModel& m) {
                DimPool& d = m.module.dims;
                Shape shape = {m.symbol("N"), d.constant(image.channels), d.constant(image.height),
                               d.constant(image.width)};
                if (window.size() == 1) shape.erase(shape.begin() + 2);
                m.result({m.relu(m.conv(m.input(shape), outputs, window, options))});
              },
          .values = each("N", {0, 1, 3}),
          .terms = terms * terms_factor * terms_factor};
}

// A convolution in groups whose weights are an input, or its gradient by the image: a transposed one.
KernelCase live_groups(const std::string& name, const std::string& kernel, Image image, int64_t outputs,
                       std::vector<int64_t> window, ConvOptions options) {
  double terms = static_cast<double>(image.channels) / static_cast<double>(options.group);
  for (int64_t extent : window) terms *= static_cast<double>(extent);
  return {.name = name,
          .kernel = kernel,
          .build =
              [=](CaseModel& m) {
                DimPool& d = m.module.dims;
                const size_t spatial = window.size();
                const bool transposed = !options.output_padding.empty();
                Shape extents = {m.symbol("N"), d.constant(image.channels)};
                if (spatial == 2) extents.push_back(d.constant(image.height));
                extents.push_back(d.constant(image.width));
                Shape weight = transposed ? m.shape({image.channels, outputs / options.group})
                                          : m.shape({outputs, image.channels / options.group});
                for (int64_t extent : window) weight.push_back(d.constant(extent));
                Value *x = m.input(extents), *w = m.input(weight);
                ConvOptions of_axes = options;
                of_axes.strides.resize(spatial);
                of_axes.dilations.resize(spatial);
                of_axes.pads.resize(2 * spatial);
                Params params{{"group", options.group},
                              {"strides", of_axes.strides},
                              {"dilations", of_axes.dilations},
                              {"pads", m.shape(of_axes.pads)}};
                if (transposed) params.set("output_padding", options.output_padding);
                m.result({m.build.create(transposed ? OpKind::ConvTranspose : OpKind::Conv, {x, w}, params).result()});
              },
          .values = each("N", {0, 1, 3}),
          .terms = terms};
}

// Forward, and given back from images of any stride, with windows that overlap and that do not.
void add_live_groups(Cases& cases, const std::string& kernel, int64_t in, int64_t out, int64_t groups, bool all) {
  const auto add = [&](const char* what, Image image, std::vector<int64_t> window, ConvOptions options) {
    options.group = groups;
    cases.push_back(live_groups(fmt::format("live_{}_{}_{}_{}", in, out, groups, what), kernel, image, out,
                                std::move(window), std::move(options)));
  };
  add("strided", {in, 7, 15}, {5, 3}, {.strides = {2, 2}, .pads = {2, 1, 2, 0}});
  add("back", {in, 4, 13}, {3, 3}, {.strides = {1, 2}, .pads = {1, 1, 1, 1}, .output_padding = {0, 0}});
  if (!all) return;
  add("dilated", {in, 8, 9}, {2, 3}, {.strides = {1, 2}, .dilations = {3, 2}, .pads = {1, 2, 0, 1}});
  add("line", {in, 1, 30}, {4}, {.strides = {3}, .pads = {2, 1}});
  add("back_wide", {in, 3, 7}, {5, 4}, {.strides = {2, 1}, .pads = {2, 0, 1, 1}, .output_padding = {0, 0}});
  add("back_gaps", {in, 3, 7}, {1, 2}, {.strides = {2, 3}, .output_padding = {1, 0}});
  add("back_dilated", {in, 4, 6}, {3, 2},
      {.strides = {1, 2}, .dilations = {2, 3}, .pads = {1, 0, 2, 1}, .output_padding = {0, 1}});
  add("back_line", {in, 1, 17}, {8}, {.strides = {4}, .pads = {2, 2}, .output_padding = {0}});
}

Cases convolution_cases() {
  Cases cases;
  const auto add = [&](KernelCase added) { cases.push_back(std::move(added)); };
  const ConvOptions padded{.pads = {1, 1, 1, 1}}, plain{}, halved{.strides = {2, 2}, .pads = {1, 1, 1, 1}};
  for (int64_t width : {1, 2, 11, 12, 13, 14, 25, 27})
    add(conv_case(fmt::format("width_{}", width), "conv direct", {17, 3, width}, 20, {3, 3}, padded));
  struct Channels {
    int64_t in, out;
  };
  struct Groups {
    int64_t in, out, groups;
  };
  for (auto [in, out] : {Channels{1, 1}, {5, 16}, {15, 17}, {16, 31}, {17, 32}, {31, 33}, {32, 48}, {33, 65}})
    add(conv_case(fmt::format("channels_{}_{}", in, out), "conv direct", {in, 4, 7}, out, {1, 1}, plain));
  for (auto [in, out] : {Channels{4, 16}, {5, 15}, {16, 17}, {33, 16}})
    add(conv_case(fmt::format("strided_{}_{}", in, out), "conv direct", {in, 9, 14}, out, {3, 3}, halved));
  add(conv_case("pointwise_strided", "conv direct", {18, 9, 27}, 34, {1, 1}, {.strides = {2, 2}}));
  add(conv_case("first_layer", "conv direct", {3, 23, 29}, 32, {7, 7}, {.strides = {2, 2}, .pads = {3, 3, 3, 3}}));
  add(conv_case("first_layer_ragged", "conv direct", {3, 9, 9}, 24, {3, 3}, {.strides = {2, 2}, .pads = {0, 0, 1, 1}}));
  add(conv_case("first_layer_of_one", "conv direct", {1, 8, 13}, 17, {5, 5}, {.pads = {2, 2, 2, 2}}));
  add(conv_case("oblong_window", "conv direct", {16, 7, 15}, 16, {1, 7}, {.strides = {1, 2}, .pads = {0, 3, 0, 3}}));
  add(conv_case("uneven_pads", "conv direct", {16, 7, 15}, 16, {2, 2}, {.pads = {2, 0, 0, 3}}));
  add(conv_case("dilated", "conv direct", {17, 9, 16}, 18, {3, 3}, {.dilations = {2, 3}, .pads = {2, 3, 2, 3}}));
  add(conv_case("line", "conv direct", {18, 1, 40}, 33, {5}, {.strides = {2}, .pads = {2, 2}}));
  // Groups of whole blocks, and such that share blocks.
  for (auto [in, out, groups] : {Groups{64, 96, 2},
                                 {96, 32, 2},
                                 {48, 48, 2},
                                 {40, 48, 2},
                                 {96, 96, 3},
                                 {36, 24, 4},
                                 {20, 40, 10},
                                 {9, 18, 9},
                                 {54, 6, 2}})
    for (int64_t stride : {1, 2})
      add(conv_case(fmt::format("groups_{}_{}_{}_stride_{}", in, out, groups, stride), "conv direct", {in, 5, 15}, out,
                    {3, 3}, {.strides = {stride, stride}, .pads = {1, 1, 1, 1}, .group = groups}));
  for (auto [in, out, groups] : {Groups{32, 32, 8}, {36, 36, 9}, {48, 48, 6}, {20, 20, 10}})
    for (int64_t width : {1, 7, 30})
      add(conv_case(fmt::format("lanes_{}_{}_{}", in, groups, width), "grouped lanes", {in, 5, width}, out, {3, 2},
                    {.strides = {2, 1 + width % 2}, .dilations = {1, 2}, .pads = {1, 2, 1, 2}, .group = groups}));
  add(conv_case("groups_of_a_line", "conv direct", {48, 1, 40}, 96, {5}, {.strides = {2}, .pads = {2, 2}, .group = 3}));
  add(conv_case("lanes_of_a_line", "grouped lanes", {16, 1, 40}, 16, {5},
                {.strides = {1}, .pads = {2, 2}, .group = 4}));
  add(conv_case("transposed_phases", "conv direct", {18, 5, 7}, 20, {2, 2},
                {.strides = {2, 2}, .output_padding = {0, 0}}));
  add(conv_case("transposed_gaps", "conv direct", {16, 5, 13}, 17, {2, 3},
                {.strides = {3, 3}, .output_padding = {0, 0}}));
  for (int64_t channels : {3, 6, 17, 32})
    for (int64_t kernel : {3, 4})
      add(conv_case(fmt::format("transposed_overlaps_{}_{}", channels, kernel), "conv direct", {channels, 5, 14}, 5,
                    {kernel, kernel},
                    {.strides = {2, 2}, .pads = {1, 1, 1, 1}, .output_padding = {4 - kernel, 4 - kernel}}));
  add(conv_case("transposed_uneven", "conv direct", {18, 6, 7}, 33, {5, 3},
                {.strides = {3, 1}, .pads = {0, 2, 3, 0}, .output_padding = {2, 0}}));
  add(conv_case("transposed_dilated", "conv direct", {16, 5, 7}, 16, {3, 4},
                {.strides = {2, 3}, .dilations = {2, 2}, .pads = {1, 0, 2, 1}, .output_padding = {1, 2}}));
  add(conv_case("transposed_padded_far", "conv direct", {16, 5, 7}, 16, {2, 2},
                {.strides = {2, 2}, .output_padding = {1, 1}}));
  add(conv_case("transposed_line", "conv direct", {18, 1, 21}, 20, {8},
                {.strides = {4}, .pads = {2, 2}, .output_padding = {0}}));
  for (auto [in, out, groups] : {Groups{8, 6, 2}, {64, 32, 2}, {36, 54, 3}})
    add(conv_case(fmt::format("transposed_groups_{}_{}_{}", in, out, groups), "conv direct", {in, 4, 5}, out, {3, 3},
                  {.strides = {1, 2}, .group = groups, .output_padding = {0, 1}}));
  add(conv_case("transposed_lanes", "grouped lanes", {20, 4, 15}, 20, {3, 3},
                {.strides = {1, 2}, .group = 5, .output_padding = {0, 1}}));
  for (auto [in, out, groups] : {Groups{40, 24, 2}, {64, 32, 2}, {9, 18, 9}})
    add_live_groups(cases, "conv direct", in, out, groups, in == 40);
  for (auto [channels, groups] : {std::pair<int64_t, int64_t>{20, 10}, {40, 5}})
    add_live_groups(cases, "grouped lanes", channels, channels, groups, channels == 20);
  // A chain: the second's halo is filled by the first; a residual joins; the last result goes dense into a product.
  add({.name = "chain",
       .kernel = "conv direct",
       .build =
           [](CaseModel& m) {
             DimPool& d = m.module.dims;
             Value* x = m.input({m.symbol("N"), d.constant(3), d.constant(11), d.constant(14)});
             Value* a = m.relu(m.conv(x, 17, {3, 3}, {.pads = {1, 1, 1, 1}}));
             Value* b = m.relu(m.conv(a, 17, {3, 3}, {.pads = {1, 1, 1, 1}}));
             Value* c = m.build.add(m.conv(b, 17, {1, 1}, {}), a);
             m.result({m.build.concat({c, a}, 1), m.build.reduce(OpKind::ReduceMean, m.relu(c), {2, 3})});
           },
       .values = each("N", {0, 1, 3}),
       .tolerance = 5e-4});  // values of some hundreds, sums of sums of sums
  // Where a relu let nothing by, in blocks too, read by two kernels and by one that is dense.
  add({.name = "marks",
       .kernel = "conv direct",
       .build =
           [](CaseModel& m) {
             DimPool& d = m.module.dims;
             GraphBuilder& b = m.build;
             Value* x = m.input({m.symbol("N"), d.constant(3), d.constant(5), d.constant(6)});
             Value* y = m.conv(x, 17, {3, 3}, {.pads = {1, 1, 1, 1}});
             Value* marks = b.scalar_op(ScalarOp::Less, {y, b.like(y, 0)});
             Value* kept = b.select(marks, b.like(y, 0), m.conv(x, 17, {1, 1}, {}));
             Value* lost = b.select(marks, m.conv(m.relu(y), 17, {1, 1}, {}), b.like(y, 0));
             m.result({m.conv(kept, 18, {3, 3}, {.pads = {1, 1, 1, 1}}), m.conv(lost, 16, {1, 1}, {}),
                       b.reduce(OpKind::ReduceSum, b.convert(marks, DType::F32), {2, 3})});
           },
       .values = each("N", {0, 1, 3}),
       .tolerance = 5e-4});
  add({.name = "run_time_image",
       .kernel = "conv",
       .build =
           [](CaseModel& m) {
             DimPool& d = m.module.dims;
             Value* x =
                 m.input({m.symbol("N"), d.constant(17), d.symbol("H", {1, 1 << 20}), d.symbol("W", {1, 1 << 20})});
             m.result({m.conv(x, 18, {3, 3}, {.strides = {2, 1}, .pads = {1, 1, 1, 1}})});
           },
       .values = {{{"N", 1}, {"H", 1}, {"W", 1}},
                  {{"N", 2}, {"H", 4}, {"W", 13}},
                  {{"N", 1}, {"H", 5}, {"W", 29}},
                  {{"N", 0}, {"H", 3}, {"W", 14}}},
       .terms = 9 * 17 + 1});
  for (const char* which : {"conv", "depthwise", "transposed"})
    add({.name = fmt::format("dense_{}", which),
         .kernel = "",
         .build =
             [name = std::string(which)](CaseModel& m) {
               DimPool& d = m.module.dims;
               Value* x = m.input({m.symbol("N"), d.constant(6), d.constant(7), d.constant(9)});
               ConvOptions options{.pads = {1, 1, 1, 1}, .group = name == "depthwise" ? 6 : 1};
               if (name == "transposed") options.output_padding = {0, 0};
               m.result({m.conv(x, name == "depthwise" ? 12 : 7, {3, 3}, options)});
             },
         .values = each("N", {0, 1, 3}),
         .terms = 55,
         .passes = {"form-groups"}});
  for (auto [in, out] : {Channels{5, 4}, {17, 33}, {16, 32}, {3, 18}})
    for (bool transposed : {false, true})
      add({.name = fmt::format("live_weights_{}_{}{}", in, out, transposed ? "_transposed" : ""),
           .kernel = "conv direct",
           .build =
               [=, in = in, out = out](CaseModel& m) {
                 Value *x = m.input(m.shape({2, in, 6, 7})),
                       *w = m.input(transposed ? m.shape({in, out, 3, 2}) : m.shape({out, in, 3, 2}));
                 Params params{{"group", int64_t{1}},
                               {"strides", std::vector<int64_t>{2, 2}},
                               {"dilations", std::vector<int64_t>{1, 1}},
                               {"pads", m.shape({1, 0, 1, 1})}};
                 if (transposed) params.set("output_padding", std::vector<int64_t>{1, 0});
                 m.result({m.build.create(transposed ? OpKind::ConvTranspose : OpKind::Conv, {x, w}, params).result()});
               },
           .terms = static_cast<double>(in * 6)});
  for (KernelCase& one : cases)
    if (one.name.starts_with("groups_") || one.name.starts_with("transposed_")) one.gpu_kernel = "product";
  return cases;
}

Cases depthwise_cases() {
  Cases cases;
  for (int64_t channels : {8, 15, 16, 17, 32, 50})
    for (int64_t stride : {1, 2})
      cases.push_back(conv_case(fmt::format("channels_{}_stride_{}", channels, stride), "depthwise", {channels, 6, 15},
                                channels, {3, 3},
                                {.strides = {stride, stride}, .pads = {1, 1, 1, 1}, .group = channels}));
  for (int64_t width : {1, 2, 4, 7, 8, 13, 30})
    cases.push_back(conv_case(fmt::format("width_{}", width), "depthwise", {18, 2, width}, 18, {5, 5},
                              {.pads = {2, 2, 2, 2}, .group = 18}));
  cases.push_back(conv_case("uneven", "depthwise", {24, 8, 9}, 24, {3, 2},
                            {.dilations = {1, 2}, .pads = {0, 1, 2, 1}, .group = 24, .bias = false}));
  return cases;
}

Cases winograd_cases() {
  // Three points more or less and cancellation: some four times a direct sum's error (ir/winograd.cpp), ten at most.
  constexpr double kError = 10;
  Cases cases;
  struct Extents {
    int64_t in, out, height, width, pad;
  };
  for (auto [in, out, height, width, pad] :
       {Extents{32, 32, 16, 16, 1}, {33, 47, 13, 17, 1}, {40, 64, 18, 15, 0}, {64, 33, 31, 9, 1}, {48, 80, 14, 14, 2}})
    cases.push_back(conv_case(fmt::format("{}_{}_{}x{}_{}", in, out, height, width, pad), "winograd",
                              {in, height, width}, out, {3, 3}, {.pads = {pad, pad, pad, pad}}, kError));
  return cases;
}

Cases winograd_axis_cases() {
  constexpr double kError = 10;  // as above
  Cases cases;
  const auto add = [&](const std::string& name, const std::string& schedule, Image image, int64_t outputs,
                       std::vector<int64_t> window, ConvOptions options) {
    cases.push_back(conv_case(name, schedule, image, outputs, std::move(window), std::move(options), kError));
  };
  const char *four = "winograd F(4,4) along", *three = "winograd F(4,3) along";
  add("row_of_7", four, {47, 17, 17}, 80, {1, 7}, {.pads = {0, 3, 0, 3}});
  add("column_of_7", four, {48, 17, 17}, 33, {7, 1}, {.pads = {3, 0, 3, 0}});
  add("row_of_3", three, {64, 12, 16}, 65, {1, 3}, {.pads = {0, 1, 0, 1}});
  add("column_of_9", three, {32, 23, 13}, 70, {9, 1}, {.strides = {1, 2}});
  add("square_of_5", three, {32, 13, 15}, 17, {5, 5}, {.pads = {2, 2, 2, 2}});
  add("strided_lines", four, {32, 21, 30}, 33, {7, 11}, {.strides = {2, 1}, .pads = {3, 5, 3, 5}});
  add("dilated_lines", four, {31, 15, 16}, 32, {3, 8}, {.dilations = {3, 1}, .pads = {3, 2, 0, 4}});
  add("line", four, {32, 1, 150}, 47, {11}, {.pads = {5, 5}});
  add("line_of_9", three, {48, 1, 91}, 64, {9}, {.pads = {0, 3}, .bias = false});
  // Extents that only the call knows.
  const auto symbolic = [&](const std::string& name, bool width_alone, std::vector<int64_t> window,
                            ConvOptions options) {
    const double terms = 32.0 * static_cast<double>(window[0] * window[1]) + 1;
    cases.push_back({.name = name,
                     .kernel = four,
                     .build =
                         [=](CaseModel& m) {
                           DimPool& d = m.module.dims;
                           Dim height = width_alone ? d.constant(13) : d.symbol("H", {1, 1 << 20});
                           Value* x = m.input({m.symbol("N"), d.constant(32), height, d.symbol("W", {1, 1 << 20})});
                           m.result({m.relu(m.conv(x, 34, window, options))});
                         },
                     .values = {{{"N", 1}, {"H", 1}, {"W", 1}},
                                {{"N", 2}, {"H", 4}, {"W", 13}},
                                {{"N", 1}, {"H", 13}, {"W", 4}},
                                {{"N", 1}, {"H", 6}, {"W", 150}},
                                {{"N", 1}, {"H", 150}, {"W", 7}},
                                {{"N", 0}, {"H", 3}, {"W", 14}}},
                     .terms = terms * kError * kError});
  };
  symbolic("run_time_width", true, {5, 11}, {.strides = {2, 1}, .pads = {2, 5, 2, 5}});
  symbolic("run_time_image", false, {2, 7}, {.pads = {1, 3, 0, 3}});
  symbolic("run_time_column", false, {8, 2}, {.strides = {1, 2}, .pads = {4, 1, 3, 1}});
  return cases;
}

// --- windows

Cases pool_cases() {
  Cases cases;
  struct Window {
    const char* name;
    std::vector<int64_t> kernel, strides, dilations, pads;
  };
  const Window windows[] = {{"2x2", {2, 2}, {2, 2}, {1, 1}, {0, 0, 0, 0}},
                            {"3x3", {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}},
                            {"corner", {3, 3}, {2, 2}, {1, 1}, {0, 0, 1, 1}},
                            {"far", {2, 4}, {1, 3}, {1, 1}, {1, 3, 0, 2}},
                            {"dilated", {2, 3}, {1, 1}, {2, 2}, {1, 1, 0, 2}}};
  for (int64_t channels : {3, 16, 17})
    for (const Window& window : windows)
      for (bool blocked : {false, true})
        cases.push_back(
            {.name = fmt::format("{}_of_{}{}", window.name, channels, blocked ? "_blocked" : ""),
             .kernel = "pool",
             .build =
                 [=](CaseModel& m) {
                   DimPool& d = m.module.dims;
                   constexpr int64_t kHeight = 7, kWidth = 12;
                   Value* x = m.input({m.symbol("N"), d.constant(channels), d.constant(kHeight), d.constant(kWidth)});
                   if (blocked) x = m.conv(x, channels, {1, 1}, {});
                   const auto size = [&](int axis, int64_t extent) {
                     const int64_t covered = window.dilations[axis] * (window.kernel[axis] - 1) + 1;
                     return d.constant(
                         (extent + window.pads[axis] + window.pads[2 + axis] - covered) / window.strides[axis] + 1);
                   };
                   Params params{{"kernel", window.kernel},
                                 {"strides", window.strides},
                                 {"dilations", window.dilations},
                                 {"pads", m.shape(window.pads)},
                                 {"sizes", Shape{size(0, kHeight), size(1, kWidth)}}};
                   std::vector<Value*> results = {m.build.create(OpKind::MaxPool, {x}, params).result()};
                   for (int64_t include_pad : {0, 1}) {
                     params.set("include_pad", include_pad);
                     results.push_back(m.build.create(OpKind::AveragePool, {x}, params).result());
                   }
                   if (blocked)
                     for (Value*& result : results) result = m.conv(result, 5, {1, 1}, {});
                   m.result(results);
                 },
             .values = each("N", {0, 1, 3}),
             .tolerance = blocked ? 2e-4 : 1e-5});
  return cases;
}

// --- parts of a concat written where they belong

Cases placed_cases() {
  Cases cases;
  const auto add = [&](const std::string& name, const std::string& kernel, std::vector<SymbolValues> values,
                       std::function<void(CaseModel&)> build) {
    cases.push_back({.name = name,
                     .kernel = kernel,
                     .build = std::move(build),
                     .values = std::move(values),
                     .tolerance = 1e-3});  // several convolutions, one after the other
  };
  const ConvOptions padded{.pads = {1, 1, 1, 1}};
  const std::vector<SymbolValues> images = each("N", {0, 1, 3});
  add("dense_block", "conv", images, [=](CaseModel& m) {
    Value* x = m.conv(
        m.input({m.symbol("N"), m.module.dims.constant(16), m.module.dims.constant(6), m.module.dims.constant(7)}), 32,
        {1, 1}, {});
    std::vector<Value*> parts = {x};
    for (int layer = 0; layer < 3; ++layer) {
      Value* all = parts.size() > 1 ? m.build.concat(parts, 1) : x;
      parts.push_back(m.conv(m.relu(all), layer == 2 ? 20 : 16, {3, 3}, padded));
    }
    m.result({m.conv(m.build.concat(parts, 1), 8, {1, 1}, {})});
  });
  add("skip", "conv", images, [=](CaseModel& m) {  // the halo of one reader, an input among the parts
    DimPool& d = m.module.dims;
    Value* input = m.input({m.symbol("N"), d.constant(16), d.constant(5), d.constant(9)});
    Value *a = m.relu(m.conv(input, 32, {3, 3}, padded)), *b = m.conv(a, 16, {3, 3}, padded);
    m.result({m.conv(m.build.concat({b, input, a, b}, 1), 17, {3, 3}, padded),
              m.build.reduce(OpKind::ReduceMean, a, {2, 3})});
  });
  for (int64_t channels : {1, 5, 16, 20}) {  // one value as several parts, which begin at blocks or within them
    add(fmt::format("repeated_{}", channels), "conv", images, [=](CaseModel& m) {
      DimPool& d = m.module.dims;
      Value* x = m.input({m.symbol("N"), d.constant(3), d.constant(5), d.constant(7)});
      Value* a = m.conv(x, channels, {1, 1}, {});
      m.result({m.conv(m.relu(m.build.concat({a, a}, 1)), 4, {1, 1}, {}), m.build.concat({a, a, a}, 1),
                m.conv(m.build.concat({a, a}, 1), 4, {1, 1}, {})});
    });
  }
  add("pooled", "pool", images, [=](CaseModel& m) {
    Value* x = m.conv(
        m.input({m.symbol("N"), m.module.dims.constant(3), m.module.dims.constant(8), m.module.dims.constant(8)}), 16,
        {1, 1}, {});
    Shape pads(4, m.module.dims.constant(0)), sizes(2, m.module.dims.constant(4));
    Value* pooled = m.build
                        .create(OpKind::MaxPool, {x},
                                {{"kernel", std::vector<int64_t>{2, 2}},
                                 {"strides", std::vector<int64_t>{2, 2}},
                                 {"dilations", std::vector<int64_t>{1, 1}},
                                 {"pads", pads},
                                 {"sizes", sizes}})
                        .result();
    Value* strided = m.conv(x, 48, {3, 3}, {.strides = {2, 2}, .pads = {1, 1, 1, 1}});
    m.result({m.conv(m.build.scalar_op(ScalarOp::Tanh, {m.build.concat({strided, pooled}, 1)}), 16, {1, 1}, {})});
  });
  add("rows", "contraction", each("M", {0, 1, 5, 27}), [](CaseModel& m) {
    Value* x = m.input({m.symbol("M"), m.module.dims.constant(24)});
    const auto product = [&](int64_t columns) { return m.build.matmul(x, m.weights({24, columns})); };
    Value *a = product(17), *b = m.build.scalar_op(ScalarOp::Tanh, {product(33)});
    m.result({m.build.concat({a, b, product(16)}, 1), m.build.add(a, m.build.like(a, 1))});
  });
  // Parts that begin in the middle of 16 bytes, though their rows and columns go by fours.
  add("rows_apart", "contraction", each("M", {0, 1, 5, 27}), [](CaseModel& m) {
    Value* x = m.input({m.symbol("M"), m.module.dims.constant(24)});
    const auto product = [&](int64_t columns) { return m.build.matmul(x, m.weights({24, columns})); };
    m.result({m.build.concat({product(2), product(4), product(6)}, 1)});
  });
  add("pieces", "contraction", each("M", {0, 1, 5, 27}), [](CaseModel& m) {
    Value* x = m.input({m.symbol("M"), m.module.dims.constant(24)});
    Value* a = m.build.matmul(x, m.weights({24, 24}));
    Value* b = m.build.matmul(a, m.weights({24, 24}));  // of a piece of the result
    m.result({m.build.concat({x, a, b, a}, 0)});
  });
  return cases;
}

// --- attention, recurrence

Cases attention_cases() {
  Cases cases;
  struct Form {
    const char* name;
    int64_t heads, groups, depth, width;
    bool mask, causal;
    double softcap = 0;
  };
  for (const Form& form :
       {Form{"capped", 2, 1, 16, 16, true, false, 1.5}, Form{"plain", 2, 2, 16, 16, false, false},
        Form{"masked", 2, 2, 24, 32, true, false}, Form{"causal", 3, 3, 8, 48, false, true},
        Form{"grouped", 4, 2, 64, 64, false, false}, Form{"grouped_masked_causal", 6, 2, 17, 16, true, true}})
    cases.push_back({.name = form.name,
                     .kernel = "attention",
                     .build =
                         [=](CaseModel& m) {
                           DimPool& d = m.module.dims;
                           Dim b = m.symbol("B"), s = m.symbol("S"), t = m.symbol("T");
                           Value* q = m.input({b, d.constant(form.heads), s, d.constant(form.depth)});
                           Value* k = m.input({b, d.constant(form.groups), t, d.constant(form.depth)});
                           Value* v = m.input({b, d.constant(form.groups), t, d.constant(form.width)});
                           Value* mask = form.mask ? m.input({b, d.constant(1), s, t}) : nullptr;
                           m.result({composites::attention(m.build, q, k, v, mask, 0.25, form.causal, form.softcap)});
                         },
                     .values = {{{"B", 1}, {"S", 1}, {"T", 1}},
                                {{"B", 2}, {"S", 16}, {"T", 16}},
                                {{"B", 1}, {"S", 17}, {"T", 33}},
                                {{"B", 1}, {"S", 31}, {"T", 64}},
                                {{"B", 1}, {"S", 33}, {"T", 65}},
                                {{"B", 3}, {"S", 1}, {"T", 27}},
                                {{"B", 1}, {"S", 4}, {"T", 48}},
                                {{"B", 1}, {"S", 5}, {"T", 49}},
                                {{"B", 0}, {"S", 2}, {"T", 3}},
                                {{"B", 2}, {"S", 0}, {"T", 3}},
                                {{"B", 2}, {"S", 3}, {"T", 0}}},
                     .tolerance = 2e-5});
  // Wider heads take smaller tiles of a GPU; of 512 the smallest there is (test/passes/attention_tiles_test.cpp).
  for (const int64_t head : {128, 240, 256, 512})
    cases.push_back({.name = fmt::format("heads_of_{}", head),
                     .kernel = "attention",
                     .build =
                         [=](CaseModel& m) {
                           const auto input = [&](const char* length) {
                             return m.input({m.module.dims.constant(1), m.module.dims.constant(2), m.symbol(length),
                                             m.module.dims.constant(head)});
                           };
                           Value *q = input("S"), *k = input("T"), *v = input("T");
                           m.result({composites::attention(m.build, q, k, v, nullptr, 0.0625, true)});
                         },
                     .values = {{{"S", 1}, {"T", 1}}, {{"S", 17}, {"T", 33}}, {{"S", 70}, {"T", 70}}},
                     .tolerance = 2e-5});
  // Few queries over many keys, which a GPU splits, the last part ragged; of 256 in its smallest slots.
  struct Decoding {
    int64_t head, width;
    bool masked;
  };
  for (const Decoding& form : {Decoding{64, 64, false}, Decoding{80, 48, true}, Decoding{256, 256, false}})
    cases.push_back({.name = fmt::format("decoding_heads_of_{}", form.head),
                     .build =
                         [=](CaseModel& m) {
                           DimPool& d = m.module.dims;
                           Dim b = m.symbol("B"), s = m.symbol("S"), t = m.symbol("T");
                           Value* q = m.input({b, d.constant(6), s, d.constant(form.head)});
                           Value* k = m.input({b, d.constant(2), t, d.constant(form.head)});
                           Value* v = m.input({b, d.constant(2), t, d.constant(form.width)});
                           Value* mask = form.masked ? m.input({b, d.constant(1), s, t}) : nullptr;
                           m.result({composites::attention(m.build, q, k, v, mask, 0.0625, !form.masked)});
                         },
                     .values = {{{"B", 1}, {"S", 1}, {"T", 130}},
                                {{"B", 2}, {"S", 5}, {"T", 517}},
                                {{"B", 1}, {"S", 6}, {"T", 300}},
                                {{"B", 0}, {"S", 1}, {"T", 300}}},
                     .tolerance = 2e-5,
                     .gpu_kernel = "attention lanes="});
  cases.push_back({.name = "one_query",
                   .kernel = "attention row",
                   .build =
                       [](CaseModel& m) {
                         DimPool& d = m.module.dims;
                         const auto input = [&](int64_t heads, Dim length) {
                           return m.input({m.symbol("B"), d.constant(heads), length, d.constant(64)});
                         };
                         Value *q = input(4, d.constant(1)), *k = input(2, m.symbol("T")), *v = input(2, m.symbol("T"));
                         m.result({composites::attention(m.build, q, k, v, nullptr, 0.125, true)});
                       },
                   .values = {{{"B", 1}, {"T", 1}}, {{"B", 3}, {"T", 127}}, {{"B", 1}, {"T", 0}}},
                   .tolerance = 2e-5});
  // Masks by which of [B, H, S, T] they have; keys and values as an exporter's reshapes and transposes leave them.
  for (const char* mask : {"BHST", "B11T", "1HS1", "11ST", "ST", "1111"})
    cases.push_back({.name = fmt::format("mask_{}", mask),
                     .kernel = "attention",
                     .build =
                         [=](CaseModel& m) {
                           GraphBuilder& b = m.build;
                           DimPool& d = m.module.dims;
                           Dim batch = m.symbol("B"), s = m.symbol("S"), t = m.symbol("T");
                           const auto heads = [&](Dim length) {
                             return b.transpose(b.reshape(m.input({batch, length, d.constant(64)}),
                                                          {batch, length, d.constant(2), d.constant(32)}),
                                                {0, 2, 1, 3});
                           };
                           Value *q = heads(s), *k = heads(t), *v = heads(t);
                           Shape shape;
                           for (const char* letter = mask; *letter; ++letter)
                             shape.push_back(*letter == 'B'   ? batch
                                             : *letter == 'S' ? s
                                             : *letter == 'T' ? t
                                                              : d.constant(*letter == 'H' ? 2 : 1));
                           Value* y = composites::attention(b, q, k, v, m.input(shape), 0.2, false);
                           m.result({b.reshape(b.transpose(y, {0, 2, 1, 3}), {batch, s, d.constant(64)})});
                         },
                     .values = {{{"B", 1}, {"S", 1}, {"T", 1}},
                                {{"B", 2}, {"S", 5}, {"T", 7}},
                                {{"B", 1}, {"S", 18}, {"T", 40}},
                                {{"B", 1}, {"S", 2}, {"T", 0}}},
                     .tolerance = 2e-5});
  return cases;
}

Cases linear_attention_cases() {
  Cases cases;
  struct Form {
    const char* name;
    int64_t heads, groups, depth, width;
    bool decay, beta;
    bool decay_of_depth = false;
  };
  for (const Form& form :
       {Form{"linear", 2, 2, 8, 16, false, false}, Form{"gated", 4, 2, 5, 17, true, false},
        Form{"gated_deep", 3, 3, 16, 33, true, false, true}, Form{"delta", 6, 2, 7, 1, false, true},
        Form{"gated_delta", 2, 1, 64, 40, true, true}, Form{"gated_delta_deep", 1, 1, 1, 15, true, true, true}})
    cases.push_back({.name = form.name,
                     .kernel = "linear attention",
                     .build =
                         [=](CaseModel& m) {
                           DimPool& d = m.module.dims;
                           Dim b = m.symbol("B"), t = m.symbol("T"), groups = d.constant(form.groups),
                               depth = d.constant(form.depth), width = d.constant(form.width);
                           composites::LinearAttention of{.q = m.input({b, t, d.constant(form.heads), depth}),
                                                          .k = m.input({b, t, groups, depth}),
                                                          .v = m.input({b, t, groups, width}),
                                                          .state = m.input({b, groups, depth, width}),
                                                          .scale = 0.5};
                           const auto gentle = [&](Value* x) {  // so that the state neither grows nor dies
                             return m.build.mul(x, m.build.like(x, 0.1));
                           };
                           of.k = gentle(of.k);
                           if (form.decay)
                             of.decay = gentle(m.input({b, t, groups, form.decay_of_depth ? depth : d.constant(1)}));
                           if (form.beta) of.beta = m.input({b, t, groups});
                           m.result(composites::linear_attention(m.build, of));
                         },
                     .values = {{{"B", 1}, {"T", 1}},
                                {{"B", 2}, {"T", 5}},
                                {{"B", 3}, {"T", 17}},
                                {{"B", 2}, {"T", 0}},
                                {{"B", 0}, {"T", 3}}},
                     .tolerance = 1e-4});
  return cases;
}

Cases recurrent_cases() {
  Cases cases;
  struct Form {
    const char* cell;
    int64_t hidden;
    int direction;
    bool lengths;
  };
  std::vector<Form> forms;
  for (const char* cell : {"lstm", "gru", "gru_linear", "rnn", "rnn_relu"})
    for (int direction : {0, 1, 2})
      forms.push_back({cell, direction == 0 ? 16 : direction == 1 ? 17 : 40, direction, direction == 1});
  for (int64_t hidden : {1, 15, 32, 128})
    forms.push_back({"lstm", hidden, 0, false}), forms.push_back({"gru", hidden, 2, true});
  for (const Form& form : forms)
    cases.push_back({.name = fmt::format("{}_{}_direction{}", form.cell, form.hidden, form.direction),
                     .kernel = fmt::format("recurrent {}", form.cell),
                     .build =
                         [=](CaseModel& m) {
                           DimPool& d = m.module.dims;
                           const int64_t directions = form.direction == composites::kBothDirections ? 2 : 1;
                           const int64_t rows = composites::gates_of(form.cell) * form.hidden;
                           const std::string cell = form.cell;
                           Dim b = m.symbol("B");
                           Shape state = {d.constant(directions), b, d.constant(form.hidden)};
                           Value* x = m.input({m.symbol("S"), b, d.constant(7)});
                           composites::Recurrence of{.cell = cell,
                                                     .direction = form.direction,
                                                     .r = m.weights({directions, rows, form.hidden}),
                                                     .h0 = m.input(state)};
                           if (cell == "lstm") of.c0 = m.input(state);
                           if (cell == "gru_linear") of.r_bias = m.weights({directions, form.hidden});
                           if (form.lengths) of.lengths = m.input({b}, DType::I32);
                           m.result(composites::recurrent_layer(m.build, x, m.weights({directions, rows, 7}),
                                                                m.weights({directions, rows}), of));
                         },
                     .values = {{{"S", 1}, {"B", 1}},
                                {{"S", 5}, {"B", 1}},
                                {{"S", 3}, {"B", 2}},
                                {{"S", 4}, {"B", 5}},
                                {{"S", 2}, {"B", 9}},
                                {{"S", 0}, {"B", 2}},
                                {{"S", 2}, {"B", 0}}},
                     .tolerance = 1e-4,
                     .gpu_kernel = fmt::format("recurrent {} rows=4", form.cell)});
  return cases;
}

}  // namespace

const std::vector<std::pair<std::string, std::vector<KernelCase>>>& kernel_cases() {
  static const std::vector<std::pair<std::string, Cases>> families = {
      {"elementwise", elementwise_cases()},
      {"movement", movement_cases()},
      {"row", row_cases()},
      {"contraction", contraction_cases()},
      {"convolution", convolution_cases()},
      {"depthwise", depthwise_cases()},
      {"winograd", winograd_cases()},
      {"winograd_axis", winograd_axis_cases()},
      {"pool", pool_cases()},
      {"filter_gradient", filter_gradient_cases()},
      {"pool_gradient", pool_gradient_cases()},
      {"placed", placed_cases()},
      {"attention", attention_cases()},
      {"halves", halves_cases()},
      {"tf32", tf32_cases()},
      {"bf16", bf16_cases()},
      {"3xtf32", tf32x3_cases()},
      {"linear_attention", linear_attention_cases()},
      {"recurrent", recurrent_cases()},
      {"recurrent_gradient", recurrent_gradient_cases()},
      {"quantized", quantized_cases()},
      {"live_bytes", live_byte_cases()},
      {"trees", tree_cases()},
      {"index", index_cases()}};
  return families;
}

}  // namespace lapidary::test
