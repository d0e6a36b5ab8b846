// Gradients of windows: of convolutions by their weights and by their inputs, with live weights, and of max pools; and
// an LSTM's way back.
#include "ir/composites.h"
#include "test/kernels/kernel_cases.h"

namespace lapidary::test {

namespace {

using Cases = std::vector<KernelCase>;

struct Windows {
  std::vector<int64_t> image, kernel;
  ConvOptions options = {};  // `bias` and `output_padding` do not count
  int64_t outputs = 16;
  int64_t positions(size_t axis) const {
    const size_t spatial = kernel.size();
    const int64_t covered = (kernel[axis] - 1) * options.dilations[axis] + 1;
    return (image[1 + axis] + options.pads[axis] + options.pads[spatial + axis] - covered) / options.strides[axis] + 1;
  }
};

Value* filter_gradient(CaseModel& m, Value* x, Value* dy, const Windows& w) {
  const size_t spatial = w.kernel.size();
  const auto first = [&](const std::vector<int64_t>& values, size_t count) {
    return std::vector<int64_t>(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(count));
  };
  return m.build
      .create(OpKind::ConvFilterGradient, {x, dy},
              {{"group", w.options.group},
               {"strides", first(w.options.strides, spatial)},
               {"dilations", first(w.options.dilations, spatial)},
               {"pads", m.shape(first(w.options.pads, 2 * spatial))},
               {"kernel", m.shape(w.kernel)}})
      .result();
}

KernelCase filter_case(const std::string& name, const std::string& kernel, const Windows& w,
                       std::vector<int64_t> batches = {0, 1, 3}) {
  double positions = 3;
  for (size_t axis = 0; axis < w.kernel.size(); ++axis) positions *= static_cast<double>(w.positions(axis));
  std::vector<SymbolValues> values;
  for (int64_t batch : batches) values.push_back({{"N", batch}});
  return {.name = name,
          .kernel = kernel,
          .build =
              [=](CaseModel& m) {
                DimPool& d = m.module.dims;
                Shape x = {m.symbol("N")}, dy = {m.symbol("N"), d.constant(w.outputs)};
                for (int64_t extent : w.image) x.push_back(d.constant(extent));
                for (size_t axis = 0; axis < w.kernel.size(); ++axis) dy.push_back(d.constant(w.positions(axis)));
                Value *input = m.input(x), *gradient = m.input(dy);
                m.result({filter_gradient(m, input, gradient, w)});
              },
          .values = values,
          .terms = positions,
          .gpu_kernel = "product fma"};
}

}  // namespace

std::vector<KernelCase> filter_gradient_cases() {
  Cases cases;
  const ConvOptions padded{.pads = {1, 1, 1, 1}};
  const auto tile = [](const char* schedule) { return fmt::format("filter_gradient {}", schedule); };
  for (auto [in, out] : {std::pair<int64_t, int64_t>{16, 16}, {17, 33}, {32, 32}, {5, 18}, {40, 64}})
    cases.push_back(
        filter_case(fmt::format("channels_{}_{}", in, out), tile("tile="), {{in, 6, 7}, {3, 3}, padded, out}));
  cases.push_back(filter_case("one_tap", tile("tile="), {{130, 5, 6}, {1, 1}, {}, 20}));
  cases.push_back(filter_case("one_tap_strided", tile("tile="), {{35, 7, 6}, {1, 1}, {.strides = {2, 2}}, 48}));
  cases.push_back(
      filter_case("strided", tile("tile="), {{20, 9, 13}, {3, 3}, {.strides = {2, 2}, .pads = {1, 1, 1, 1}}, 40}));
  cases.push_back(
      filter_case("uneven", tile("tile="),
                  {{18, 8, 11}, {3, 2}, {.strides = {2, 1}, .dilations = {1, 3}, .pads = {0, 2, 1, 0}}, 17}));
  cases.push_back(filter_case("wide", tile("tile="), {{16, 3, 130}, {2, 3}, {.pads = {0, 1, 0, 1}}, 16}, {1, 2}));
  cases.push_back(filter_case("line", tile("tile="), {{20, 17}, {4}, {.strides = {2}, .pads = {2, 1}}, 24}));
  cases.push_back(filter_case("groups", tile("tile="), {{64, 5, 6}, {3, 3}, {.pads = {1, 1, 1, 1}, .group = 2}, 32}));
  cases.push_back(
      filter_case("groups_of_pairs", tile("tile="), {{32, 5, 6}, {3, 3}, {.pads = {1, 1, 1, 1}, .group = 2}, 64}));
  // Groups within blocks: in whole ones together, or all of them; too many are plain loops.
  for (auto [in, out, groups] : {std::tuple<int64_t, int64_t, int64_t>{12, 6, 3},
                                 {64, 64, 16},
                                 {32, 64, 32},
                                 {64, 32, 8},
                                 {48, 48, 2},
                                 {40, 24, 4},
                                 {36, 70, 2}})
    cases.push_back(filter_case(fmt::format("groups_within_blocks_{}_{}_{}", in, out, groups), tile("tile="),
                                {{in, 6, 7}, {3, 2}, {.strides = {1, 2}, .pads = {1, 1, 1, 0}, .group = groups}, out}));
  cases.push_back(filter_case("groups_of_many_pixels", tile("tile="),
                              {{32, 30, 40}, {3, 3}, {.pads = {1, 1, 1, 1}, .group = 8}, 32}));
  cases.back().gpu_kernel = "";
  cases.push_back(filter_case("too_many_groups", "", {{35, 5, 6}, {3, 3}, {.group = 35}, 70}));
  for (auto [channels, kernel, stride] :
       {std::tuple<int64_t, int64_t, int64_t>{3, 7, 2}, {1, 5, 1}, {3, 3, 1}, {4, 15, 3}})
    cases.push_back(filter_case(fmt::format("first_layer_{}_{}", channels, kernel), tile("tile="),
                                {{channels, 17, 20},
                                 {kernel, kernel},
                                 {.strides = {stride, stride}, .pads = {kernel / 2, kernel / 2, kernel / 2, 1}},
                                 35}));
  for (int64_t channels : {8, 16, 35})
    for (auto [kernel, stride] : {std::pair<int64_t, int64_t>{3, 1}, {3, 2}, {5, 1}, {7, 2}})
      cases.push_back(filter_case(
          fmt::format("depthwise_{}_{}_{}", channels, kernel, stride), tile("depthwise"),
          {{channels, 9, 19},
           {kernel, kernel},
           {.strides = {stride, stride}, .pads = {kernel / 2, kernel / 2, kernel / 2, 1}, .group = channels},
           channels}));
  cases.push_back(filter_case(
      "depthwise_uneven", tile("depthwise"),
      {{18, 8, 21}, {2, 3}, {.strides = {1, 2}, .dilations = {2, 3}, .pads = {0, 2, 1, 0}, .group = 18}, 18}));
  cases.push_back(filter_case("depthwise_line", tile("depthwise"), {{20, 40}, {4}, {.pads = {2, 1}, .group = 20}, 20}));
  cases.push_back(filter_case("depthwise_wide", "", {{16, 3, 60}, {1, 31}, {.pads = {0, 9, 0, 9}, .group = 16}, 16}));
  cases.push_back(filter_case("many_pixels", tile("tile="), {{16, 30, 40}, {3, 3}, padded, 16}));
  cases.back().gpu_kernel = "sum_of_parts";
  // Of channels that are no whole accesses, and no result: it lies as x does on a GPU.
  for (int64_t channels : {3, 5, 17})
    cases.push_back({.name = fmt::format("summed_{}", channels),
                     .kernel = tile("tile="),
                     .build =
                         [=](CaseModel& m) {
                           DimPool& d = m.module.dims;
                           Value* x = m.input({m.symbol("N"), d.constant(channels), d.constant(9), d.constant(8)});
                           Value* dy = m.input({m.symbol("N"), d.constant(18), d.constant(9), d.constant(8)});
                           Value* dw = filter_gradient(m, x, dy, {{channels, 9, 8}, {3, 3}, padded, 18});
                           m.result({m.build.reduce(OpKind::ReduceSum, dw, {0}), m.build.mul(dw, dw)});
                         },
                     .values = {{{"N", 0}}, {{"N", 3}}},
                     .terms = 18 * 3 * 9 * 8,
                     .gpu_kernel = "product fma"});
  // Between convolutions: blocks and halos that others chose.
  cases.push_back({.name = "of_a_layer",
                   .kernel = tile("tile="),
                   .build =
                       [=](CaseModel& m) {
                         DimPool& d = m.module.dims;
                         Value* x = m.input({m.symbol("N"), d.constant(3), d.constant(9), d.constant(8)});
                         Value* hidden = m.relu(m.conv(x, 20, {3, 3}, padded));
                         Value* y = m.conv(hidden, 18, {3, 3}, {.strides = {2, 2}, .pads = {2, 2, 2, 2}});
                         Value* dy = m.conv(m.relu(y), 18, {1, 1}, {});
                         m.result({filter_gradient(
                             m, hidden, dy, {{20, 9, 8}, {3, 3}, {.strides = {2, 2}, .pads = {2, 2, 2, 2}}, 18})});
                       },
                   .values = {{{"N", 1}}, {{"N", 3}}},
                   .tolerance = 4e-3});  // three products, one after the other
  return cases;
}

// Of ties, among small whole numbers, as of others; blocked behind a convolution of single pixels, dense otherwise.
std::vector<KernelCase> pool_gradient_cases() {
  struct Pool {
    const char* name;
    std::vector<int64_t> kernel, strides, dilations, pads;
  };
  const Pool pools[] = {
      {"2x2", {2, 2}, {2, 2}, {1, 1}, {0, 0, 0, 0}},       {"3x3", {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}},
      {"3x3_dense", {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}}, {"corner", {3, 3}, {2, 2}, {1, 1}, {0, 0, 1, 1}},
      {"far", {2, 4}, {1, 3}, {1, 1}, {1, 3, 0, 2}},       {"gaps", {2, 2}, {3, 4}, {1, 1}, {0, 0, 0, 0}},
      {"dilated", {2, 3}, {1, 1}, {2, 2}, {1, 1, 0, 2}},   {"large", {17, 17}, {2, 3}, {1, 1}, {8, 8, 8, 8}}};
  Cases cases;
  for (int64_t channels : {3, 16, 17})
    for (const Pool& pool : pools)
      for (bool blocked : {false, true})
        for (bool ties : {false, true}) {
          const auto build = [=](CaseModel& m) {
            DimPool& d = m.module.dims;
            GraphBuilder& b = m.build;
            constexpr int64_t kHeight = 9, kWidth = 22;
            Windows w{{channels, kHeight, kWidth}, pool.kernel};
            w.options = {.strides = pool.strides, .dilations = pool.dilations, .pads = pool.pads};
            const Dim channel = d.constant(channels), rows = d.constant(w.positions(0)),
                      columns = d.constant(w.positions(1));
            Value* x = m.input({m.symbol("N"), channel, d.constant(kHeight), d.constant(kWidth)});
            Value* dy = m.input({m.symbol("N"), channel, rows, columns});
            if (ties) x = b.scalar_op(ScalarOp::Floor, {x});
            const auto single_pixels = [&](Value* image) {  // leaves every number as it is
              std::vector<Scalar> identity;
              for (int64_t i = 0; i < channels * channels; ++i)
                identity.push_back(Scalar::of_float(DType::F32, i % (channels + 1) == 0 ? 1 : 0));
              Value* weight =
                  b.constant(m.module.constants.add_scalars(DType::F32, {channels, channels, 1, 1}, identity));
              return b.conv(image, weight, nullptr, 1, {1, 1}, {1, 1}, m.shape({0, 0, 0, 0}));
            };
            const bool flattened = blocked && channels == 16;  // behind the pool, whose gradient is dense
            if (blocked) x = single_pixels(x);
            if (blocked && !flattened) dy = single_pixels(dy);
            Params params{{"kernel", pool.kernel},
                          {"strides", pool.strides},
                          {"dilations", pool.dilations},
                          {"pads", m.shape(pool.pads)},
                          {"sizes", Shape{rows, columns}}};
            Value* taps = b.create(OpKind::MaxPoolTap, {x}, params).result();
            params.set("sizes", m.shape({kHeight, kWidth}));
            Value* dx = b.create(OpKind::MaxPoolGradient, {dy, taps}, params).result();
            if (blocked) dx = single_pixels(dx);
            m.result(flattened ? std::vector<Value*>{dx} : std::vector<Value*>{taps, dx});
          };
          cases.push_back(
              {.name = fmt::format("{}_of_{}{}{}", pool.name, channels, blocked ? "_blocked" : "", ties ? "_ties" : ""),
               .kernel = blocked && std::string(pool.name) != "large" ? "pool_gradient gather" : "",
               .build = build,
               .values = {{{"N", 0}}, {{"N", 1}}, {{"N", 3}}},
               .tolerance = 1e-5,
               .gpu_kernel = "pool_gradient lanes="});
        }
  return cases;
}

std::vector<KernelCase> recurrent_gradient_cases() {
  Cases cases;
  for (const auto& [hidden, direction] : std::vector<std::pair<int64_t, int>>{{16, composites::kForward},
                                                                              {1, composites::kReverse},
                                                                              {17, composites::kBothDirections},
                                                                              {64, composites::kForward}})
    cases.push_back(
        {.name = fmt::format("lstm_{}_direction{}", hidden, direction),
         .kernel = "recurrent_gradient lstm",
         .build =
             [hidden = hidden, direction = direction](CaseModel& m) {
               DimPool& d = m.module.dims;
               const Dim directions = d.constant(direction == composites::kBothDirections ? 2 : 1);
               const Dim s = m.symbol("S"), b = m.symbol("B"), h = d.constant(hidden), gates = d.constant(4 * hidden);
               const Shape state = {directions, b, h};
               m.result(composites::recurrent_gradient(m.build, {.direction = direction,
                                                                 .r = m.input({directions, gates, h}),
                                                                 .dy = m.input({s, directions, b, h}),
                                                                 .dh = m.input(state),
                                                                 .dc = m.input(state),
                                                                 .gates = m.input({s, b, directions, gates}),
                                                                 .cells = m.input({s, directions, b, h}),
                                                                 .c0 = m.input(state)}));
             },
         .values = {{{"S", 1}, {"B", 1}},
                    {{"S", 3}, {"B", 2}},
                    {{"S", 2}, {"B", 9}},
                    {{"S", 2}, {"B", 0}},
                    {{"S", 0}, {"B", 2}}},
         .tolerance = 1e-4,
         .gpu_kernel = "recurrent_gradient lstm rows=4"});
  return cases;
}

}  // namespace lapidary::test
