// Adding to a program without repeating, and its text: one line for each tensor, buffer and step.
#include "ir/program.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ir/error.h"

namespace lapidary {
namespace {

bool same_bytes(const ByteSource& a, const ByteSource& b) {
  if (a.bytes.size() != b.bytes.size()) return false;
  return a.bytes.data() == b.bytes.data() || std::memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) == 0;
}

bool same_constant(const ConstantTable&, const Constant&, const Constant&);

bool same_source(const ConstantTable& table, const Constant& a, const Constant& b) {
  if (a.source.index() != b.source.index()) return false;
  if (auto* bytes = std::get_if<ByteSource>(&a.source)) return same_bytes(*bytes, std::get<ByteSource>(b.source));
  if (auto* splat = std::get_if<Splat>(&a.source)) {
    const Scalar &x = splat->value, &y = std::get<Splat>(b.source).value;
    return x.dtype == y.dtype && x.integer == y.integer && std::memcmp(&x.number, &y.number, sizeof x.number) == 0;
  }
  if (auto* joined = std::get_if<Joined>(&a.source)) {
    const Joined& other = std::get<Joined>(b.source);
    return joined->axis == other.axis &&
           std::ranges::equal(joined->parts, other.parts, [&](ConstantId x, ConstantId y) {
             return x == y || same_constant(table, table[x], table[y]);
           });
  }
  const Seeded &x = std::get<Seeded>(a.source), &y = std::get<Seeded>(b.source);
  return x.seed == y.seed && x.mean == y.mean && x.deviation == y.deviation;
}

bool same_transform(const Transform& a, const Transform& b) {
  return a.kind == b.kind && a.dtype == b.dtype && a.axes == b.axes && a.shape == b.shape && a.block == b.block &&
         a.other == b.other;
}

// Equal content after all transforms. Unequal weights of one shape differ in their first bytes, so looking is cheap.
bool same_constant(const ConstantTable& table, const Constant& a, const Constant& b) {
  return a.dtype == b.dtype && a.shape == b.shape && a.source_dtype == b.source_dtype &&
         a.source_shape == b.source_shape &&
         std::equal(a.transforms.begin(), a.transforms.end(), b.transforms.begin(), b.transforms.end(),
                    same_transform) &&
         same_source(table, a, b);
}

std::string dim_text(Dim dim, const char* otherwise = "0") { return dim ? to_string(dim) : otherwise; }

template <class List, class Text>
std::string listed(const List& list, Text text) {
  std::string result;
  for (const auto& item : list) result += (result.empty() ? "" : ", ") + text(item);
  return result;
}

std::string tensor_text(const TensorInfo& tensor) {
  std::string shape = listed(tensor.shape, [](Dim dim) { return to_string(dim); });
  return fmt::format("\"{}\": {}[{}]", printable(tensor.name), name_of(tensor.dtype), shape);
}

std::string buffer_text(const BufferRef& buffer) {
  static constexpr const char* kBases[] = {"none", "arena", "weight", "input", "output", "flag", "register", "state"};
  std::string text = kBases[static_cast<int>(buffer.base)];
  if (buffer.base != BufferRef::Base::None) text += fmt::format("{}", buffer.index);
  return buffer.offset ? text + " + " + to_string(buffer.offset) : text;
}

std::string variant_text(const Program& program, const Variant& variant) {
  const loops::Kernel& kernel = program.kernels[variant.kernel];
  std::string text = fmt::format("kernel {} \"{}\" tasks={}", variant.kernel, kernel.family, dim_text(variant.tasks));
  if (!kernel.schedule.empty()) text += fmt::format(" schedule=\"{}\"", kernel.schedule);
  if (variant.when) text += " when=" + to_string(variant.when);
  if (variant.rounds) text += " rounds=" + to_string(variant.rounds);
  text += fmt::format(" integers=[{}]", listed(variant.integers, [](Dim dim) { return to_string(dim); }));
  if (variant.stage_bytes) {
    std::string offsets = listed(variant.stage_offsets, [](Dim dim) { return to_string(dim); });
    text += fmt::format(" stage={} at [{}]", to_string(variant.stage_bytes), offsets);
  }
  return text;
}

std::string host_step_text(const Program& program, const Step& step) {
  std::string text = fmt::format("{} ({})", name_of(step.kind), listed(step.buffers, buffer_text));
  if (step.call) text += " " + step.call->params.text("function");
  if (!step.integers.empty())
    text += fmt::format(" integers=[{}]", listed(step.integers, [](Dim dim) { return to_string(dim); }));
  if (step.amount) text += " " + to_string(step.amount);
  if (step.keep) text += " keep";
  if (!step.elements.empty())
    text += fmt::format(" {} [{}]", name_of(step.dtype), listed(step.elements, [](Dim dim) { return to_string(dim); }));
  if (jumps(step.kind)) text += fmt::format(" to {}", step.target);
  if (step.origin) text += "  // " + program.module->describe(step.origin);
  return text + "\n";
}

std::string step_text(const Program& program, const Step& step) {
  if (!runs_kernel(step.kind)) return host_step_text(program, step);
  std::string text = fmt::format("{} ({})", name_of(step.kind), listed(step.buffers, buffer_text));
  if (!step.barrier_before) text += " no_barrier";
  if (step.serial) text += " serial";
  if (step.grain != 1) text += fmt::format(" grain={}", step.grain);
  if (step.flops) text += " flops=" + to_string(step.flops);
  if (step.bytes) text += " bytes=" + to_string(step.bytes);
  if (step.origin) text += "  // " + program.module->describe(step.origin);
  text += "\n";
  for (const Variant& variant : step.variants) text += "      " + variant_text(program, variant) + "\n";
  return text;
}

std::string entry_text(const Program& program, const EntryPoint& entry) {
  std::string text = fmt::format("  entry {} ({}) -> ({}) {{\n", entry.name, listed(entry.inputs, tensor_text),
                                 listed(entry.outputs, tensor_text));
  text += fmt::format("    arena {}\n", dim_text(entry.arena_bytes));
  for (size_t i = 0; i < entry.arena.size(); i++) {
    const ArenaBuffer& buffer = entry.arena[i];
    text += fmt::format("    arena{}: {} bytes at {}, steps {} to {}\n", i, dim_text(buffer.bytes),
                        dim_text(buffer.offset), buffer.first_step, buffer.last_step);
  }
  for (size_t i = 0; i < entry.registers.size(); i++)
    text += fmt::format("    register{}: slot {}, steps {} to {}\n", i, entry.registers[i].slot,
                        entry.registers[i].first_step, entry.registers[i].last_step);
  for (size_t i = 0; i < entry.steps.size(); i++)
    text += fmt::format("    {}: {}", i, step_text(program, entry.steps[i]));
  return text + "  }\n";
}

}  // namespace

std::string_view name_of(StepKind kind) {
  static constexpr const char* kNames[] = {"step",   "elements",      "reserve",    "provide",
                                           "branch", "branch_unless", "loop_begin", "loop_next",
                                           "swap",   "host_call",     "host_kernel"};
  return kNames[static_cast<size_t>(kind)];
}

std::vector<bool> region_begins(const EntryPoint& entry) {
  std::vector<bool> begins(entry.steps.size());
  for (size_t i = 0; i < entry.steps.size(); ++i) {
    const Step& step = entry.steps[i];
    if (step.kind == StepKind::Kernel) {
      begins[i] = begins[i] || i == 0 || entry.steps[i - 1].kind != StepKind::Kernel;
    } else if (jumps(step.kind) && step.target < begins.size()) {
      begins[step.target] = true;
    }
  }
  return begins;
}

uint32_t add_kernel(Program& program, loops::Kernel kernel) {
  auto next = static_cast<uint32_t>(program.kernels.size());
  const std::string_view whose = loops::is_on_host(kernel) ? loops::kOnHost : "";
  auto [entry, is_new] = program.kernel_index.emplace(fmt::format("{}{}", whose, loops::canonical_text(kernel)), next);
  if (is_new) program.kernels.push_back(std::move(kernel));
  return entry->second;
}

uint32_t add_weight(Program& program, ConstantId id) {
  const ConstantTable& constants = program.module->constants;
  for (uint32_t i = 0; i < program.weights.size(); i++) {
    if (program.weights[i] == id || same_constant(constants, constants[program.weights[i]], constants[id])) return i;
  }
  program.weights.push_back(id);
  return static_cast<uint32_t>(program.weights.size() - 1);
}

bool begins_as_zeros(const Module& module, const State& state) {
  Scalar value;
  if (!module.constants.is_splat(state.initial, &value)) return false;
  return is_float(value.dtype) ? value.number == 0 && !std::signbit(value.number) : value.integer == 0;
}

uint32_t add_flag(Program& program, std::string message) {
  const auto found = std::ranges::find(program.flags, message);
  if (found != program.flags.end()) return static_cast<uint32_t>(found - program.flags.begin());
  program.flags.push_back(std::move(message));
  return static_cast<uint32_t>(program.flags.size() - 1);
}

std::string print_program(const Program& program) {
  std::string text = fmt::format("program \"{}\" {{\n", printable(program.name));
  for (size_t i = 0; i < program.weights.size(); i++) {
    const Constant& weight = program.module->constants[program.weights[i]];
    text += fmt::format("  weight{}: {}[{}] = @{}\n", i, name_of(weight.dtype), fmt::join(weight.shape, ", "),
                        static_cast<uint32_t>(program.weights[i]));
  }
  for (const Check& check : program.checks)
    text += fmt::format("  check {}  // {}\n", to_string(check.must_hold), check.message);
  for (const EntryPoint& entry : program.entries) text += entry_text(program, entry);
  return text + "}\n";
}

}  // namespace lapidary
