// Every table is an array of the very structs the runtime reads; their pointers are set as relocations afterwards.
#include "codegen/host/tables.h"

#include <algorithm>
#include <cstddef>
#include <set>

#include "codegen/cpu/compile.h"
#include "codegen/host/device_tables.h"
#include "codegen/host/dim_table.h"
#include "codegen/host/object_file.h"
#include "ir/error.h"
#include "ir/host_functions.h"

namespace lapidary::codegen::host {
namespace {

constexpr int64_t kAlignment = 64;

std::string model_symbol(uint32_t level) { return fmt::format("lpd_model_{}", level); }

// Offsets of one model's tables while they are built.
class TableBuilder {
 public:
  TableBuilder(const Program& program, uint32_t level, const WeightLayout& weights, const Needs& needs)
      : program_(program),
        level_(level),
        inputs_(all_tensors(program, &EntryPoint::inputs)),
        outputs_(all_tensors(program, &EntryPoint::outputs)),
        dims_(inputs_),
        weights_(weights),
        needs_(needs) {}

  std::vector<char> build();

 private:
  void add_entry(const EntryPoint&);
  void add_states();
  void add_step(const Step&, bool begins_region);
  void add_host_step(const Step&);
  uint32_t function_index(const std::string& symbol);
  void add_reads(const Step&);
  void finish_host_steps();
  lpd_variant variant(const Variant&);
  lpd_buffer_ref buffer_ref(const BufferRef&);
  uint32_t offset_slot(Dim base, Dim offset);
  uint32_t start_slot(int64_t start, Dim offset);
  uint32_t add_slots(const std::vector<Dim>&);
  void add_checks();
  void add_interval_check(Dim leaf, const std::string& what);

  void emit_entries(uint64_t model);
  void emit_states(uint64_t model);
  void emit_steps(uint64_t model);
  void emit_checks(uint64_t model);
  void emit_symbols(uint64_t model);
  void emit_kernels(uint64_t model);
  void emit_seeded_weights(uint64_t model);
  uint64_t emit_signatures(const std::vector<TensorInfo>&);
  uint64_t emit_strings(const std::vector<std::string>&, bool null_at_end);
  void point_to_string(uint64_t at, const std::string& text) { out_.point(at, out_.add_string(text)); }

  const Program& program_;
  const uint32_t level_;
  const std::vector<TensorInfo> inputs_, outputs_;  // of all entries
  const EntryPoint* entry_ = nullptr;               // that is being added
  uint32_t reductions_ = 0;
  DimTable dims_;
  const WeightLayout& weights_;
  const Needs& needs_;
  DataObject out_;
  std::vector<lpd_entry> entries_;
  std::vector<lpd_state> states_;
  int64_t state_bytes_ = 0;
  std::vector<lpd_step> steps_;
  std::vector<std::string> step_origins_;
  std::vector<lpd_variant> variants_;
  std::vector<lpd_buffer_ref> refs_;
  std::vector<uint32_t> integer_slots_;
  std::vector<lpd_host_step> host_steps_;
  std::vector<std::string> functions_;        // of the runtime, that host calls name
  std::vector<std::vector<uint32_t>> reads_;  // the slots each of those fills
  struct CheckEntry {
    uint32_t slot;
    std::string message;
  };
  std::vector<CheckEntry> checks_;
  size_t static_checks_ = 0;
};

// --- collecting ------------------------------------------------------------------------------------------------

uint32_t index_of(const std::vector<TensorInfo>& tensors, const std::string& name) {
  return static_cast<uint32_t>(std::ranges::find(tensors, name, &TensorInfo::name) - tensors.begin());
}

// Each begins at a cache line.
void TableBuilder::add_states() {
  const Module& module = *program_.module;
  Program known;
  known.module = program_.module;
  known.weights = program_.weights;
  for (const State& state : module.states) {
    lpd_state table{};
    table.dtype = static_cast<uint32_t>(state.type.dtype);
    table.rank = static_cast<uint32_t>(state.type.shape.size());
    table.kind = static_cast<uint32_t>(state.kind);
    table.offset = state_bytes_;
    table.bytes = module.constants[state.initial].bytes();
    table.initial = begins_as_zeros(module, state) ? -1 : weights_.offsets[level_].at(add_weight(known, state.initial));
    state_bytes_ += (table.bytes + kAlignment - 1) / kAlignment * kAlignment;
    states_.push_back(table);
  }
}

// What its steps and tensors are.
void TableBuilder::add_entry(const EntryPoint& entry) {
  entry_ = &entry;
  lpd_entry table{};
  table.first_step = static_cast<uint32_t>(steps_.size());
  const std::vector<bool> begins = region_begins(entry);
  for (size_t i = 0; i < entry.steps.size(); ++i) add_step(entry.steps[i], begins[i]);
  table.step_count = static_cast<uint32_t>(entry.steps.size());
  table.arena_bytes = entry.arena_bytes ? dims_.slot(entry.arena_bytes) : dims_.constant(0);
  table.first_slot = static_cast<uint32_t>(integer_slots_.size());
  for (const TensorInfo& input : entry.inputs) integer_slots_.push_back(index_of(inputs_, input.name));
  for (const TensorInfo& output : entry.outputs)
    integer_slots_.push_back(static_cast<uint32_t>(inputs_.size()) + index_of(outputs_, output.name));
  table.slot_count = static_cast<uint32_t>(integer_slots_.size()) - table.first_slot;
  for (Dim symbol : dims_.symbols())
    if (!entry.inputs.empty() && std::ranges::none_of(entry.inputs, [&](const TensorInfo& input) {
          return std::ranges::find(input.shape, symbol) != input.shape.end();
        }))
      throw Error(Fault::Unsupported,
                  fmt::format("the dimension '{}', which no input of '{}' has", printable(symbol->name), entry.name));
  entries_.push_back(table);
}

uint32_t TableBuilder::add_slots(const std::vector<Dim>& dims) {
  const auto first = static_cast<uint32_t>(integer_slots_.size());
  for (Dim dim : dims) {
    const uint32_t slot = dims_.slot(dim);
    integer_slots_.push_back(slot);
  }
  return first;
}

lpd_variant TableBuilder::variant(const Variant& variant) {
  lpd_variant result{};
  result.kernel = variant.kernel;
  result.when = dims_.slot_or_none(variant.when);
  result.tasks = dims_.slot(variant.tasks);
  result.rounds = dims_.slot_or_none(variant.rounds);
  result.stage_bytes = dims_.slot_or_none(variant.stage_bytes);
  result.integer_count = static_cast<uint32_t>(variant.integers.size());
  result.first_integer = add_slots(variant.integers);
  result.stage_count = static_cast<uint32_t>(variant.stage_offsets.size());
  result.first_stage = add_slots(variant.stage_offsets);
  return result;
}

uint32_t TableBuilder::offset_slot(Dim base, Dim offset) {
  if (!base) return dims_.slot_or_none(offset);
  return offset ? dims_.combine(LPD_DIM_ADD, dims_.slot(base), dims_.slot(offset)) : dims_.slot(base);
}

uint32_t TableBuilder::start_slot(int64_t start, Dim offset) {
  const uint32_t slot = dims_.constant(start);
  return offset ? dims_.combine(LPD_DIM_ADD, slot, dims_.slot(offset)) : slot;
}

lpd_buffer_ref TableBuilder::buffer_ref(const BufferRef& ref) {
  switch (ref.base) {
    case BufferRef::Base::None:
      return {LPD_BASE_NONE, 0, LPD_NO_SLOT};
    case BufferRef::Base::Arena:
      return {LPD_BASE_ARENA, 0, offset_slot(entry_->arena.at(ref.index).offset, ref.offset)};
    case BufferRef::Base::Input:
      return {LPD_BASE_INPUT, index_of(inputs_, entry_->inputs.at(ref.index).name), dims_.slot_or_none(ref.offset)};
    case BufferRef::Base::Output:
      return {LPD_BASE_OUTPUT, index_of(outputs_, entry_->outputs.at(ref.index).name), dims_.slot_or_none(ref.offset)};
    case BufferRef::Base::Flag:
      return {LPD_BASE_FLAG, ref.index, LPD_NO_SLOT};
    case BufferRef::Base::Register:
      return {LPD_BASE_REGISTER, entry_->registers.at(ref.index).slot, dims_.slot_or_none(ref.offset)};
    case BufferRef::Base::Weights:
      return {LPD_BASE_WEIGHTS, 0, start_slot(weights_.offsets[level_].at(ref.index), ref.offset)};
    case BufferRef::Base::State:
      return {LPD_BASE_STATE, 0, start_slot(states_.at(ref.index).offset, ref.offset)};
  }
  LPD_UNREACHABLE();
}

void TableBuilder::add_step(const Step& step, bool begins_region) {
  lpd_step result{};
  result.kind = static_cast<uint32_t>(step.kind);
  result.first_buffer = static_cast<uint32_t>(refs_.size());
  result.buffer_count = static_cast<uint32_t>(step.buffers.size());
  result.grain = step.grain;
  result.flops = dims_.slot_or_none(step.flops);
  result.bytes = dims_.slot_or_none(step.bytes);
  for (const BufferRef& ref : step.buffers) refs_.push_back(buffer_ref(ref));
  if (runs_kernel(step.kind)) {
    LPD_CHECK(!step.variants.empty(), "a step without a kernel");
    if (step.barrier_before) result.flags |= LPD_STEP_BARRIER_BEFORE;
    if (step.serial) result.flags |= LPD_STEP_SERIAL;
    if (begins_region) result.flags |= LPD_STEP_BEGINS_REGION;
    result.first_variant = static_cast<uint32_t>(variants_.size());
    result.variant_count = static_cast<uint32_t>(step.variants.size());
    for (const Variant& v : step.variants) variants_.push_back(variant(v));
  }
  if (step.kind != StepKind::Kernel) {
    (step.kind == StepKind::HostKernel ? result.host_step : result.first_variant) =
        static_cast<uint32_t>(host_steps_.size());
    add_host_step(step);
  }
  steps_.push_back(result);
  step_origins_.push_back(program_.module->describe(step.origin));
}

void TableBuilder::add_host_step(const Step& step) {
  lpd_host_step result{};
  result.amount = dims_.slot_or_none(step.amount);
  result.target = step.target;
  result.keep = step.keep;
  result.dtype = static_cast<uint32_t>(step.dtype);
  if (step.kind == StepKind::HostCall) {
    result.target = function_index("lpd_" + step.call->params.text("function"));
    result.reduces = works_in_place(step.call->params.text("function"));
    if (step.call->params.text("function") == "start_reduction")
      reductions_ = std::max(reductions_, static_cast<uint32_t>(*value_of(step.integers[2])) + 1);
    result.element_count = static_cast<uint32_t>(step.integers.size());
    result.first_element = add_slots(step.integers);
    LPD_CHECK(step.buffer_bytes.size() == step.buffers.size());
    if (needs_.is_gpu) result.first_bytes = add_slots(step.buffer_bytes);
    LPD_CHECK(step.buffers.size() <= LPD_MOST_OPERANDS + 1 && step.integers.size() <= LPD_MOST_ARGUMENTS);
  }
  if (step.kind == StepKind::HostKernel) {
    LPD_CHECK(step.buffer_bytes.size() == step.buffers.size() && step.buffers.size() <= LPD_MOST_VIEWS);
    result.first_bytes = add_slots(step.buffer_bytes);
    for (size_t b = 0; b < step.buffers.size(); ++b)
      for (const Variant& variant : step.variants)
        result.written |= uint32_t{program_.kernels[variant.kernel].buffers[b]->written} << b;
  }
  if (!step.elements.empty()) {
    result.element_count = static_cast<uint32_t>(step.elements.size());
    result.first_element = add_slots(step.elements);
  }
  host_steps_.push_back(result);
}

uint32_t TableBuilder::function_index(const std::string& symbol) {
  const auto found = std::ranges::find(functions_, symbol);
  const auto index = static_cast<uint32_t>(found - functions_.begin());
  if (found == functions_.end()) functions_.push_back(symbol);
  return index;
}

// Before any formula is: elements have their slots from the steps that read them. No formula waits for what a loop
// counts.
void TableBuilder::add_reads(const Step& step) {
  std::vector<uint32_t> slots;
  for (Dim element : step.elements) slots.push_back(dims_.declare_element(element));
  if (step.kind == StepKind::Elements) reads_.push_back(slots);
}

// What waits for elements is listed with the step that reads the last of them. No formula is added from here on.
void TableBuilder::finish_host_steps() {
  const std::vector<int64_t> step_of = dims_.steps_waited_for(reads_);
  std::stable_sort(checks_.begin(), checks_.end(),
                   [&](const CheckEntry& a, const CheckEntry& b) { return step_of[a.slot] < step_of[b.slot]; });
  size_t check = 0;
  while (check < checks_.size() && step_of[checks_[check].slot] < 0) ++check;
  static_checks_ = check;
  std::vector<std::vector<uint32_t>> formulas(reads_.size());
  for (uint32_t slot = 0; slot < step_of.size(); ++slot) {
    if (step_of[slot] < 0) continue;
    dims_.defer(slot);
    if (dims_.dims()[slot].op != (uint32_t{LPD_DIM_ELEMENT} | uint32_t{LPD_DIM_LATER}))
      formulas[step_of[slot]].push_back(slot);
  }
  size_t reading = 0;
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (steps_[i].kind != LPD_STEP_ELEMENTS) continue;
    lpd_host_step& step = host_steps_[steps_[i].first_variant];
    step.first_formula = static_cast<uint32_t>(integer_slots_.size());
    step.formula_count = static_cast<uint32_t>(formulas[reading].size());
    integer_slots_.insert(integer_slots_.end(), formulas[reading].begin(), formulas[reading].end());
    step.first_check = static_cast<uint32_t>(check);
    while (check < checks_.size() && step_of[checks_[check].slot] == static_cast<int64_t>(reading)) ++check;
    step.check_count = static_cast<uint32_t>(check) - step.first_check;
    ++reading;
  }
}

// Passes reasoned with the interval of a symbol or element, so a run outside it must not happen.
void TableBuilder::add_interval_check(Dim leaf, const std::string& what) {
  const Interval interval = range(leaf);
  if (leaf->kind == DimKind::Element && interval.lo == kDimMin && interval.hi == kDimMax) return;
  const uint32_t below = dims_.combine(LPD_DIM_LESS, dims_.slot(leaf), dims_.constant(interval.lo));
  const uint32_t above = dims_.combine(LPD_DIM_LESS, dims_.constant(interval.hi), dims_.slot(leaf));
  const uint32_t outside = dims_.combine(LPD_DIM_MAX, below, above);
  checks_.push_back({dims_.combine(LPD_DIM_EQUAL, outside, dims_.constant(0)),
                     fmt::format("{} must lie within {} and {}", what, interval.lo, interval.hi)});
}

void TableBuilder::add_checks() {
  for (Dim symbol : dims_.symbols())
    add_interval_check(symbol, fmt::format("the dimension '{}'", printable(symbol->name)));
  for (const EntryPoint& entry : program_.entries)
    for (const Step& step : entry.steps)
      for (Dim element : step.elements)
        if (step.kind == StepKind::Elements)
          add_interval_check(element,
                             program_.module->describe(step.origin) + ": what a size or position is made from");
  for (const Check& check : program_.checks) {
    if (value_of(check.must_hold).value_or(0) != 0) continue;
    checks_.push_back({dims_.slot(check.must_hold), check.message});
  }
}

// --- writing ---------------------------------------------------------------------------------------------------

uint64_t TableBuilder::emit_strings(const std::vector<std::string>& texts, bool null_at_end) {
  const uint64_t array = out_.add_zeros((texts.size() + null_at_end) * sizeof(char*), alignof(char*));
  for (size_t i = 0; i < texts.size(); ++i) point_to_string(array + i * sizeof(char*), texts[i]);
  return array;
}

uint64_t TableBuilder::emit_signatures(const std::vector<TensorInfo>& tensors) {
  const uint64_t array = out_.add_array(std::vector<lpd_signature>(tensors.size()));
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorInfo& tensor = tensors[i];
    if (bit_width(tensor.dtype) == 0)
      throw Error(Fault::Unsupported, fmt::format("tensor '{}': inputs and outputs of type {}", printable(tensor.name),
                                                  name_of(tensor.dtype)));
    std::vector<uint32_t> slots;
    std::vector<int64_t> static_dims;
    for (Dim dim : tensor.shape) {
      slots.push_back(dims_.slot(dim));
      static_dims.push_back(value_of(dim).value_or(-1));
    }
    lpd_signature signature{};
    signature.dtype = static_cast<uint32_t>(tensor.dtype);
    signature.rank = static_cast<uint32_t>(tensor.shape.size());
    signature.later = std::ranges::any_of(tensor.shape, speaks_of_elements);
    const uint64_t at = array + i * sizeof signature;
    out_.put(at, signature);
    point_to_string(at + offsetof(lpd_signature, name), tensor.name);
    out_.point(at + offsetof(lpd_signature, dims), out_.add_array(slots));
    out_.point(at + offsetof(lpd_signature, static_dims), out_.add_array(static_dims));
    const uint64_t names = out_.add_zeros(tensor.shape.size() * sizeof(char*), alignof(char*));
    out_.point(at + offsetof(lpd_signature, dim_names), names);
    for (size_t axis = 0; axis < tensor.shape.size(); ++axis)
      if (static_dims[axis] < 0)
        point_to_string(names + axis * sizeof(char*), printable(to_string(tensor.shape[axis])));
  }
  return array;
}

void TableBuilder::emit_steps(uint64_t model) {
  const uint64_t steps = out_.add_array(steps_);
  for (size_t i = 0; i < steps_.size(); ++i)
    point_to_string(steps + i * sizeof(lpd_step) + offsetof(lpd_step, origin), step_origins_[i]);
  out_.point(model + offsetof(lpd_model, steps), steps);
  out_.point(model + offsetof(lpd_model, variants), out_.add_array(variants_));
  out_.point(model + offsetof(lpd_model, host_steps), out_.add_array(host_steps_));
  out_.point(model + offsetof(lpd_model, buffer_refs), out_.add_array(refs_));
  out_.point(model + offsetof(lpd_model, integer_slots), out_.add_array(integer_slots_));
}

void TableBuilder::emit_entries(uint64_t model) {
  const uint64_t entries = out_.add_array(entries_);
  for (size_t i = 0; i < entries_.size(); ++i)
    point_to_string(entries + i * sizeof(lpd_entry) + offsetof(lpd_entry, name), program_.entries[i].name);
  out_.point(model + offsetof(lpd_model, entries), entries);
}

void TableBuilder::emit_states(uint64_t model) {
  const uint64_t states = out_.add_array(states_);
  for (size_t i = 0; i < states_.size(); ++i) {
    const State& state = program_.module->states[i];
    const uint64_t at = states + i * sizeof(lpd_state);
    point_to_string(at + offsetof(lpd_state, name), state.name);
    std::vector<int64_t> dims;
    for (Dim extent : state.type.shape) dims.push_back(*value_of(extent));
    out_.point(at + offsetof(lpd_state, dims), out_.add_array(dims));
  }
  out_.point(model + offsetof(lpd_model, states), states);
}

void TableBuilder::emit_checks(uint64_t model) {
  std::vector<lpd_check> table;
  for (const CheckEntry& check : checks_) table.push_back({nullptr, check.slot, 0});
  const uint64_t checks = out_.add_array(table);
  for (size_t i = 0; i < checks_.size(); ++i)
    point_to_string(checks + i * sizeof(lpd_check) + offsetof(lpd_check, message), checks_[i].message);
  out_.point(model + offsetof(lpd_model, checks), checks);
}

void TableBuilder::emit_symbols(uint64_t model) {
  std::vector<std::string> names;
  std::vector<uint32_t> slots;
  for (Dim symbol : dims_.symbols()) {
    names.push_back(symbol->name);
    slots.push_back(dims_.slot(symbol));
  }
  out_.point(model + offsetof(lpd_model, symbol_names), emit_strings(names, false));
  out_.point(model + offsetof(lpd_model, symbol_slots), out_.add_array(slots));
}

void TableBuilder::emit_kernels(uint64_t model) {
  if (needs_.is_gpu) {
    out_.point(model + offsetof(lpd_model, device_code), add_device_code(out_, program_, level_, needs_.images));
    out_.point_to_symbol(model + offsetof(lpd_model, driver), "lpd_cuda");
  }
  const uint64_t kernels = out_.add_zeros(program_.kernels.size() * sizeof(lpd_kernel), alignof(lpd_kernel));
  for (uint32_t i = 0; i < program_.kernels.size(); ++i)
    if (!needs_.is_gpu || loops::is_on_host(program_.kernels[i]))
      out_.point_to_symbol(kernels + i * sizeof(lpd_kernel), cpu::kernel_symbol(i, level_));
  out_.point(model + offsetof(lpd_model, kernels), kernels);
  const uint64_t functions = out_.add_zeros(functions_.size() * sizeof(lpd_host_function), alignof(lpd_host_function));
  for (size_t i = 0; i < functions_.size(); ++i)
    out_.point_to_symbol(functions + i * sizeof(lpd_host_function), functions_[i]);
  out_.point(model + offsetof(lpd_model, functions), functions);
  std::vector<std::string> names;
  for (const loops::Kernel& kernel : program_.kernels) names.push_back(loops::report_name(kernel));
  out_.point(model + offsetof(lpd_model, kernel_names), emit_strings(names, false));
  out_.point(model + offsetof(lpd_model, flag_messages), emit_strings(program_.flags, false));
}

// Level 0 has the list; the others refer to it.
void TableBuilder::emit_seeded_weights(uint64_t model) {
  if (level_ == 0) {
    std::vector<lpd_seeded_weight> list;
    for (size_t i = 0; i < needs_.seeded->size(); ++i) {
      const SeededWeight& weight = (*needs_.seeded)[i];
      list.push_back({weights_.starts[i], weight.bytes, weight.mask, weight.bits, nullptr});
    }
    const uint64_t at = out_.add_array(list);
    for (size_t i = 0; i < list.size(); ++i)
      if (const std::vector<char>& exact = (*needs_.seeded)[i].exact; !exact.empty())
        out_.point(at + i * sizeof(lpd_seeded_weight) + offsetof(lpd_seeded_weight, exact), out_.add_bytes(exact, 8));
    lpd_seeded_weights seeded{};
    seeded.count = static_cast<int64_t>(list.size());
    seeded.seed = needs_.seed;
    const uint64_t head = out_.add_array(std::vector{seeded});
    out_.point(head + offsetof(lpd_seeded_weights, list), at);
    out_.point_to_symbol(head + offsetof(lpd_seeded_weights, fill), "lpd_fill_seeded");
    out_.define("lpd_seeded_list", head);
    out_.point(model + offsetof(lpd_model, seeded), head);
  } else {
    out_.point_to_symbol(model + offsetof(lpd_model, seeded), "lpd_seeded_list");
  }
}

std::vector<char> TableBuilder::build() {
  for (const EntryPoint& entry : program_.entries)
    for (const Step& step : entry.steps) add_reads(step);
  add_states();
  for (const EntryPoint& entry : program_.entries) add_entry(entry);
  add_checks();

  const uint64_t model = out_.add_array(std::vector<lpd_model>(1));
  out_.define(model_symbol(level_), model);
  point_to_string(model + offsetof(lpd_model, name), program_.name);
  if (needs_.is_gpu) point_to_string(model + offsetof(lpd_model, f32_products), program_.f32_products);
  out_.point(model + offsetof(lpd_model, cpu_features), emit_strings(needs_.cpu_features, true));
  out_.point(model + offsetof(lpd_model, inputs), emit_signatures(inputs_));
  out_.point(model + offsetof(lpd_model, outputs), emit_signatures(outputs_));
  emit_entries(model);
  emit_states(model);
  emit_symbols(model);
  finish_host_steps();
  emit_steps(model);
  emit_checks(model);
  emit_kernels(model);
  out_.point(model + offsetof(lpd_model, dims), out_.add_array(dims_.dims()));
  out_.point(model + offsetof(lpd_model, constants), out_.add_array(dims_.constants()));

  lpd_model table{};
  table.abi_version = LPD_ABI_VERSION;
  table.input_count = static_cast<uint32_t>(inputs_.size());
  table.output_count = static_cast<uint32_t>(outputs_.size());
  table.dim_count = static_cast<uint32_t>(dims_.dims().size());
  table.entry_count = static_cast<uint32_t>(entries_.size());
  table.state_count = static_cast<uint32_t>(states_.size());
  table.state_bytes = state_bytes_;
  table.symbol_count = static_cast<uint32_t>(dims_.symbols().size());
  table.check_count = static_cast<uint32_t>(static_checks_);
  table.flag_count = static_cast<uint32_t>(program_.flags.size());
  for (const EntryPoint& entry : program_.entries)
    table.register_count = std::max(table.register_count, entry.register_slots);
  table.weights_bytes = weights_.bytes;
  table.read_weights_bytes = weights_.read_bytes;
  table.reduction_count = reductions_;
  out_.put(model, table);
  if (reductions_ > 0) out_.point_to_symbol(model + offsetof(lpd_model, settle_reductions), "lpd_settle_reductions");
  if (weights_.bytes > 0) {
    const bool seeded = needs_.seeded.has_value();
    if (level_ == 0)
      out_.reserve_section(seeded ? kSeededSection : kWeightsSection, kWeightsSymbol,
                           static_cast<uint64_t>(weights_.bytes), seeded);
    if (seeded) emit_seeded_weights(model);
    out_.point_to_symbol(model + offsetof(lpd_model, weights), kWeightsSymbol);
  }
  return out_.elf(needs_.arch);
}

// Those that a step has a buffer of, by the program's index.
std::set<uint32_t> weights_read(const Program& program) {
  std::set<uint32_t> read;
  for (const EntryPoint& entry : program.entries)
    for (const Step& step : entry.steps)
      for (const BufferRef& ref : step.buffers)
        if (ref.base == BufferRef::Base::Weights) read.insert(ref.index);
  return read;
}

}  // namespace

std::vector<TensorInfo> all_tensors(const Program& program, std::vector<TensorInfo> EntryPoint::*tensors) {
  std::vector<TensorInfo> all;
  for (const EntryPoint& entry : program.entries)
    for (const TensorInfo& tensor : entry.*tensors) {
      const uint32_t index = index_of(all, tensor.name);
      if (index == all.size()) {
        all.push_back(tensor);
      } else {
        LPD_CHECK(all[index].dtype == tensor.dtype && all[index].shape == tensor.shape,
                  "tensor '{}' differs between entry points", tensor.name);
      }
    }
  return all;
}

WeightLayout lay_out_weights(const std::vector<const Program*>& programs) {
  Program all;
  all.module = programs[0]->module;
  for (const Program* program : programs)
    for (uint32_t weight : weights_read(*program)) add_weight(all, program->weights[weight]);
  const size_t read = all.weights.size();
  std::vector<std::vector<uint32_t>> indices;
  for (const Program* program : programs) {
    std::vector<uint32_t>& index = indices.emplace_back();
    for (ConstantId weight : program->weights) index.push_back(add_weight(all, weight));
  }
  WeightLayout layout;
  for (ConstantId weight : all.weights) {
    layout.starts.push_back(layout.bytes);
    layout.bytes += (all.module->constants[weight].bytes() + kAlignment - 1) / kAlignment * kAlignment;
    if (layout.starts.size() == read) layout.read_bytes = layout.bytes;
  }
  layout.constants = std::move(all.weights);
  for (const std::vector<uint32_t>& index : indices) {
    std::vector<int64_t>& offsets = layout.offsets.emplace_back();
    for (uint32_t i : index) offsets.push_back(layout.starts[i]);
  }
  return layout;
}

std::vector<char> table_object(const Program& program, uint32_t level, const WeightLayout& weights,
                               const Needs& needs) {
  return TableBuilder(program, level, weights, needs).build();
}

std::vector<char> list_object(uint32_t levels, Arch arch) {
  DataObject out;
  const uint64_t list = out.add_zeros((levels + 1) * sizeof(lpd_model*), alignof(lpd_model*));
  for (uint32_t level = 0; level < levels; ++level)
    out.point_to_symbol(list + level * sizeof(lpd_model*), model_symbol(level));
  out.define("lpd_product_models", list);
  return out.elf(arch);
}

}  // namespace lapidary::codegen::host
