// Generated kernels of every family alone, at the sizes real models ask for: one thread, one call of a compiled
// library, its inputs read and its outputs written in place. Rates are of the work and the least traffic that the
// program itself states for its steps.
//
//   build/bench/bench_kernels --benchmark_filter=conv       (one core, otherwise idle)
#include <benchmark/benchmark.h>

#include "codegen/codegen.h"
#include "ir/composites.h"
#include "test/kernels/case_model.h"
#include "tools/driver.h"
#include "tools/loaded_model.h"

namespace lapidary {
namespace {

using test::CaseModel;
using test::ConvOptions;
using test::SymbolValues;
using Build = std::function<void(CaseModel&)>;

std::unique_ptr<tools::LoadedModel> compiled(Module& module) {
  const Target target = codegen::resolve_target("native");
  passes::Options options;
  options.target = target;
  passes::run_graph_passes(module, options);
  const Program program = passes::lower(module, options);
  const tools::TemporaryLibrary library;
  codegen::write_products({{program, target}}, "kernel", {.library = library.path()}, {});
  return std::make_unique<tools::LoadedModel>(library.path(), "kernel", 1);
}

constexpr int kProfiled = 10;

void run(benchmark::State& state, const Build& build, const SymbolValues& symbols) {
  CaseModel model;
  build(model);
  const std::vector<Tensor> numbers = test::case_inputs(model.module, symbols);
  const auto library = compiled(model.module);
  std::vector<tools::HostTensor> inputs;
  for (const Tensor& tensor : numbers)
    inputs.push_back({static_cast<uint8_t>(tensor.dtype), tensor.shape, tensor.to_bytes()});
  for (size_t i = 0; i < inputs.size(); ++i) library->bind_input(static_cast<int>(i), inputs[i]);
  library->profile(true);
  library->run();
  double flops = 0, bytes = 0;
  for (const auto& step : library->profiles())
    flops += static_cast<double>(step.flops), bytes += static_cast<double>(step.bytes);
  for (int i = 1; i < kProfiled; ++i) library->run();
  std::string steps;  // and how many µs each takes
  for (const auto& step : library->profiles())
    steps += fmt::format("{}{} {:.0f}", steps.empty() ? "" : ", ", step.kernel,
                         static_cast<double>(step.nanoseconds) * 1e-3 / kProfiled);
  state.SetLabel(steps);
  library->profile(false);
  for (auto _ : state) library->run();
  const double runs = static_cast<double>(state.iterations());
  const auto rate = [&](double each) { return benchmark::Counter(each * runs * 1e-9, benchmark::Counter::kIsRate); };
  state.counters["GFLOP/s"] = rate(flops);
  state.counters["GB/s"] = rate(bytes);
}

void add(const std::string& name, const Build& build, const SymbolValues& symbols = {}) {
  benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
    run(state, build, symbols);
  })->Unit(benchmark::kMicrosecond);
}

void add_conv(const std::string& name, int64_t channels, int64_t size, int64_t outputs, int64_t kernel,
              ConvOptions options) {
  add(fmt::format("{} {}x{}x{} to {}, {}x{}", name, channels, size, size, outputs, kernel, kernel), [=](CaseModel& m) {
    m.result({m.relu(m.conv(m.input(m.shape({1, channels, size, size})), outputs, {kernel, kernel}, options))});
  });
}

// The layers of ResNet-50, each extent once.
void add_convolutions() {
  const ConvOptions padded{.pads = {1, 1, 1, 1}}, halved{.strides = {2, 2}, .pads = {1, 1, 1, 1}},
      strided{.strides = {2, 2}};
  add_conv("conv", 3, 224, 64, 7, {.strides = {2, 2}, .pads = {3, 3, 3, 3}});
  int64_t size = 56;
  for (int64_t width : {64, 128, 256, 512}) {
    add_conv("conv", 4 * width, size, width, 1, {});
    add_conv("conv", width, size, width, 3, padded);
    add_conv("conv", width, size, 4 * width, 1, {});
    if (width < 512) {
      add_conv("conv strided", 2 * width, size, 2 * width, 3, halved);
      add_conv("conv strided", 4 * width, size, 8 * width, 1, strided);
    }
    size /= 2;
  }
  for (int64_t channels : {96, 144, 384, 960}) {
    const int64_t side = channels < 150 ? 56 : channels < 500 ? 14 : 7;
    add_conv("depthwise", channels, side, channels, 3, {.pads = {1, 1, 1, 1}, .group = channels});
    add_conv("depthwise", channels, side, channels, 5, {.strides = {2, 2}, .pads = {2, 2, 2, 2}, .group = channels});
  }
}

// The layers of ResNet-18 on eight images as training runs them, weights and gradients as arguments.
void add_gradients() {
  struct Layer {
    int64_t channels, size, outputs, kernel, stride;
  };
  for (const Layer& layer : {Layer{3, 224, 64, 7, 2},
                             {64, 56, 64, 3, 1},
                             {64, 56, 128, 3, 2},
                             {64, 56, 128, 1, 2},
                             {128, 28, 128, 3, 1},
                             {128, 28, 256, 3, 2},
                             {128, 28, 256, 1, 2},
                             {256, 14, 256, 3, 1},
                             {256, 14, 512, 3, 2},
                             {256, 14, 512, 1, 2},
                             {512, 7, 512, 3, 1}}) {
    const auto add_layer = [&](const char* what, const std::function<Value*(CaseModel&, Params)>& build) {
      add(fmt::format("{} {}x{}x{} to {}, {}x{}", what, layer.channels, layer.size, layer.size, layer.outputs,
                      layer.kernel, layer.kernel),
          [=](CaseModel& m) {
            const int64_t pad = layer.kernel / 2;
            m.result({build(m, {{"group", int64_t{1}},
                                {"strides", std::vector<int64_t>{layer.stride, layer.stride}},
                                {"dilations", std::vector<int64_t>{1, 1}},
                                {"pads", m.shape({pad, pad, pad, pad})}})});
          });
    };
    constexpr int64_t kImages = 8;
    const int64_t out = (layer.size - 1) / layer.stride + 1;
    const std::vector<int64_t> x = {kImages, layer.channels, layer.size, layer.size},
                               y = {kImages, layer.outputs, out, out},
                               w = {layer.outputs, layer.channels, layer.kernel, layer.kernel};
    add_layer("train forward", [=](CaseModel& m, const Params& params) {
      Value* image = m.input(m.shape(x));
      return m.build.create(OpKind::Conv, {image, m.input(m.shape(w))}, params).result();
    });
    add_layer("train input gradient", [=](CaseModel& m, Params params) {
      params.set("output_padding", std::vector<int64_t>(2, (layer.size - 1) % layer.stride));
      Value* dy = m.input(m.shape(y));
      return m.build.create(OpKind::ConvTranspose, {dy, m.input(m.shape(w))}, params).result();
    });
    add_layer("train filter gradient", [=](CaseModel& m, Params params) {
      params.set("kernel", m.shape({layer.kernel, layer.kernel}));
      Value* image = m.input(m.shape(x));
      return m.build.create(OpKind::ConvFilterGradient, {image, m.input(m.shape(y))}, params).result();
    });
  }
}

void add_pool_gradients() {
  for (const auto& [size, kernel] : {std::pair<int64_t, int64_t>{112, 3}, {112, 2}})
    for (bool taps : {true, false})
      add(fmt::format("train max_pool {} 64x{}x{}, {}x{}", taps ? "taps" : "gradient", size, size, kernel, kernel),
          [=, size = size, kernel = kernel](CaseModel& m) {
            const int64_t pad = kernel / 2 * (kernel - 2), out = size / 2;
            Params params{{"kernel", std::vector<int64_t>{kernel, kernel}},
                          {"strides", std::vector<int64_t>{2, 2}},
                          {"dilations", std::vector<int64_t>{1, 1}},
                          {"pads", m.shape({pad, pad, pad, pad})},
                          {"sizes", m.shape({out, out})}};
            Value* x = m.conv(m.input(m.shape({8, 1, size, size})), 64, {1, 1}, {});
            Value* y = m.build.create(OpKind::MaxPoolTap, {x}, params).result();
            if (!taps) {
              Value* dy = m.conv(m.input(m.shape({8, 1, out, out})), 64, {1, 1}, {});
              params.set("sizes", m.shape({size, size}));
              y = m.build.create(OpKind::MaxPoolGradient, {dy, m.input(m.shape({8, 64, out, out}), DType::U8)}, params)
                      .result();
            }
            m.result({m.build.reduce(OpKind::ReduceMax, y, {2, 3})});  // read in blocks
          });
}

void add_products() {
  struct Extents {
    int64_t rows, depth, columns;
  };
  for (auto [m, k, n] : {Extents{1, 768, 768},
                         {1, 4096, 4096},
                         {6, 768, 3072},
                         {128, 768, 768},
                         {128, 768, 3072},
                         {128, 3072, 768},
                         {1024, 1024, 1024}}) {
    add(fmt::format("gemm {}x{}x{}", m, k, n),
        [=, k = k, n = n](CaseModel& model) {
          Value* x = model.input({model.symbol("M"), model.module.dims.constant(k)});
          model.result({model.build.contract(x, model.weights({k, n}), "mk,kn->mn")});
        },
        {{"M", m}});
    add(fmt::format("gemm live {}x{}x{}", m, k, n),
        [=, k = k, n = n](CaseModel& model) {
          Value* x = model.input({model.symbol("M"), model.module.dims.constant(k)});
          model.result({model.build.contract(x, model.input(model.shape({k, n})), "mk,kn->mn")});
        },
        {{"M", m}});
  }
}

void add_rows() {
  for (int64_t width : {64, 128, 768, 4096}) {
    const auto rows = [=](CaseModel& m) { return m.input({m.symbol("N"), m.module.dims.constant(width)}); };
    const SymbolValues symbols = {{"N", (1 << 18) / width}};  // 1 MB
    add(
        fmt::format("softmax {}", width), [=](CaseModel& m) { m.result({composites::softmax(m.build, rows(m), 1)}); },
        symbols);
    add(
        fmt::format("layer_norm {}", width),
        [=](CaseModel& m) {
          m.result({composites::layer_norm(m.build, rows(m), m.weights({width}), m.weights({width}), 1, 1e-5)[0]});
        },
        symbols);
    add(
        fmt::format("rms_norm {}", width),
        [=](CaseModel& m) { m.result({composites::rms_norm(m.build, rows(m), m.weights({width}), 1, 1e-5)}); },
        symbols);
    add(
        fmt::format("gelu {}", width), [=](CaseModel& m) { m.result({composites::gelu(m.build, rows(m), false)}); },
        symbols);
    add(
        fmt::format("transpose {}", width),
        [=](CaseModel& m) {
          m.result({m.build.transpose(rows(m), {1, 0})});
        },
        symbols);
  }
}

void add_attention() {
  for (int64_t queries : {1, 128, 512})
    for (int64_t keys : {128, 512, 2048}) {
      if (queries > keys) continue;
      add(fmt::format("attention 12 heads of 64, {} queries, {} keys", queries, keys),
          [](CaseModel& m) {
            Dim heads = m.module.dims.constant(12), depth = m.module.dims.constant(64), one = m.module.dims.constant(1);
            Dim s = m.symbol("S"), t = m.module.dims.symbol("T", {1, 1 << 20});
            Value *q = m.input({one, heads, s, depth}), *k = m.input({one, heads, t, depth}),
                  *v = m.input({one, heads, t, depth});
            m.result({composites::attention(m.build, q, k, v, nullptr, 0.125, false)});
          },
          {{"S", queries}, {"T", keys}});
    }
}

void add_lstm() {
  for (int64_t hidden : {128, 256, 512})
    for (int64_t batch : {1, 8})
      add(fmt::format("lstm {} units, batch {}, 16 steps", hidden, batch),
          [=](CaseModel& m) {
            Dim b = m.symbol("B"), width = m.module.dims.constant(hidden);
            Dim one = m.module.dims.constant(1);
            composites::Recurrence lstm{.cell = "lstm",
                                        .r = m.weights({1, 4 * hidden, hidden}),
                                        .h0 = m.input({one, b, width}),
                                        .c0 = m.input({one, b, width})};
            lstm.xw = m.input({m.module.dims.constant(16), b, one, m.module.dims.constant(4 * hidden)});
            m.result(composites::recurrent(m.build, lstm));
          },
          {{"B", batch}});
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
  lapidary::add_convolutions();
  lapidary::add_gradients();
  lapidary::add_pool_gradients();
  lapidary::add_products();
  lapidary::add_rows();
  lapidary::add_attention();
  lapidary::add_lstm();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
