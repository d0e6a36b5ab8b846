#include "tools/check_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

#include "ir/error.h"
#include "ir/interpreter.h"
#include "passes/graph/relayout.h"

namespace lapidary::tools {

namespace {

constexpr double kTolerance = 1e-4;   // relative L2 of one value; errors of the kernels before it are in it
constexpr int kMostLines = 10;

struct Watched { std::string what; };   // says which kernel of which node

// Makes every group's results outputs too, dense as outputs are.
std::vector<Watched> watch_all(Module& module) {
  Function& function = *module.function("run");
  Region& body = *function.body;
  std::vector<Watched> watched;
  std::set<const Op*> copies;
  for (auto op = body.ops.begin(); op != body.ops.end(); ++op) {
    if (!op->is(OpKind::Group) || copies.contains(&*op)) continue;
    for (const auto& result : op->results) {
      Value* value = result.get();
      if (std::ranges::find(body.results(), value) != body.results().end()) continue;
      if (!value->type.layout.dense()) {
        Type dense = Type::tensor(value->type.dtype, value->type.shape);
        value = passes::relayout_group(module, value, dense, std::prev(body.ops.end()), op->origin).result();
        copies.insert(value->producer);
      }
      body.yield().add_operand(value);
      function.result_names.push_back(fmt::format("value {}", watched.size()));
      watched.push_back({fmt::format("result {} of a {} kernel of {}", result->index, op->params.text("family"), module.describe(op->origin))});
    }
  }
  return watched;
}

double relative_l2(const Tensor& got, const Tensor& expected) {
  double error = 0, scale = 0;
  for (int64_t i = 0; i < expected.elements(); ++i) {
    Scalar a = got.at(i), b = expected.at(i);
    double x = is_float(a.dtype) ? a.number : static_cast<double>(a.integer), y = is_float(b.dtype) ? b.number : static_cast<double>(b.integer);
    if (x == y || (std::isnan(x) && std::isnan(y))) {
      scale += std::isfinite(y) ? y * y : 0;
      continue;
    }
    error += (x - y) * (x - y);
    scale += y * y;
  }
  return std::isfinite(error) ? std::sqrt(error / (scale > 0 ? scale : 1)) : INFINITY;
}

}  // namespace

int check_every_value(const CompileOptions& options, const std::vector<HostTensor>& inputs) {
  Target target = codegen::resolve_target(options.target);
  passes::Options passes = pass_options(options, target);
  std::unique_ptr<Module> module = import(options);
  passes::run_graph_passes(*module, passes);
  size_t own_outputs = module->function("run")->result_names.size();
  std::vector<Watched> watched = watch_all(*module);
  Program program = passes::lower(*module, passes);

  TemporaryFolder folder;
  std::string library = folder.path() + "/watched.so";
  codegen::write_library(program, target, "watched", library, folder.path() + "/watched.h", artifact_options(options));
  LoadedModel model(library, "watched", options.threads);
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < inputs.size(); ++i) {
    model.bind_input(static_cast<int>(i), inputs[i]);
    tensors.push_back(Tensor::from_bytes(static_cast<DType>(inputs[i].dtype), inputs[i].dims, inputs[i].bytes));
  }
  model.run();
  std::vector<Tensor> expected = interpret(*module, *module->function("run"), tensors);
  int differing = 0;
  double worst = 0;
  for (size_t i = 0; i < watched.size(); ++i) {
    size_t slot = own_outputs + i;
    HostTensor host = model.output(static_cast<int>(slot));
    double error = relative_l2(Tensor::from_bytes(static_cast<DType>(host.dtype), host.dims, host.bytes), expected[slot]);
    worst = std::max(worst, error);
    if (error > kTolerance && ++differing <= kMostLines) fmt::print("{}: relative L2 {:.1e}\n", watched[i].what, error);
  }
  fmt::print("{} values checked, {} differ, worst relative L2 {:.1e}\n", watched.size(), differing, worst);
  return differing ? 1 : 0;
}

}  // namespace lapidary::tools
