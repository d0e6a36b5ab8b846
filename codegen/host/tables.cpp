// Every table is an array of the very structs the runtime reads; their pointers are set as relocations afterwards.
#include "codegen/host/tables.h"

#include <cstddef>

#include "codegen/cpu/compile.h"
#include "codegen/host/dim_table.h"
#include "codegen/host/object_file.h"
#include "ir/error.h"

namespace lapidary::codegen::host {
namespace {

constexpr int64_t kAlignment = 64;

// Offsets of one model's tables while they are built.
class TableBuilder {
 public:
  TableBuilder(const Program& program, const EntryPoint& entry)
      : program_(program), entry_(entry), dims_(entry.inputs), weights_(lay_out_weights(program)) {}

  std::vector<char> build(const std::vector<std::string>& cpu_features);

 private:
  void add_step(const Step&);
  lpd_variant variant(const Variant&);
  lpd_buffer_ref buffer_ref(const BufferRef&);
  uint32_t offset_slot(Dim base, Dim offset);
  uint32_t add_slots(const std::vector<Dim>&);
  void add_checks();
  void add_interval_check(Dim symbol);

  void emit_steps(uint64_t model);
  void emit_checks(uint64_t model);
  void emit_symbols(uint64_t model);
  void emit_kernels(uint64_t model);
  uint64_t emit_signatures(const std::vector<TensorInfo>&);
  uint64_t emit_strings(const std::vector<std::string>&, bool null_at_end);
  void point_to_string(uint64_t at, const std::string& text) { out_.point(at, out_.add_string(text)); }

  const Program& program_;
  const EntryPoint& entry_;
  DimTable dims_;
  WeightLayout weights_;
  DataObject out_;
  std::vector<lpd_step> steps_;
  std::vector<std::string> step_origins_;
  std::vector<lpd_variant> variants_;
  std::vector<lpd_buffer_ref> refs_;
  std::vector<uint32_t> integer_slots_;
  std::vector<lpd_check> checks_;
  std::vector<std::string> check_messages_;
};

// --- collecting ------------------------------------------------------------------------------------------------

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

lpd_buffer_ref TableBuilder::buffer_ref(const BufferRef& ref) {
  switch (ref.base) {
    case BufferRef::Base::None:
      return {LPD_BASE_NONE, 0, LPD_NO_SLOT};
    case BufferRef::Base::Arena:
      return {LPD_BASE_ARENA, 0, offset_slot(entry_.arena.at(ref.index).offset, ref.offset)};
    case BufferRef::Base::Input:
      return {LPD_BASE_INPUT, ref.index, dims_.slot_or_none(ref.offset)};
    case BufferRef::Base::Output:
      return {LPD_BASE_OUTPUT, ref.index, dims_.slot_or_none(ref.offset)};
    case BufferRef::Base::Flag:
      return {LPD_BASE_FLAG, ref.index, LPD_NO_SLOT};
    case BufferRef::Base::Weights: {
      const uint32_t start = dims_.constant(weights_.offsets.at(ref.index));
      return {LPD_BASE_WEIGHTS, 0, ref.offset ? dims_.combine(LPD_DIM_ADD, start, dims_.slot(ref.offset)) : start};
    }
  }
  LPD_UNREACHABLE();
}

std::string kernel_text(const loops::Kernel& kernel) {
  return kernel.schedule.empty() ? kernel.family : kernel.family + " " + kernel.schedule;
}

void TableBuilder::add_step(const Step& step) {
  lpd_step result{};
  result.kind = LPD_STEP_KERNEL;
  if (step.barrier_before) result.flags |= LPD_STEP_BARRIER_BEFORE;
  if (step.serial) result.flags |= LPD_STEP_SERIAL;
  result.first_variant = static_cast<uint32_t>(variants_.size());
  result.variant_count = static_cast<uint32_t>(step.variants.size());
  result.first_buffer = static_cast<uint32_t>(refs_.size());
  result.buffer_count = static_cast<uint32_t>(step.buffers.size());
  result.grain = step.grain;
  result.flops = dims_.slot_or_none(step.flops);
  result.bytes = dims_.slot_or_none(step.bytes);
  for (const Variant& v : step.variants) variants_.push_back(variant(v));
  for (const BufferRef& ref : step.buffers) refs_.push_back(buffer_ref(ref));
  steps_.push_back(result);
  LPD_CHECK(!step.variants.empty(), "a step without a kernel");
  step_origins_.push_back(program_.module->describe(step.origin));
}

// Passes reasoned with a symbol's interval, so a run outside it must not happen.
void TableBuilder::add_interval_check(Dim symbol) {
  const Interval interval = range(symbol);
  const uint32_t below = dims_.combine(LPD_DIM_LESS, dims_.slot(symbol), dims_.constant(interval.lo));
  const uint32_t above = dims_.combine(LPD_DIM_LESS, dims_.constant(interval.hi), dims_.slot(symbol));
  const uint32_t outside = dims_.combine(LPD_DIM_MAX, below, above);
  checks_.push_back({nullptr, dims_.combine(LPD_DIM_EQUAL, outside, dims_.constant(0)), 0});
  check_messages_.push_back(
      fmt::format("the dimension '{}' must lie within {} and {}", printable(symbol->name), interval.lo, interval.hi));
}

void TableBuilder::add_checks() {
  for (Dim symbol : dims_.symbols()) add_interval_check(symbol);
  for (const Check& check : program_.checks) {
    if (value_of(check.must_hold).value_or(0) != 0) continue;
    checks_.push_back({nullptr, dims_.slot(check.must_hold), 0});
    check_messages_.push_back(check.message);
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
  out_.point(model + offsetof(lpd_model, buffer_refs), out_.add_array(refs_));
  out_.point(model + offsetof(lpd_model, integer_slots), out_.add_array(integer_slots_));

  lpd_entry entry{};
  entry.step_count = static_cast<uint32_t>(steps_.size());
  entry.arena_bytes = entry_.arena_bytes ? dims_.slot(entry_.arena_bytes) : dims_.constant(0);
  const uint64_t entries = out_.add_array(std::vector{entry});
  point_to_string(entries + offsetof(lpd_entry, name), entry_.name);
  out_.point(model + offsetof(lpd_model, entries), entries);
}

void TableBuilder::emit_checks(uint64_t model) {
  const uint64_t checks = out_.add_array(checks_);
  for (size_t i = 0; i < checks_.size(); ++i)
    point_to_string(checks + i * sizeof(lpd_check) + offsetof(lpd_check, message), check_messages_[i]);
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
  const uint64_t kernels = out_.add_zeros(program_.kernels.size() * sizeof(lpd_kernel), alignof(lpd_kernel));
  for (uint32_t i = 0; i < program_.kernels.size(); ++i)
    out_.point_to_symbol(kernels + i * sizeof(lpd_kernel), cpu::kernel_symbol(i));
  out_.point(model + offsetof(lpd_model, kernels), kernels);
  std::vector<std::string> names;
  for (const loops::Kernel& kernel : program_.kernels) names.push_back(kernel_text(kernel));
  out_.point(model + offsetof(lpd_model, kernel_names), emit_strings(names, false));
  out_.point(model + offsetof(lpd_model, flag_messages), emit_strings(program_.flags, false));
}

std::vector<char> TableBuilder::build(const std::vector<std::string>& cpu_features) {
  for (const Step& step : entry_.steps) add_step(step);
  add_checks();

  const uint64_t model = out_.add_array(std::vector<lpd_model>(1));
  out_.define("lpd_product_model", model);
  point_to_string(model + offsetof(lpd_model, name), program_.name);
  out_.point(model + offsetof(lpd_model, cpu_features), emit_strings(cpu_features, true));
  out_.point(model + offsetof(lpd_model, inputs), emit_signatures(entry_.inputs));
  out_.point(model + offsetof(lpd_model, outputs), emit_signatures(entry_.outputs));
  emit_steps(model);
  emit_checks(model);
  emit_symbols(model);
  emit_kernels(model);
  out_.point(model + offsetof(lpd_model, dims), out_.add_array(dims_.dims()));  // no formula is added from here on
  out_.point(model + offsetof(lpd_model, constants), out_.add_array(dims_.constants()));

  lpd_model table{};
  table.abi_version = LPD_ABI_VERSION;
  table.input_count = static_cast<uint32_t>(entry_.inputs.size());
  table.output_count = static_cast<uint32_t>(entry_.outputs.size());
  table.dim_count = static_cast<uint32_t>(dims_.dims().size());
  table.entry_count = 1;
  table.symbol_count = static_cast<uint32_t>(dims_.symbols().size());
  table.check_count = static_cast<uint32_t>(checks_.size());
  table.flag_count = static_cast<uint32_t>(program_.flags.size());
  table.weights_bytes = weights_.bytes;
  out_.put(model, table);
  if (weights_.bytes > 0) {
    out_.reserve_section(kWeightsSection, kWeightsSymbol, static_cast<uint64_t>(weights_.bytes));
    out_.point_to_symbol(model + offsetof(lpd_model, weights), kWeightsSymbol);
  }
  return out_.elf();
}

}  // namespace

WeightLayout lay_out_weights(const Program& program) {
  WeightLayout layout;
  for (ConstantId weight : program.weights) {
    layout.offsets.push_back(layout.bytes);
    layout.bytes += (program.module->constants[weight].bytes() + kAlignment - 1) / kAlignment * kAlignment;
  }
  return layout;
}

std::vector<char> table_object(const Program& program, const std::vector<std::string>& cpu_features) {
  if (program.entries.size() != 1) throw Error(Fault::Unsupported, "a product with more than one entry point");
  return TableBuilder(program, program.entries[0]).build(cpu_features);
}

}  // namespace lapidary::codegen::host
