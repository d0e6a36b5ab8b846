#include "tools/inspection.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>

#include "ir/error.h"
#include "ir/layout.h"

namespace lapidary::tools {

namespace {

// Formulas and their values under the extents that are given.
class Amounts {
 public:
  explicit Amounts(const Extents& extents) : extents_(extents) {}

  std::optional<int64_t> value(Dim dim) const {
    return evaluate(dim, [&](Dim leaf) -> std::optional<int64_t> {
      if (leaf->kind != DimKind::Symbol) return {};
      auto found = extents_.find(leaf->name);
      return found == extents_.end() ? std::optional<int64_t>() : found->second;
    });
  }
  Amount of(Dim dim) const { return dim ? Amount{to_string(dim), value(dim)} : Amount{"0", 0}; }

 private:
  const Extents& extents_;
};

// A sum or a maximum of formulas; models may be such that it cannot be written down.
class Total {
 public:
  explicit Total(DimPool& dims) : dims_(dims), total_(dims.constant(0)) {}
  void add(Dim dim) {
    combine([&] { return dims_.add(total_, dim); }, dim);
  }
  void max(Dim dim) {
    combine([&] { return dims_.max(total_, dim); }, dim);
  }
  Amount amount(const Amounts& amounts) const {
    return total_ ? amounts.of(total_) : Amount{"too large to write down", {}};
  }

 private:
  template <typename Combine>
  void combine(const Combine& combine, Dim dim) {
    if (!total_ || !dim) return;
    try {
      total_ = combine();
    } catch (const Error&) { total_ = nullptr; }
  }
  DimPool& dims_;
  Dim total_;
};

template <typename Visit>
void each_op(const Region& region, const Visit& visit) {
  for (const Op& op : region.ops) {
    visit(op);
    for (const auto& inner : op.regions) each_op(*inner, visit);
  }
}

// The parameters are the tensors of floats, and codes of quantised ones, that the file holds: what is no scalar.
void count_parameters(const Module& module, Inspection& result) {
  std::set<ConstantId> seen;
  for (const auto& function : module.functions) {
    each_op(*function->body, [&](const Op& op) {
      if (!op.is(OpKind::Constant) || !seen.insert(op.params.constant("value")).second) return;
      const Constant& constant = module.constants[op.params.constant("value")];
      if (constant.shape.empty() || !std::holds_alternative<ByteSource>(constant.source)) return;
      if (constant.dtype == DType::I64 || constant.dtype == DType::Bool) return;  // shapes, indices, masks
      result.parameters += constant.elements();
      result.parameter_bytes += constant.bytes();
    });
  }
}

void count_operators(const Module& module, Inspection& result) {
  for (size_t i = 1; i < module.origins.size(); ++i) ++result.operators[printable(module.origins[i].op_type)];
}

void count_groups(const Module& module, Inspection& result) {
  for (const auto& function : module.functions) {
    each_op(*function->body, [&](const Op& op) {
      if (!op.is(OpKind::Group)) return;
      Inspection::Groups& groups = result.groups[op.params.text("family")];
      const int ops = static_cast<int>(std::ranges::count_if(
          op.regions[0]->ops, [](const Op& inner) { return !inner.is(OpKind::Yield) && !inner.is(OpKind::Constant); }));
      ++groups.groups;
      groups.ops += ops;
      groups.largest = std::max(groups.largest, ops);
    });
  }
}

// --- the program -----------------------------------------------------------------------------------------------------

Inspection::Tensor tensor(DimPool& dims, const TensorInfo& info, const Amounts& amounts) {
  const Type type = Type::tensor(info.dtype, info.shape);
  Inspection::Tensor result{printable(info.name), to_string(type), {}};
  result.known_by_run = std::ranges::any_of(info.shape, speaks_of_elements);
  const int64_t eight = byte_size(info.dtype, 8).value_or(0);  // of eight elements: some have less than a byte
  Dim bits = dims.mul(element_count(dims, type), dims.constant(eight));
  result.bytes = amounts.of(dims.ceildiv(bits, dims.constant(8)));
  return result;
}

// Steps that a jump backwards may run again, and steps that a jump forwards may leave out.
void mark_jumps(const EntryPoint& entry, std::vector<Inspection::Step>& steps) {
  for (uint32_t at = 0; at < entry.steps.size(); ++at) {
    const Step& step = entry.steps[at];
    if (!jumps(step.kind)) continue;
    for (uint32_t i = step.target; i <= at && step.target <= at; ++i) steps[i].repeated = true;
    if (step.kind == StepKind::LoopNext) continue;
    for (uint32_t i = at + 1; i < step.target && i < steps.size(); ++i) steps[i].conditional = true;
  }
}

// The variant that the extents choose, or the first.
const Variant& chosen(const Step& step, const Amounts& amounts) {
  for (const Variant& variant : step.variants)
    if (!variant.when || amounts.value(variant.when).value_or(0)) return variant;
  return step.variants.front();
}

void count_steps(const Program& program, const EntryPoint& entry, const Amounts& amounts, Inspection& result) {
  DimPool& dims = program.module->dims;
  struct Totals {
    Total flops, bytes;
  };
  std::map<std::string, Totals> families;
  Total flops(dims), bytes(dims), workspace(dims);
  for (const Step& step : entry.steps) {
    Inspection::Step& found = result.steps.emplace_back();
    found.origin = step.origin ? program.module->describe(step.origin) : "";
    if (step.kind != StepKind::Kernel) {
      found.kernel = "host";
      found.flops = found.bytes = {"0", 0};
      continue;
    }
    found.kernel = program.kernels[chosen(step, amounts).kernel].family;
    found.flops = amounts.of(step.flops);
    found.bytes = amounts.of(step.bytes);
    found.known_by_run =
        (step.flops && speaks_of_elements(step.flops)) || (step.bytes && speaks_of_elements(step.bytes));
    for (const Variant& variant : step.variants)
      if (variant.stage_bytes && !speaks_of_elements(variant.stage_bytes)) workspace.max(variant.stage_bytes);
    ++result.kernels[found.kernel].steps;
    if (found.known_by_run) continue;
    Totals& family = families.try_emplace(found.kernel, Totals{Total(dims), Total(dims)}).first->second;
    for (Total* total : {&flops, &family.flops}) total->add(step.flops);
    for (Total* total : {&bytes, &family.bytes}) total->add(step.bytes);
  }
  mark_jumps(entry, result.steps);
  for (const Inspection::Step& step : result.steps) {
    if (step.kernel == "host") continue;
    result.known_by_run += step.known_by_run;
    result.repeated += step.repeated;
    result.conditional += step.conditional && !step.repeated;
  }
  for (auto& [family, kernels] : result.kernels) {
    auto totals = families.find(family);
    kernels.flops = totals == families.end() ? Amount{"0", 0} : totals->second.flops.amount(amounts);
    kernels.bytes = totals == families.end() ? Amount{"0", 0} : totals->second.bytes.amount(amounts);
  }
  result.flops = flops.amount(amounts);
  result.bytes = bytes.amount(amounts);
  result.workspace = workspace.amount(amounts);
}

void describe_plan(const EntryPoint& entry, const Amounts& amounts, Inspection& result) {
  result.peak = amounts.of(entry.arena_bytes);
  for (const ArenaBuffer& buffer : entry.arena)
    result.buffers.push_back(
        {amounts.of(buffer.offset), amounts.of(buffer.bytes), buffer.first_step, buffer.last_step});
  for (const Register& held : entry.registers)
    result.registers.push_back({held.first_step < result.steps.size() ? result.steps[held.first_step].origin : "",
                                held.slot, held.first_step, held.last_step});
  result.register_slots = entry.register_slots;
}

// --- the extents -----------------------------------------------------------------------------------------------------

// Symbols in the order in which the inputs name them.
std::vector<std::string> symbols_of(const std::vector<TensorInfo>& inputs) {
  std::vector<std::string> symbols;
  for (const TensorInfo& input : inputs)
    for (Dim dim : input.shape)
      if (dim->kind == DimKind::Symbol && std::ranges::find(symbols, dim->name) == symbols.end())
        symbols.push_back(dim->name);
  return symbols;
}

void check_extents(const Program& program, const Extents& extents) {
  const Amounts amounts(extents);
  const std::vector<std::string> symbols = symbols_of(program.entries.front().inputs);
  std::string known;
  for (const std::string& symbol : symbols) known += (known.empty() ? "" : ", ") + printable(symbol);
  for (const auto& [name, extent] : extents) {
    if (std::ranges::find(symbols, name) == symbols.end())
      throw Error(Fault::Usage, fmt::format("--hint names '{}', which is no symbol of the inputs; they have {}",
                                            printable(name), known.empty() ? "none" : known));
    const Interval interval = range(program.module->dims.symbol(name));
    if (extent < interval.lo || extent > interval.hi)
      throw Error(Fault::Usage, fmt::format("--hint {}={}: the model takes {} to {}", printable(name), extent,
                                            interval.lo, interval.hi));
  }
  for (const Check& check : program.checks)
    if (amounts.value(check.must_hold) == 0) throw Error(Fault::Usage, fmt::format("--hint: {}", check.message));
}

using Given = std::function<Extents(const Program&)>;

Inspection inspect_with(const CompileOptions& options, const Given& given) {
  Inspection result;
  result.model = printable(stem(options.model));
  {
    const std::unique_ptr<Module> imported = import(options);
    count_operators(*imported, result);
    count_parameters(*imported, result);
  }
  CompileOptions quiet = options;
  quiet.quiet = true;  // the warnings were said
  Compiled compiled = compile_graph(quiet);
  count_groups(*compiled.module, result);
  compiled.lower_levels.clear();
  lower(compiled, quiet);
  const Program& program = compiled.program;
  const EntryPoint& entry = program.entries.front();
  DimPool& dims = compiled.module->dims;
  result.extents = given(program);
  const Amounts amounts(result.extents);
  for (const std::string& symbol : symbols_of(entry.inputs))
    if (!result.extents.contains(symbol)) result.open.push_back(printable(symbol));
  about_model(options, [&] {
    for (const TensorInfo& info : entry.inputs) result.inputs.push_back(tensor(dims, info, amounts));
    for (const TensorInfo& info : entry.outputs) result.outputs.push_back(tensor(dims, info, amounts));
  });
  for (ConstantId id : program.weights) result.weight_bytes += compiled.module->constants[id].bytes();
  count_steps(program, entry, amounts, result);
  describe_plan(entry, amounts, result);
  return result;
}

}  // namespace

Inspection inspect(const CompileOptions& options, const Extents& extents) {
  return inspect_with(options, [&](const Program& program) {
    check_extents(program, extents);
    return extents;
  });
}

Inspection inspect(const CompileOptions& options, const std::vector<std::vector<int64_t>>& shapes) {
  return inspect_with(options, [&](const Program& program) {
    Extents extents;
    const std::vector<TensorInfo>& inputs = program.entries.front().inputs;
    for (size_t i = 0; i < std::min(inputs.size(), shapes.size()); ++i)
      for (size_t axis = 0; axis < std::min(inputs[i].shape.size(), shapes[i].size()); ++axis)
        if (inputs[i].shape[axis]->kind == DimKind::Symbol) extents[inputs[i].shape[axis]->name] = shapes[i][axis];
    return extents;
  });
}

}  // namespace lapidary::tools
