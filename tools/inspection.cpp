#include "tools/inspection.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>

#include "codegen/cuda/compile.h"
#include "codegen/cuda/tensor_maps.h"
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
  Amount of(Dim dim) const {
    if (!dim) return {"too large to write down", {}, {}};
    Amount amount{to_string(dim), value(dim), {}};
    if (!amount.value && amount.formula.size() > Amount::kLongestFormula) amount.samples = samples_of(dim);
    return amount;
  }

 private:
  void add_open_symbols(Dim dim, std::vector<Dim>& open) const {
    const bool is_open = dim->kind == DimKind::Symbol && !extents_.contains(dim->name);
    if (is_open && std::ranges::find(open, dim) == open.end()) open.push_back(dim);
    for (Dim operand : dim->operands) add_open_symbols(operand, open);
  }

  // With all symbols that are open of one size.
  std::vector<Amount::Sample> samples_of(Dim dim) const {
    std::vector<Dim> open;
    add_open_symbols(dim, open);
    std::vector<Amount::Sample> samples;
    for (const int64_t size : {1, 8, 64, 512}) {
      Extents extents = extents_;
      std::string at;
      for (Dim symbol : open) {
        extents[symbol->name] = size;
        at += printable(symbol->name) + "=";
      }
      const bool allowed = std::ranges::all_of(
          open, [&](Dim symbol) { return symbol->interval.lo <= size && size <= symbol->interval.hi; });
      if (const auto found = Amounts(extents).value(dim); found && allowed)
        samples.push_back({fmt::format("{}{}", at, size), *found});
    }
    return samples;
  }

  const Extents& extents_;
};

// The formula that compute() makes; null where it cannot be written down.
template <typename Compute>
Dim if_it_fits(const Compute& compute) {
  try {
    return compute();
  } catch (const Error&) { return nullptr; }
}

// A sum or a maximum of formulas. One that cannot be written down makes the whole so.
class Total {
 public:
  explicit Total(DimPool& dims) : dims_(dims), total_(dims.constant(0)) {}
  void add(Dim dim) {
    total_ = if_it_fits([&] { return total_ && dim ? dims_.add(total_, dim) : nullptr; });
  }
  void max(Dim dim) {
    total_ = if_it_fits([&] { return total_ && dim ? dims_.max(total_, dim) : nullptr; });
  }
  Dim dim() const { return total_; }

 private:
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
  // Of eight elements: some have less than a byte. A string has its lpd_string; its text is not counted.
  const int64_t eight = info.dtype == DType::String ? 8 * 16 : byte_size(info.dtype, 8).value_or(0);
  Dim bits = dims.mul(element_count(dims, type), dims.constant(eight));
  result.bytes = amounts.of(dims.ceildiv(bits, dims.constant(8)));
  return result;
}

// Null where one of them is, and where it cannot be written down.
Dim times(DimPool& dims, Dim a, Dim b) {
  return if_it_fits([&] { return a && b ? dims.mul(a, b) : nullptr; });
}

// How often a step runs at most, as far as that is known before: trips of the loops around it. Steps of loops whose
// trips only a run can tell, and steps that a jump forwards may leave out, are marked.
std::vector<Dim> trips_of_steps(DimPool& dims, const EntryPoint& entry, std::vector<Inspection::Step>& steps) {
  std::vector<Dim> trips(steps.size(), dims.constant(1));
  for (uint32_t at = 0; at < steps.size(); ++at) {
    const Step& step = entry.steps[at];
    if (!jumps(step.kind)) continue;
    const bool loop = step.kind == StepKind::LoopNext;
    const bool known = loop && !speaks_of_elements(step.amount) && range(step.amount).hi < kDimMax;
    for (uint32_t i = at + 1; i < std::min<size_t>(step.target, steps.size()); ++i) {
      (known ? steps[i].looped : loop ? steps[i].repeated : steps[i].conditional) = true;
      if (known) trips[i] = times(dims, trips[i], dims.max(step.amount, dims.constant(0)));
    }
  }
  return trips;
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
  result.steps.resize(entry.steps.size());
  const std::vector<Dim> trips = trips_of_steps(dims, entry, result.steps);
  for (size_t i = 0; i < entry.steps.size(); ++i) {
    const Step& step = entry.steps[i];
    Inspection::Step& found = result.steps[i];
    found.origin = step.origin ? program.module->describe(step.origin) : "";
    if (!runs_kernel(step.kind)) {
      found.kernel = "host";
      found.flops = found.bytes = {"0", 0};
      continue;
    }
    const loops::Kernel& kernel = program.kernels[chosen(step, amounts).kernel];
    found.kernel = kernel.family;
    found.schedule = kernel.schedule;
    found.plain = result.plain && loops::is_plain(loops::report_name(kernel));
    if (result.plain) result.plain->add(loops::report_name(kernel), found.origin);
    const Dim step_flops = step.flops ? times(dims, step.flops, trips[i]) : dims.constant(0);
    const Dim step_bytes = step.bytes ? times(dims, step.bytes, trips[i]) : dims.constant(0);
    found.flops = amounts.of(step_flops);
    found.bytes = amounts.of(step_bytes);
    found.known_by_run =
        (step.flops && speaks_of_elements(step.flops)) || (step.bytes && speaks_of_elements(step.bytes));
    for (const Variant& variant : step.variants)
      if (variant.stage_bytes && !speaks_of_elements(variant.stage_bytes)) workspace.max(variant.stage_bytes);
    ++result.kernels[found.kernel].steps;
    if (found.known_by_run) continue;
    Totals& family = families.try_emplace(found.kernel, Totals{Total(dims), Total(dims)}).first->second;
    for (Total* total : {&flops, &family.flops}) total->add(step_flops);
    for (Total* total : {&bytes, &family.bytes}) total->add(step_bytes);
  }
  for (const Inspection::Step& step : result.steps) {
    if (step.kernel == "host") continue;
    result.known_by_run += step.known_by_run;
    result.looped += step.looped;
    result.repeated += step.repeated;
    result.conditional += step.conditional && !step.looped && !step.repeated;
  }
  for (auto& [family, kernels] : result.kernels) {
    auto totals = families.find(family);
    kernels.flops = totals == families.end() ? Amount{"0", 0} : amounts.of(totals->second.flops.dim());
    kernels.bytes = totals == families.end() ? Amount{"0", 0} : amounts.of(totals->second.bytes.dim());
  }
  result.flops = amounts.of(flops.dim());
  result.bytes = amounts.of(bytes.dim());
  result.workspace = amounts.of(workspace.dim());
}

// Each slot has room for the largest of what its registers reserve.
std::optional<Amount> bytes_of_registers(DimPool& dims, const EntryPoint& entry, const Amounts& amounts) {
  std::map<uint32_t, Total> slots;
  for (const Step& step : entry.steps) {
    if (step.kind != StepKind::Reserve) continue;
    if (speaks_of_elements(step.amount)) return {};
    slots.try_emplace(entry.registers[step.buffers[0].index].slot, dims).first->second.max(step.amount);
  }
  Total sum(dims);
  for (const auto& [slot, bytes] : slots) sum.add(bytes.dim());
  return amounts.of(sum.dim());
}

void describe_plan(DimPool& dims, const EntryPoint& entry, const Amounts& amounts, Inspection& result) {
  result.peak = entry.arena_bytes ? amounts.of(entry.arena_bytes) : Amount{"0", 0};
  for (const ArenaBuffer& buffer : entry.arena)
    result.buffers.push_back(
        {amounts.of(buffer.offset), amounts.of(buffer.bytes), buffer.first_step, buffer.last_step});
  for (const Register& held : entry.registers)
    result.registers.push_back({held.first_step < result.steps.size() ? result.steps[held.first_step].origin : "",
                                held.slot, held.first_step, held.last_step});
  result.register_slots = entry.register_slots;
  result.register_bytes = bytes_of_registers(dims, entry, amounts);
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

// "lpd_k12" → kernel 12.
void describe_device_code(const Compiled& compiled, const codegen::ArtifactOptions& options, Inspection& result) {
  const std::vector<codegen::Level> levels = compiled.levels();
  for (const codegen::cuda::Image& image : compile_images(compiled, options, codegen::cuda::is_cubin))
    for (const codegen::cuda::KernelResources& needs : image.kernels) {
      const size_t number = std::stoul(needs.kernel.substr(std::string_view("lpd_k").size()));
      const loops::Kernel& kernel = levels[image.level].program.kernels.at(number);
      result.device_code.push_back({image.arch, kernel.family, codegen::cuda::schedule_of(kernel), needs});
    }
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
  if (!compiled.target.is_gpu()) compiled.lower_levels.clear();
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
  if (compiled.target.is_gpu()) result.plain.emplace();
  result.f32_products = program.f32_products;
  count_steps(program, entry, amounts, result);
  describe_plan(dims, entry, amounts, result);
  if (compiled.target.is_gpu()) describe_device_code(compiled, artifact_options(options), result);
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
