// Cases of what goes through indices or an order: scatter, scan, top_k, bit_cast, resampled images.
#include "test/kernels/kernel_cases.h"

namespace lapidary::test {

namespace {

using Cases = std::vector<KernelCase>;

Value* number(CaseModel& m, Dim value) { return m.build.dims_tensor({value}, {}, DType::I64); }

Value* remainder(CaseModel& m, Value* x, int64_t by) {
  return m.build.scalar_op(ScalarOp::FloorMod, {x, number(m, m.build.dim(by))});
}

// Indices in [-extent, extent), many of them equal.
Value* indices_below(CaseModel& m, Shape shape, Dim extent) {
  GraphBuilder& b = m.build;
  Value* any = b.mul(m.input(std::move(shape), DType::I64), number(m, b.dim(7)));
  return b.sub(b.scalar_op(ScalarOp::FloorMod, {any, number(m, b.module.dims.mul(extent, b.dim(2)))}),
               number(m, extent));
}

// What a GPU decides by extents.
Cases known_scatter_cases() {
  struct Known {
    std::vector<int64_t> data;
    int64_t updates, places;  // along the axis: so many, to so many places
    int axis;
    bool elements;
    const char* gpu_kernel;
  };
  Cases cases;
  for (const Known& known : std::vector<Known>{{{9, 24}, 1, 9, 0, false, "add lines"},
                                               {{9, 24}, 16, 3, 0, false, "add lines"},
                                               {{9, 24}, 17, 9, 0, false, "add ordered lanes="},
                                               {{9, 24}, 300, 1, 0, false, "add ordered lanes="},
                                               {{50, 7}, 300, 50, 0, false, "add ordered lanes=1"},
                                               {{3, 50, 16}, 40, 20, 1, false, "add ordered lanes="},
                                               {{5, 60}, 100, 60, 1, false, "add ordered lanes=1"},
                                               {{5, 60}, 100, 4, 1, true, "add ordered lanes=1"},
                                               {{4200, 3}, 20, 3, 1, true, "add lines"},
                                               {{30}, 20000, 30, 0, false, "add ordered lanes=1"}})
    for (const DType dtype : {DType::F32, DType::F16, DType::I32})
      cases.push_back(
          {.name = fmt::format("scatter_{}_to_{}_of_{}_{}_{}", known.updates, known.places, fmt::join(known.data, "x"),
                               known.elements ? "elements" : "rows", name_of(dtype)),
           .kernel = "scatter add",
           .build =
               [=](CaseModel& m) {
                 std::vector<int64_t> updates = known.data;
                 updates[static_cast<size_t>(known.axis)] = known.updates;
                 Value* data = m.input(m.shape(known.data), dtype);
                 const std::vector<int64_t> indices = known.elements ? updates : std::vector{known.updates};
                 Value* at = indices_below(m, m.shape(indices), m.build.dim(known.places));
                 Value* y = m.input(m.shape(updates), dtype);
                 m.result({m.build.scatter(data, at, y, known.axis, known.elements, "add")});
               },
           .tolerance = dtype == DType::F16 ? 5e-2 : 1e-4,
           .gpu_kernel = known.gpu_kernel});
  // More updates than are sorted at once, which only the run knows.
  cases.push_back(
      {.name = "scatter_many_or_few",
       .kernel = "scatter add",
       .build =
           [](CaseModel& m) {
             Value *data = m.input({m.build.dim(6), m.build.dim(2)}), *y = m.input({m.symbol("U"), m.build.dim(2)});
             m.result({m.build.scatter(data, indices_below(m, {m.symbol("U")}, m.build.dim(6)), y, 0, false, "add")});
           },
       .values = {{{"U", 0}}, {{"U", 1}}, {{"U", 16}}, {{"U", 17}}, {{"U", 100}}, {{"U", 8192}}, {{"U", 8193}}},
       .tolerance = 1e-3,
       .gpu_kernel = "scatter add lines"});
  // To each of seven places 2^25 and -2^25 + 4 (t mod 5) by turns, and 1 in the end: exact in their order, but neither
  // 2^26 + 4 nor 2^25 + 1 is an f32.
  for (const auto& [updates, gpu_kernel] :
       {std::pair{16, "add lines"}, {300, "add ordered lanes="}, {20000, "add ordered lanes="}})
    cases.push_back({.name = fmt::format("scatter_{}_in_order", updates),
                     .kernel = "scatter add",
                     .build =
                         [=](CaseModel& m) {
                           GraphBuilder& b = m.build;
                           Value *t = b.iota(DType::I64, m.shape({updates}), 0), *at = remainder(m, t, 7);
                           Value* turn = remainder(m, b.div(t, number(m, b.dim(7))), 2);
                           Value* few = b.mul(remainder(m, t, 5), number(m, b.dim(4)));
                           Value* big = number(m, b.dim(1 << 25));
                           Value* y = b.add(b.sub(big, b.mul(turn, b.add(big, big))), b.mul(turn, few));
                           Value* is_last = b.scalar_op(ScalarOp::Less, {number(m, b.dim(updates - 8)), t});
                           Value* is_even = b.scalar_op(ScalarOp::Less, {turn, b.like(turn, 1)});
                           y = b.select(b.scalar_op(ScalarOp::And, {is_last, is_even}), b.like(y, 1), y);
                           Value* data = remainder(m, m.input(m.shape({7, 6}), DType::I64), 8);
                           data = b.convert(b.mul(data, number(m, b.dim(4))), DType::F32);
                           y = b.broadcast(b.convert(y, DType::F32), {0}, m.shape({updates, 6}));
                           m.result({b.scatter(data, at, y, 0, false, "add")});
                         },
                     .tolerance = 0,
                     .gpu_kernel = gpu_kernel});
  return cases;
}

Cases scatter_cases() {
  Cases cases;
  const std::vector<SymbolValues> rows = {{{"D", 1}, {"N", 1}, {"U", 1}},     {{"D", 5}, {"N", 15}, {"U", 3}},
                                          {{"D", 3}, {"N", 16}, {"U", 7}},    {{"D", 2}, {"N", 17}, {"U", 20}},
                                          {{"D", 2100}, {"N", 1}, {"U", 40}}, {{"D", 4}, {"N", 300}, {"U", 2}},
                                          {{"D", 0}, {"N", 4}, {"U", 0}},     {{"D", 4}, {"N", 0}, {"U", 3}}};
  for (const char* reduction : {"none", "add", "mul", "min", "max"})
    for (DType dtype : {DType::F32, DType::I64})
      cases.push_back({.name = fmt::format("scatter_rows_{}_{}", reduction, name_of(dtype)),
                       .kernel = fmt::format("scatter {}", reduction),
                       .build =
                           [=](CaseModel& m) {
                             Dim d = m.symbol("D"), n = m.symbol("N"), u = m.symbol("U");
                             Value *data = m.input({d, n}, dtype), *updates = m.input({u, n}, dtype);
                             m.result({m.build.scatter(data, indices_below(m, {u}, d), updates, 0, false, reduction)});
                           },
                       .values = rows,
                       .tolerance = 1e-4,
                       .gpu_kernel = fmt::format("scatter {} ordered lanes=1", reduction)});
  for (int axis : {0, 1, 2})
    for (DType dtype : {DType::F32, DType::F16, DType::U8, DType::F64})
      cases.push_back({.name = fmt::format("scatter_elements_axis{}_{}", axis, name_of(dtype)),
                       .kernel = "scatter add",
                       .build =
                           [=](CaseModel& m) {
                             Dim d = m.symbol("D"), n = m.symbol("N"), three = m.module.dims.constant(3);
                             Shape data = {three, n, d}, updates = data;
                             std::swap(data[2], data[axis]);
                             std::swap(updates[2], updates[axis]);
                             updates[axis] = m.symbol("U");
                             Value* x = m.input(data, dtype);
                             Value* at = indices_below(m, updates, d);
                             Value* y = m.input(updates, dtype);
                             m.result({m.build.scatter(x, at, y, axis, true, "add")});
                           },
                       .values = {{{"D", 1}, {"N", 1}, {"U", 1}},
                                  {{"D", 5}, {"N", 17}, {"U", 4}},
                                  {{"D", 17}, {"N", 16}, {"U", 33}},
                                  {{"D", 2050}, {"N", 1}, {"U", 9}},
                                  {{"D", 3}, {"N", 0}, {"U", 3}}},
                       .tolerance = dtype == DType::F16 ? 2e-2 : 1e-5,
                       .gpu_kernel = "scatter order"});
  cases.push_back({.name = "scatter_bool_narrower",
                   .kernel = "scatter none",
                   .build =
                       [](CaseModel& m) {
                         GraphBuilder& b = m.build;
                         Value* data = m.input({m.symbol("N"), b.dim(20)}, DType::Bool);
                         Value* at = indices_below(m, m.shape({2, 19}), m.symbol("N"));
                         m.result({b.scatter(data, at, m.input(m.shape({2, 19}), DType::Bool), 0, true, "none")});
                       },
                   .values = {{{"N", 1}}, {{"N", 4}}},
                   .gpu_kernel = "scatter none lines"});
  const Cases known = known_scatter_cases();
  cases.insert(cases.end(), known.begin(), known.end());
  return cases;
}

Cases scan_cases() {
  Cases cases;
  int number = 0;
  for (const char* op : {"add", "mul", "min", "max"})
    for (DType dtype : {DType::F32, DType::I32, DType::F64, DType::BF16})
      for (int axis : {0, 1}) {
        const int64_t form = number++ % 4;
        cases.push_back({.name = fmt::format("scan_{}_{}_axis{}_{}", op, name_of(dtype), axis, form),
                         .kernel = fmt::format("scan {}", op),
                         .build =
                             [=](CaseModel& m) {
                               Params params{{"axis", int64_t{axis}}, {"op", std::string(op)}};
                               params.set("exclusive", form & 1);
                               params.set("reverse", form >> 1);
                               Value* x = m.input({m.symbol("M"), m.symbol("N")}, dtype);
                               m.result({m.build.create(OpKind::Scan, {x}, params).result()});
                             },
                         .values = {{{"M", 1}, {"N", 1}},
                                    {{"M", 3}, {"N", 16}},
                                    {{"M", 15}, {"N", 17}},
                                    {{"M", 2}, {"N", 67}},
                                    {{"M", 40}, {"N", 2}},
                                    {{"M", 0}, {"N", 3}},
                                    {{"M", 3}, {"N", 0}}},
                         .tolerance = dtype == DType::BF16 ? 5e-2 : 1e-4,
                         .gpu_kernel = fmt::format("scan {} each=", op)});
      }
  // Rows and columns that take a GPU's block several chunks, packets of neighbours, and lines of one thread each.
  struct Known {
    std::vector<int64_t> extents;
    int64_t axis;
    const char* gpu_kernel;
  };
  for (const auto& [extents, axis, gpu_kernel] : std::vector<Known>{{{3, 5000}, 1, "each=256"},
                                                                    {{2, 1000, 5}, 1, "each=32"},
                                                                    {{6, 20, 64}, 1, "each=4"},
                                                                    {{70, 6}, 1, "each=1"},
                                                                    {{4, 300}, 0, "each=1"}})
    for (int64_t form = 0; form < 4; ++form)
      cases.push_back({.name = fmt::format("scan_known_{}_{}", fmt::join(extents, "x"), form),
                       .kernel = "scan add",
                       .build =
                           [=](CaseModel& m) {
                             Params params{{"axis", axis}, {"op", std::string("add")}};
                             params.set("exclusive", form & 1);
                             params.set("reverse", form >> 1);
                             m.result({m.build.create(OpKind::Scan, {m.input(m.shape(extents))}, params).result()});
                           },
                       .tolerance = 1e-4,
                       .gpu_kernel = gpu_kernel});
  return cases;
}

Cases top_k_cases() {
  Cases cases;
  for (DType dtype : {DType::F32, DType::F16, DType::F64, DType::I64, DType::U8, DType::I32})
    for (int axis : {0, 1})
      for (bool largest : {false, true})
        cases.push_back(
            {.name = fmt::format("top_k_{}_axis{}_{}", name_of(dtype), axis, largest ? "largest" : "least"),
             .kernel = axis ? "top_k select" : "top_k threshold",
             .build =
                 [=](CaseModel& m) {
                   Shape shape = {m.symbol("M"), m.symbol("N")};
                   if (axis == 0) std::swap(shape[0], shape[1]);
                   Params params{{"axis", int64_t{axis}}, {"k", m.symbol("K")}, {"largest", int64_t{largest}}};
                   Dim k = m.symbol("K");
                   Value* x = m.input(shape, dtype);
                   m.input({k});  // gives K its value
                   Op& op = m.build.create(OpKind::TopK, {x}, params);
                   m.result({op.result(0), op.result(1)});
                 },
             .values = {{{"M", 1}, {"N", 1}, {"K", 1}},
                        {{"M", 2}, {"N", 17}, {"K", 4}},
                        {{"M", 3}, {"N", 100}, {"K", 64}},
                        {{"M", 2}, {"N", 100}, {"K", 65}},
                        {{"M", 2}, {"N", 129}, {"K", 129}},
                        {{"M", 1}, {"N", 1000}, {"K", 70}},
                        {{"M", 1}, {"N", 5000}, {"K", 300}},
                        {{"M", 1}, {"N", 16}, {"K", 0}},
                        {{"M", 0}, {"N", 3}, {"K", 2}}},
             .tolerance = 0,
             .gpu_kernel = "top_k stream=2048"});
  // Lines that share a GPU's block, fill one, and are longer; more of a long line than it keeps at once.
  struct Known {
    int64_t lines, extent, k;
    const char* gpu_kernel;
  };
  for (const auto& [lines, extent, k, gpu_kernel] : std::vector<Known>{{50, 9, 2, "sort=16"},
                                                                       {3, 1, 1, "sort=2"},
                                                                       {2, 256, 256, "sort=256"},
                                                                       {2, 1500, 20, "sort=2048"},
                                                                       {1, 4096, 4096, "sort=4096"},
                                                                       {2, 7000, 2048, "stream=2048"},
                                                                       {1, 5000, 2500, "stream=2048"},
                                                                       {2, 4500, 4500, "stream=2048"}})
    for (DType dtype : {DType::F32, DType::I64})
      cases.push_back({.name = fmt::format("top_k_{}_of_{}x{}_{}", k, lines, extent, name_of(dtype)),
                       .kernel = "top_k",
                       .build =
                           [=](CaseModel& m) {
                             Op& op =
                                 m.build.create(OpKind::TopK, {m.input(m.shape({lines, extent}), dtype)},
                                                {{"axis", int64_t{1}}, {"k", m.build.dim(k)}, {"largest", int64_t{1}}});
                             m.result({op.result(0), op.result(1)});
                           },
                       .tolerance = 0,
                       .gpu_kernel = gpu_kernel});
  // A long line, found in parts on a GPU: most elements are equal to others, and some are wanted that are.
  cases.push_back({.name = "top_k_in_parts",
                   .kernel = "top_k",
                   .build =
                       [](CaseModel& m) {
                         GraphBuilder& b = m.build;
                         Value* x = m.input(m.shape({16384, 1}), DType::I32);
                         Value* few = b.scalar_op(ScalarOp::FloorMod, {x, b.like(x, 1000)});
                         Op& op = b.create(OpKind::TopK, {b.convert(few, DType::F32)},
                                           {{"axis", int64_t{0}}, {"k", b.dim(70)}, {"largest", int64_t{0}}});
                         m.result({op.result(0), op.result(1)});
                       },
                   .tolerance = 0,
                   .gpu_kernel = "sort=4096"});
  // Ties, -0 among them, and NaN from 0/0.
  for (int64_t k : {3, 150})
    for (int64_t largest : {0, 1})
      cases.push_back(
          {.name = fmt::format("top_k_{}_nan_{}", k, largest ? "largest" : "least"),
           .kernel = k == 3 ? "top_k select" : "top_k threshold",
           .build =
               [=](CaseModel& m) {
                 GraphBuilder& b = m.build;
                 Value* x = b.convert(m.input({m.symbol("N")}, DType::I32), DType::F32);
                 Value* few = b.scalar_op(ScalarOp::FloorMod, {x, b.like(x, 5)});
                 Value* y = b.div(few, few);
                 Value* signs = b.sub(few, b.like(few, 3));
                 Value* z = b.select(b.scalar_op(ScalarOp::Less, {few, b.like(few, 2)}), b.mul(y, few),
                                     b.mul(b.mul(signs, b.like(few, 0)), b.like(few, -1)));
                 Op& op = b.create(OpKind::TopK, {z}, {{"axis", int64_t{0}}, {"k", b.dim(k)}, {"largest", largest}});
                 m.result({op.result(1)});
               },
           .values = {{{"N", 150}}, {{"N", 400}}, {{"N", 3000}}},
           .tolerance = 0});
  cases.push_back({.name = "top_k_places_alone",
                   .kernel = "top_k threshold",
                   .build =
                       [](CaseModel& m) {
                         Value* x = m.input({m.symbol("M"), m.module.dims.constant(70)});
                         Op& op =
                             m.build.create(OpKind::TopK, {x},
                                            {{"axis", int64_t{1}}, {"k", m.build.dim(70)}, {"largest", int64_t{0}}});
                         m.result({op.result(1)});
                       },
                   .values = {{{"M", 1}}, {{"M", 3}}},
                   .tolerance = 0});
  return cases;
}

// Many true in a row, few, none.
Cases positions_cases() {
  Cases cases;
  for (double bound : {-0.5, 0.9, 5.0})
    cases.push_back({.name = fmt::format("positions_above_{}", static_cast<int>(bound * 10 + 5)),
                     .kernel = "positions",
                     .build =
                         [=](CaseModel& m) {
                           GraphBuilder& b = m.build;
                           Value* x = m.input({m.symbol("N")});
                           Value* mask = b.scalar_op(ScalarOp::Less, {b.like(x, bound), x});
                           Value* count = b.reduce(OpKind::ReduceSum, b.convert(mask, DType::I64), {0});
                           Dim found = b.to_host(count, {0, 1 << 20})->elements.at(0);
                           m.result({b.gather(x, b.true_positions(mask, found), 0)});
                         },
                     .values = {{{"N", 0}},
                                {{"N", 1}},
                                {{"N", 15}},
                                {{"N", 16}},
                                {{"N", 17}},
                                {{"N", 500}},
                                {{"N", 4097}},
                                {{"N", 30011}}},
                     .tolerance = 0,
                     .gpu_kernel = "positions write"});
  return cases;
}

Cases bit_cast_cases() {
  Cases cases;
  for (auto [from, to] : {std::pair{DType::F32, DType::I32},
                          {DType::I64, DType::F64},
                          {DType::F16, DType::I16},
                          {DType::Bool, DType::U8}})
    cases.push_back({.name = fmt::format("bit_cast_{}_{}", name_of(from), name_of(to)),
                     .kernel = "bit_cast",
                     .build =
                         [=](CaseModel& m) {
                           Value* x = m.input({m.symbol("N")}, from);
                           m.result({m.build.create(OpKind::BitCast, {x}, {{"to", to}}).result()});
                         },
                     .values = {{{"N", 0}}, {{"N", 1}}, {{"N", 16}}, {{"N", 33}}},
                     .tolerance = 0});
  return cases;
}

// Arguments and results of 2- and 4-bit types: packed, their last byte padded. Arguments are read where they are.
Cases subbyte_cases() {
  Cases cases;
  const auto add = [&](std::string_view what, DType dtype, std::string_view kernel,
                       const std::function<void(CaseModel&)>& build) {
    cases.push_back({.name = fmt::format("{}_{}", what, name_of(dtype)),
                     .kernel = std::string(kernel),
                     .build = build,
                     .values = {{{"N", 0}}, {{"N", 1}}, {{"N", 2}}, {{"N", 3}}, {{"N", 33}}},
                     .tolerance = 0});
  };
  for (DType dtype : {DType::I2, DType::U2, DType::I4, DType::U4, DType::F4E2M1}) {
    add("transposed", dtype, "bit_cast", [=](CaseModel& m) {
      m.result({m.build.transpose(m.input({m.symbol("N"), m.build.dim(3)}, dtype), {1, 0})});
    });
    add("cast_to", dtype, "bit_cast", [=](CaseModel& m) {
      Value* x = m.input({m.symbol("N")});
      m.result({m.build.convert(m.build.mul(x, m.build.like(x, 5)), dtype)});
    });
    add("cast_from", dtype, "elementwise",
        [=](CaseModel& m) { m.result({m.build.convert(m.input({m.symbol("N")}, dtype), DType::F16)}); });
  }
  return cases;
}

// Images whose pixels are repeated or gathered, dense and between convolutions in channel blocks.
Cases resample_cases() {
  Cases cases;
  const std::vector<SymbolValues> sizes = {{{"H", 1}, {"W", 1}}, {{"H", 3}, {"W", 5}},  {{"H", 2}, {"W", 8}},
                                           {{"H", 1}, {"W", 9}}, {{"H", 2}, {"W", 17}}, {{"H", 2}, {"W", 16}}};
  const auto repeated = [](CaseModel& m, Value* x, int64_t factor) {
    GraphBuilder& b = m.build;
    DimPool& dims = m.module.dims;
    const Shape& s = x->type.shape;
    Dim r = b.dim(factor);
    Value* wide = b.broadcast(x, {0, 1, 2, 4}, {s[0], s[1], s[2], r, s[3], r});
    return b.reshape(wide, {s[0], s[1], dims.mul(s[2], r), dims.mul(s[3], r)});
  };
  const auto interpolated = [](CaseModel& m, Value* x) {  // halfway between neighbours along both axes
    GraphBuilder& b = m.build;
    DimPool& dims = m.module.dims;
    for (int axis : {2, 3}) {
      Dim extent = x->type.shape[static_cast<size_t>(axis)];
      Value* o = b.iota(DType::I64, {dims.mul(extent, b.dim(2))}, 0);
      Value* low = b.div(o, number(m, b.dim(2)));
      Value* last = number(m, dims.sub(extent, b.dim(1)));
      Value* high = b.scalar_op(ScalarOp::Min, {b.add(low, number(m, b.dim(1))), last});
      Value* sum = b.add(b.gather(x, low, axis, true), b.gather(x, high, axis, true));
      x = b.mul(sum, b.like(sum, 0.5));
    }
    return x;
  };
  for (bool blocked : {false, true})
    for (int64_t factor : {2, 3, 4, 0}) {  // 0: interpolated
      cases.push_back({.name = fmt::format("resample_{}_{}", factor, blocked ? "blocked" : "dense"),
                       .kernel = "elementwise",
                       .build =
                           [=](CaseModel& m) {
                             const Dim n = m.build.dim(2), channels = m.build.dim(17);
                             Value* x = m.input({n, channels, m.symbol("H"), m.symbol("W")});
                             if (blocked) x = m.conv(x, 17, {1, 1}, {});
                             Value* y = factor ? repeated(m, x, factor) : interpolated(m, x);
                             if (blocked) y = m.conv(y, 4, {3, 3}, {.pads = {1, 1, 1, 1}});
                             m.result({y});
                           },
                       .values = sizes,
                       .tolerance = blocked ? 1e-3 : 1e-6});
    }
  // Pixels of flattened images, as they are and summed: the places are those of an image, not divided into rows.
  for (bool summed : {false, true})
    cases.push_back({.name = summed ? "pixels_summed" : "pixels",
                     .kernel = summed ? "reduction" : "elementwise",
                     .build =
                         [=](CaseModel& m) {
                           GraphBuilder& b = m.build;
                           Dim h = m.symbol("H"), w = m.symbol("W"), places = b.dim(21);
                           Dim pixels = m.module.dims.mul(h, w);
                           Value* x = b.reshape(m.input({b.dim(2), b.dim(3), h, w}), {b.dim(2), b.dim(3), pixels});
                           Value* any = b.mul(m.input({b.dim(2), places}, DType::I64), number(m, b.dim(5)));
                           Value* at = b.scalar_op(ScalarOp::FloorMod, {any, number(m, pixels)});
                           const Shape shape = {b.dim(2), b.dim(3), places};
                           Value* y = b.gather_elements(x, b.broadcast(at, {0, 2}, shape), 2, true);
                           y = b.mul(y, b.broadcast(m.input({places}), {2}, shape));
                           if (summed) y = b.reshape(y, {b.dim(2), b.dim(3), b.dim(3), b.dim(7)});
                           m.result({summed ? b.reduce(OpKind::ReduceSum, y, {2}) : y});
                         },
                     .values = sizes,
                     .tolerance = 1e-5});
  return cases;
}

}  // namespace

std::vector<KernelCase> index_cases() {
  Cases cases;
  for (const Cases& family : {scatter_cases(), scan_cases(), top_k_cases(), positions_cases(), suppress_cases(),
                              bit_cast_cases(), subbyte_cases(), resample_cases()})
    cases.insert(cases.end(), family.begin(), family.end());
  return cases;
}

}  // namespace lapidary::test
