#include "tools/check_kernels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>

#include "ir/error.h"
#include "ir/interpreter.h"
#include "ir/shape_rules.h"
#include "passes/graph/relayout.h"
#include "passes/graph/walk.h"
#include "tools/check_values.h"
#include "tools/kernel_report.h"

namespace lapidary::tools {

namespace {

using Tensors = std::unordered_map<const Value*, Tensor>;

// A value of codes as the model names it: the node that makes it, and its type.
using CodesName = std::tuple<Origin, DType, std::vector<int64_t>>;

bool are_codes(DType dtype) { return dtype == DType::U8 || dtype == DType::I8; }

std::optional<CodesName> codes_name(const Value& result) {
  const Value* inside = result.producer->regions[0]->results()[result.index];
  const auto extents = constant_extents(result.type.shape);
  if (!are_codes(result.type.dtype) || !extents || !inside->producer) return std::nullopt;
  return CodesName{inside->producer->origin, result.type.dtype, *extents};
}

// The sums of products of bytes, which stay inside their kernels otherwise, as results of these.
void expose_sums(Module& module, Region& body) {
  for (Op& group : body.ops) {
    if (!group.is(OpKind::Group)) continue;
    Region& inside = *group.regions[0];
    const Op& anchor = anchor_of(group);
    if (!anchor.params.has("to") || (!anchor.is(OpKind::Conv) && !anchor.is(OpKind::Contract))) continue;
    if (std::ranges::find(inside.results(), anchor.result()) != inside.results().end()) continue;
    inside.yield().add_operand(anchor.result());
    auto sums = std::make_unique<Value>();
    sums->id = module.next_value_id++;
    sums->producer = &group;
    sums->region = &body;
    sums->index = static_cast<uint32_t>(group.results.size());
    sums->type = Type::tensor(anchor.type().dtype, anchor.type().shape);
    group.results.push_back(std::move(sums));
  }
}

// Every code of these names that the model as imported computes.
std::map<CodesName, Tensor> imported_codes(const CompileOptions& options, const std::set<CodesName>& wanted,
                                           const std::vector<Tensor>& inputs) {
  CompileOptions quietly = options;
  quietly.quiet = true;
  const std::unique_ptr<Module> module = import(quietly);
  std::map<CodesName, Tensor> found;
  InterpreterOptions watch;
  watch.on_op = [&](const Op& op, const std::vector<Tensor>& results) {
    if (results.size() != 1 || !are_codes(results[0].dtype)) return;
    CodesName name{op.origin, results[0].dtype, results[0].shape};
    if (wanted.contains(name)) found[std::move(name)] = results[0];
  };
  interpret(*module, *module->function("run"), inputs, watch);
  return found;
}

class KernelCheck {
 public:
  KernelCheck(const CompileOptions& given, const std::vector<HostTensor>& inputs) : options_(given), inputs_(inputs) {
    options_.skip_passes.push_back("place-concats");  // what stands between two kernels is a value of its own
    compiled_ = compile_graph(options_);
    body_ = module().function("run")->body.get();
    expose_sums(module(), *body_);
    for (Op& op : body_->ops)
      if (op.is(OpKind::Group)) groups_.push_back(&op);
  }

  int run() {
    interpret_groups();
    for (Op* group : groups_)
      for (const auto& result : group->results) cut(*result);
    for (Op* group : groups_)
      for (const auto& result : group->results) watch(*result);
    return compare();
  }

 private:
  struct Watched {
    const Value* value;
    size_t output;
    std::string what;
  };

  Module& module() { return *compiled_.module; }

  // What each group should give, from what those before it should.
  void interpret_groups() {
    std::vector<Tensor> tensors;
    for (const HostTensor& input : inputs_) tensors.push_back(tensor_of(input, *module().constants.strings));
    std::set<CodesName> wanted;
    for (const Op* group : groups_)
      for (const auto& result : group->results)
        if (auto name = codes_name(*result)) wanted.insert(*name);
    std::map<CodesName, Tensor> codes = imported_codes(options_, wanted, tensors);
    Tensors known;
    std::unordered_map<const Value*, size_t> readers;
    for (const Op& op : body_->ops)
      for (const Value* operand : op.operands) ++readers[operand];
    for (size_t i = 0; i < tensors.size(); ++i) known[body_->arguments[i].get()] = tensors[i];
    for (const Op& op : body_->ops) {
      if (op.is(OpKind::Yield)) break;
      std::vector<Tensor> operands;
      for (const Value* operand : op.operands) operands.push_back(known.at(operand));
      auto results = interpret_op(module(), op, operands);
      if (!results)
        throw Error(Fault::Usage,
                    "--check-each-kernel needs every extent known: give --shape; and none may depend on "
                    "what only a run can tell");
      for (const Value* operand : op.operands)
        if (--readers[operand] == 0) known.erase(operand);
      for (size_t i = 0; i < results->size(); ++i) {
        const Value* value = op.result(static_cast<int>(i));
        const auto name = op.is(OpKind::Group) ? codes_name(*value) : std::nullopt;
        const auto imported = name ? codes.find(*name) : codes.end();
        Tensor& right = imported != codes.end() ? imported->second : (*results)[i];
        if (op.is(OpKind::Group)) expected_[value] = right;
        if (readers[value] > 0) known[value] = right;
      }
    }
  }

  // Its readers read an input of the model instead.
  void cut(Value& value) {
    if (passes::names_dims(&value) || is_carried(value)) return;
    const std::vector<Use> uses = value.uses;
    Value* input = nullptr;
    for (const Use& use : uses) {
      if (use.op->is(OpKind::Yield)) continue;
      if (!input) input = input_for(value);
      use.op->set_operand(use.operand, input);
    }
  }

  Value* input_for(Value& value) {
    const Op& group = *value.producer;
    Function& function = *module().function("run");
    Value* input = add_argument(module(), *body_, Type::tensor(value.type.dtype, value.type.shape));
    function.argument_names.push_back(fmt::format("operand {}", cuts_.size()));
    cuts_.push_back(&value);
    if (value.type.layout.dense()) return input;
    return passes::relayout_group(module(), input, value.type, std::next(group.self), group.origin).result();
  }

  void watch(Value& value) {
    const Op& group = *value.producer;
    const bool sums = value.index >= 1 && value.type.dtype == DType::I32 && anchor_of(group).params.has("to");
    watched_.push_back({&value, result_of(module(), value),
                        fmt::format("{} {} of a {} kernel of {}", sums ? "sums, result" : "result", value.index,
                                    group.params.text("family"), module().describe(group.origin))});
  }

  int compare() {
    lower(compiled_, options_);
    const TemporaryLibrary library;
    write(compiled_, options_, "cut", {.library = library.path()});
    LoadedModel model(library.path(), "cut", options_.threads);
    std::vector<HostTensor> operands;
    operands.reserve(cuts_.size());
    for (size_t i = 0; i < inputs_.size(); ++i) model.bind_input(static_cast<int>(i), inputs_[i]);
    for (const Value* value : cuts_) {
      const Tensor& tensor = expected_.at(value);
      operands.push_back({static_cast<uint8_t>(tensor.dtype), tensor.shape, tensor.to_bytes()});
      model.bind_input(static_cast<int>(inputs_.size() + operands.size() - 1), operands.back());
    }
    model.run();
    KernelReport report;
    for (const Watched& watched : watched_) {
      const HostTensor host = model.output(static_cast<int>(watched.output));
      report.add(watched.what, tensor_of(host, *module().constants.strings), expected_.at(watched.value));
    }
    fmt::print("{}", report.text());
    return report.good() ? 0 : 1;
  }

  CompileOptions options_;
  const std::vector<HostTensor>& inputs_;
  Compiled compiled_;
  Region* body_ = nullptr;
  std::vector<Op*> groups_;  // of the compiled graph; relayouts that cuts add are none of them
  Tensors expected_;
  std::vector<const Value*> cuts_;
  std::vector<Watched> watched_;
};

}  // namespace

int check_each_kernel(const CompileOptions& options, const std::vector<HostTensor>& inputs) {
  return KernelCheck(options, inputs).run();
}

}  // namespace lapidary::tools
