#include "tools/check_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

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

}  // namespace

bool is_carried(const Value& value) {
  return std::ranges::any_of(value.uses, [](const Use& use) {
    return use.op->is(OpKind::Loop) && use.operand < static_cast<uint64_t>(use.op->params.integer("carried"));
  });
}

size_t result_of(Module& module, Value& of) {
  Function& function = *module.function("run");
  Region& body = *function.body;
  const auto own = std::ranges::find(body.results(), &of);
  if (own != body.results().end()) return static_cast<size_t>(own - body.results().begin());
  Value* value = &of;
  if (!of.type.layout.dense() || is_carried(of)) {
    const Op& group = *of.producer;
    const Type dense = Type::tensor(of.type.dtype, of.type.shape);
    value = passes::relayout_group(module, value, dense, std::next(group.self), group.origin).result();
  }
  body.yield().add_operand(value);
  function.result_names.push_back(fmt::format("value {}", body.results().size()));
  return body.results().size() - 1;
}

namespace {

std::vector<Watched> watch_all(Module& module) {
  std::vector<Op*> makers;  // copies of results are none of them
  for (Op& op : module.function("run")->body->ops)
    if (op.is(OpKind::Group) || op.is(OpKind::HostCall)) makers.push_back(&op);
  std::vector<Watched> watched;
  for (Op* maker : makers) {
    const std::string name =
        maker->is(OpKind::Group) ? maker->params.text("family") + " kernel" : maker->params.text("function");
    for (const auto& result : maker->results)
      watched.push_back({result_of(module, *result),
                         fmt::format("result {} of a {} of {}", result->index, name, module.describe(maker->origin))});
  }
  return watched;
}

}  // namespace

Tensor tensor_of(const HostTensor& host, StringPool& pool) {
  if (static_cast<DType>(host.dtype) != DType::String)
    return Tensor::from_bytes(static_cast<DType>(host.dtype), host.dims, host.bytes);
  Tensor tensor = Tensor::zeros(DType::String, host.dims);
  for (size_t i = 0; i < host.strings.size(); ++i) tensor.integers[i] = pool.number_of(host.strings[i]);
  return tensor;
}

int check_every_value(const CompileOptions& options, const std::vector<HostTensor>& inputs) {
  Compiled compiled = compile_graph(options);
  Module& module = *compiled.module;
  std::vector<Watched> watched = watch_all(module);
  lower(compiled, options);

  const TemporaryLibrary library;
  write(compiled, options, "watched", {.library = library.path()});
  LoadedModel model(library.path(), "watched", options.threads);
  StringPool& pool = *module.constants.strings;
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < inputs.size(); ++i) {
    model.bind_input(static_cast<int>(i), inputs[i]);
    tensors.push_back(tensor_of(inputs[i], pool));
  }
  model.run();
  std::vector<Tensor> expected = interpret(module, *module.function("run"), tensors);
  ValueReport report;
  for (const Watched& value : watched) {
    HostTensor host = model.output(static_cast<int>(value.output));
    report.add(value.what, tensor_of(host, pool), expected[value.output]);
  }
  fmt::print("{}", report.text());
  return report.good() ? 0 : 1;
}

}  // namespace lapidary::tools
