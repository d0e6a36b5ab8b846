#include "tools/check_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "ir/error.h"
#include "ir/interpreter.h"
#include "passes/graph/relayout.h"
#include "tools/value_report.h"

namespace lapidary::tools {

namespace {

struct Watched {
  size_t output;     // of the module now
  std::string what;  // which result of which kernel
};

// What a loop starts with lies where the loop carries it.
bool is_carried(const Value& value) {
  return std::ranges::any_of(value.uses, [](const Use& use) {
    return use.op->is(OpKind::Loop) && use.operand < static_cast<uint64_t>(use.op->params.integer("carried"));
  });
}

// Makes every group's results outputs, dense as outputs are; those that are outputs already stay what they are. Where a
// result cannot be one itself, a copy is.
std::vector<Watched> watch_all(Module& module) {
  Function& function = *module.function("run");
  Region& body = *function.body;
  std::vector<Watched> watched;
  std::set<const Op*> copies;
  for (auto op = body.ops.begin(); op != body.ops.end(); ++op) {
    if (!op->is(OpKind::Group) || copies.contains(&*op)) continue;
    for (const auto& result : op->results) {
      Value* value = result.get();
      std::string what = fmt::format("result {} of a {} kernel of {}", result->index, op->params.text("family"),
                                     module.describe(op->origin));
      const auto own = std::ranges::find(body.results(), value);
      if (own != body.results().end()) {
        watched.push_back({static_cast<size_t>(own - body.results().begin()), what});
        continue;
      }
      if (!value->type.layout.dense() || is_carried(*value)) {
        Type dense = Type::tensor(value->type.dtype, value->type.shape);
        value = passes::relayout_group(module, value, dense, std::next(op), op->origin).result();
        copies.insert(value->producer);
      }
      watched.push_back({body.results().size(), what});
      body.yield().add_operand(value);
      function.result_names.push_back(fmt::format("value {}", watched.size()));
    }
  }
  return watched;
}

}  // namespace

int check_every_value(const CompileOptions& options, const std::vector<HostTensor>& inputs) {
  Compiled compiled = compile_graph(options);
  Module& module = *compiled.module;
  std::vector<Watched> watched = watch_all(module);
  lower(compiled, options);

  TemporaryFolder folder;
  std::string library = folder.path() + "/watched.so";
  write(compiled, options, "watched", {.library = library});
  LoadedModel model(library, "watched", options.threads);
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < inputs.size(); ++i) {
    model.bind_input(static_cast<int>(i), inputs[i]);
    tensors.push_back(Tensor::from_bytes(static_cast<DType>(inputs[i].dtype), inputs[i].dims, inputs[i].bytes));
  }
  model.run();
  std::vector<Tensor> expected = interpret(module, *module.function("run"), tensors);
  ValueReport report;
  for (const Watched& value : watched) {
    HostTensor host = model.output(static_cast<int>(value.output));
    report.add(value.what, Tensor::from_bytes(static_cast<DType>(host.dtype), host.dims, host.bytes),
               expected[value.output]);
  }
  fmt::print("{}", report.text());
  return report.good() ? 0 : 1;
}

}  // namespace lapidary::tools
