#include "codegen/host/tables.h"

#include <cstddef>

#include "codegen/host/dim_table.h"
#include "ir/error.h"

namespace lapidary::codegen {

WeightsPlan plan_weights(const Program& program) {
  WeightsPlan plan;
  for (ConstantId id : program.weights) {
    plan.offsets.push_back(plan.bytes);
    plan.bytes = (plan.bytes + program.module->constants[id].bytes() + 63) / 64 * 64;
  }
  return plan;
}

namespace {

class TableWriter {
 public:
  TableWriter(const Program& program, const WeightsPlan& weights) : program_(program), weights_(weights), dims_(program.entries[0].inputs) {}

  DataImage write(const std::vector<std::string>& cpu_features, const std::vector<std::string>& kernel_symbols,
                  const std::string& weights_symbol) {
    const EntryPoint& first = program_.entries[0];
    lpd_model model = {};
    model.abi_version = LPD_ABI_VERSION;
    size_t name = image_.add_text(program_.name), features = text_table(cpu_features, true);
    size_t inputs = signatures(first.inputs), outputs = signatures(first.outputs);
    std::vector<std::pair<size_t, lpd_entry>> entries;
    std::vector<lpd_step> steps;
    std::vector<std::pair<size_t, size_t>> step_texts;   // kernel name, origin
    for (const EntryPoint& entry : program_.entries) {
      auto begin = static_cast<uint32_t>(steps.size());
      for (const Step& step : entry.steps) {
        steps.push_back(lower(step, entry));
        const loops::Kernel& kernel = program_.kernels[step.variants[0].kernel];
        step_texts.push_back({text(kernel.family + (kernel.schedule.empty() ? "" : " " + kernel.schedule)), text(program_.module->describe(step.origin))});
      }
      lpd_entry lowered = {};
      lowered.first_step = begin;
      lowered.step_count = static_cast<uint32_t>(entry.steps.size());
      lowered.arena_bytes = dims_.slot(entry.arena_bytes);
      entries.push_back({image_.add_text(entry.name), lowered});
    }
    size_t checks = check_table();
    size_t step_table = image_.add(steps);
    for (size_t i = 0; i < steps.size(); ++i) {
      image_.point(step_table + i * sizeof(lpd_step) + offsetof(lpd_step, kernel_name), step_texts[i].first);
      image_.point(step_table + i * sizeof(lpd_step) + offsetof(lpd_step, origin), step_texts[i].second);
    }
    size_t entry_table = image_.bytes.size();
    for (size_t i = 0; i < entries.size(); ++i) {
      size_t at = image_.add(&entries[i].second, 1);
      if (i == 0) entry_table = at;
      image_.point(at + offsetof(lpd_entry, name), entries[i].first);
    }
    size_t variants = image_.add(variants_), refs = image_.add(refs_), integers = image_.add(integers_);
    std::vector<void*> none(kernel_symbols.size(), nullptr);
    size_t kernels = image_.add(none);
    for (size_t i = 0; i < kernel_symbols.size(); ++i) image_.point(kernels + i * sizeof(void*), kernel_symbols[i]);
    std::vector<std::string> symbol_names;
    std::vector<uint32_t> symbol_slots;
    for (const auto& [symbol, slot] : dims_.symbols()) {
      symbol_names.push_back(symbol);
      symbol_slots.push_back(slot);
    }
    size_t names = text_table(symbol_names, false), slots = image_.add(symbol_slots);
    size_t dims = image_.add(dims_.dims()), constants = image_.add(dims_.constants());   // last: complete only now

    model.input_count = static_cast<uint32_t>(first.inputs.size());
    model.output_count = static_cast<uint32_t>(first.outputs.size());
    model.dim_count = static_cast<uint32_t>(dims_.dims().size());
    model.entry_count = static_cast<uint32_t>(entries.size());
    model.symbol_count = static_cast<uint32_t>(symbol_names.size());
    model.check_count = static_cast<uint32_t>(program_.checks.size());
    model.weights_bytes = weights_.bytes;
    image_.root = image_.add(&model, 1);
    auto point = [&](size_t field, size_t to) { image_.point(image_.root + field, to); };
    point(offsetof(lpd_model, name), name);
    point(offsetof(lpd_model, cpu_features), features);
    point(offsetof(lpd_model, inputs), inputs);
    point(offsetof(lpd_model, outputs), outputs);
    point(offsetof(lpd_model, dims), dims);
    point(offsetof(lpd_model, constants), constants);
    point(offsetof(lpd_model, entries), entry_table);
    point(offsetof(lpd_model, steps), step_table);
    point(offsetof(lpd_model, variants), variants);
    point(offsetof(lpd_model, buffer_refs), refs);
    point(offsetof(lpd_model, integer_slots), integers);
    point(offsetof(lpd_model, kernels), kernels);
    point(offsetof(lpd_model, symbol_names), names);
    point(offsetof(lpd_model, symbol_slots), slots);
    point(offsetof(lpd_model, checks), checks);
    if (weights_.bytes > 0) image_.point(image_.root + offsetof(lpd_model, weights), weights_symbol);
    return std::move(image_);
  }

 private:
  // Equal texts once.
  size_t text(const std::string& text) {
    auto [found, added] = texts_.try_emplace(text, 0);
    if (added) found->second = image_.add_text(text);
    return found->second;
  }

  size_t text_table(const std::vector<std::string>& texts, bool terminated) {
    std::vector<size_t> places;
    for (const std::string& each : texts) places.push_back(text(each));
    std::vector<void*> none(texts.size() + terminated, nullptr);
    size_t table = image_.add(none);
    for (size_t i = 0; i < places.size(); ++i) image_.point(table + i * sizeof(void*), places[i]);
    return table;
  }

  size_t signatures(const std::vector<TensorInfo>& infos) {
    struct Parts { size_t name, slots, known, names; };
    std::vector<Parts> parts;
    std::vector<lpd_signature> table;
    for (const TensorInfo& info : infos) {
      std::vector<uint32_t> slots;
      std::vector<int64_t> known;
      std::vector<size_t> symbolic;
      for (Dim extent : info.shape) {
        slots.push_back(dims_.slot(extent));
        known.push_back(value_of(extent).value_or(-1));
        symbolic.push_back(value_of(extent) ? 0 : text(to_string(extent)));
      }
      Parts part{text(info.name), image_.add(slots), image_.add(known), 0};
      part.names = image_.add(std::vector<void*>(info.shape.size(), nullptr));
      for (size_t axis = 0; axis < symbolic.size(); ++axis) {
        if (known[axis] < 0) image_.point(part.names + axis * sizeof(void*), symbolic[axis]);
      }
      parts.push_back(part);
      lpd_signature signature = {};
      signature.dtype = static_cast<uint8_t>(info.dtype);
      signature.rank = static_cast<uint8_t>(info.shape.size());
      table.push_back(signature);
    }
    size_t at = image_.add(table);
    for (size_t i = 0; i < parts.size(); ++i) {
      size_t base = at + i * sizeof(lpd_signature);
      image_.point(base + offsetof(lpd_signature, name), parts[i].name);
      image_.point(base + offsetof(lpd_signature, dims), parts[i].slots);
      image_.point(base + offsetof(lpd_signature, static_dims), parts[i].known);
      image_.point(base + offsetof(lpd_signature, dim_names), parts[i].names);
    }
    return at;
  }

  size_t check_table() {
    std::vector<lpd_check> table;
    std::vector<size_t> messages;
    for (const Check& check : program_.checks) {
      lpd_check lowered = {};
      lowered.slot = dims_.slot(check.must_hold);
      table.push_back(lowered);
      messages.push_back(text(check.message));
    }
    size_t at = image_.add(table);
    for (size_t i = 0; i < messages.size(); ++i) image_.point(at + i * sizeof(lpd_check) + offsetof(lpd_check, message), messages[i]);
    return at;
  }

  lpd_step lower(const Step& step, const EntryPoint& entry) {
    lpd_step lowered = {};
    lowered.kind = LPD_STEP_KERNEL;
    lowered.flags = static_cast<uint8_t>((step.barrier_before ? LPD_STEP_BARRIER_BEFORE : 0) | (step.serial ? LPD_STEP_SERIAL : 0));
    lowered.first_variant = static_cast<uint32_t>(variants_.size());
    lowered.variant_count = static_cast<uint32_t>(step.variants.size());
    for (const Variant& variant : step.variants) variants_.push_back(lower(variant));
    lowered.first_buffer = static_cast<uint32_t>(refs_.size());
    lowered.buffer_count = static_cast<uint32_t>(step.buffers.size());
    for (const BufferRef& buffer : step.buffers) refs_.push_back(lower(buffer, entry));
    lowered.grain = step.grain;
    lowered.flops = dims_.slot_or_none(step.flops);
    lowered.bytes = dims_.slot_or_none(step.bytes);
    return lowered;
  }

  lpd_variant lower(const Variant& variant) {
    auto slots = [&](const std::vector<Dim>& dims) {
      auto first = static_cast<uint32_t>(integers_.size());
      for (Dim dim : dims) integers_.push_back(dims_.slot(dim));
      return first;
    };
    lpd_variant lowered = {};
    lowered.kernel = variant.kernel;
    lowered.when = dims_.slot_or_none(variant.when);
    lowered.tasks = dims_.slot(variant.tasks);
    lowered.rounds = dims_.slot_or_none(variant.rounds);
    lowered.first_integer = slots(variant.integers);
    lowered.integer_count = static_cast<uint32_t>(variant.integers.size());
    lowered.stage_bytes = dims_.slot_or_none(variant.stage_bytes);
    lowered.first_stage = slots(variant.stage_offsets);
    lowered.stage_count = static_cast<uint32_t>(variant.stage_offsets.size());
    return lowered;
  }

  lpd_buffer_ref lower(const BufferRef& buffer, const EntryPoint& entry) {
    DimPool& pool = program_.module->dims;
    lpd_buffer_ref lowered = {};
    lowered.index = buffer.index;
    Dim offset = buffer.offset;
    switch (buffer.base) {
      case BufferRef::Base::None: lowered.base = LPD_BASE_NONE; break;
      case BufferRef::Base::Arena:
        lowered.base = LPD_BASE_ARENA;
        offset = offset ? pool.add(offset, entry.arena[buffer.index].offset) : entry.arena[buffer.index].offset;
        break;
      case BufferRef::Base::Weights: {
        lowered.base = LPD_BASE_WEIGHTS;
        Dim start = pool.constant(weights_.offsets[buffer.index]);
        offset = offset ? pool.add(offset, start) : start;
        break;
      }
      case BufferRef::Base::Input: lowered.base = LPD_BASE_INPUT; break;
      case BufferRef::Base::Output: lowered.base = LPD_BASE_OUTPUT; break;
    }
    lowered.offset = offset && value_of(offset) != 0 ? dims_.slot(offset) : LPD_NO_SLOT;
    return lowered;
  }

  const Program& program_;
  const WeightsPlan& weights_;
  DimTable dims_;
  DataImage image_;
  std::map<std::string, size_t> texts_;
  std::vector<lpd_variant> variants_;
  std::vector<lpd_buffer_ref> refs_;
  std::vector<uint32_t> integers_;
};

}  // namespace

DataImage build_tables(const Program& program, const WeightsPlan& weights, const std::vector<std::string>& cpu_features,
                       const std::vector<std::string>& kernel_symbols, const std::string& weights_symbol) {
  LPD_CHECK(!program.entries.empty());
  return TableWriter(program, weights).write(cpu_features, kernel_symbols, weights_symbol);
}

}  // namespace lapidary::codegen
