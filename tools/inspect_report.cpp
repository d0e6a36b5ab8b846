#include "tools/inspect_report.h"

#include <fmt/format.h>

namespace lapidary::tools {

const char* const kEstimatesAre =
    "roofline estimates, not measurements: of each step the larger of flops / peak and bytes / bandwidth, summed";
const char* const kFiguresAreFrom = "by vendors' data sheets and a price list of March 2026";

namespace {

std::string shortened(const std::string& formula) {
  constexpr size_t kLongest = Amount::kLongestFormula;
  return formula.size() <= kLongest ? formula : formula.substr(0, kLongest) + "… (--json has it whole)";
}

// Formulas of models with many unlike extents run long, and so do those of what one of several kernels needs, with all
// that decides between them: there, what they come to says more.
std::string amount_text(const Amount& amount) {
  const bool is_long = amount.formula.size() > Amount::kLongestFormula;
  if (is_long && amount.value) return fmt::format("{} (--json has the formula)", *amount.value);
  if (!amount.samples.empty()) {
    std::string text;
    for (const auto& [at, value] : amount.samples)
      text += fmt::format("{}{} ({}", text.empty() ? "" : "), ", value, at);
    return text + "; --json has the formula)";
  }
  const std::string formula = shortened(amount.formula);
  if (!amount.value || formula == std::to_string(*amount.value)) return formula;
  return fmt::format("{} = {}", formula, *amount.value);
}

std::string counted(int64_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string tensors_text(const char* title, const std::vector<Inspection::Tensor>& tensors) {
  std::string text = fmt::format("{}\n", title);
  for (const Inspection::Tensor& tensor : tensors)
    text += fmt::format("  {}: {}, {} bytes{}\n", tensor.name, shortened(tensor.type), amount_text(tensor.bytes),
                        tensor.known_by_run ? " (only a run can tell)" : "");
  return text;
}

std::string operators_text(const Inspection& inspection) {
  std::string text = "operators\n";
  for (const auto& [name, count] : inspection.operators) text += fmt::format("  {:6}  {}\n", count, name);
  return text;
}

std::string work_text(const Inspection& inspection) {
  std::string text = "work\n";
  text += fmt::format("  flops: {}\n", amount_text(inspection.flops));
  text += fmt::format("  bytes moved: {}\n", amount_text(inspection.bytes));
  if (inspection.known_by_run)
    text += fmt::format("  not in it: {} whose size only a run can tell\n", counted(inspection.known_by_run, "step"));
  if (inspection.looped)
    text += fmt::format("  counted for all iterations there can be: {} in loops\n", counted(inspection.looped, "step"));
  if (inspection.repeated)
    text += fmt::format("  counted for one iteration of loops whose number only a run can tell: {}\n",
                        counted(inspection.repeated, "step"));
  if (inspection.conditional)
    text += fmt::format("  counted as if taken: {} in branches\n", counted(inspection.conditional, "step"));
  return text;
}

std::string groups_text(const Inspection& inspection) {
  std::string text = "fused groups\n";
  for (const auto& [family, groups] : inspection.groups)
    text += fmt::format("  {:6}  {}, {}, {} in the largest\n", groups.groups, family, counted(groups.ops, "op"),
                        groups.largest);
  text += "kernel steps\n";
  for (const auto& [family, kernels] : inspection.kernels)
    text += fmt::format("  {:6}  {}: flops {}; bytes {}\n", kernels.steps, family, amount_text(kernels.flops),
                        amount_text(kernels.bytes));
  return text;
}

std::string memory_text(const Inspection& inspection) {
  std::string text = "memory\n";
  text += fmt::format("  arena of {}, at its peak {} bytes\n",
                      counted(static_cast<int64_t>(inspection.buffers.size()), "buffer"), amount_text(inspection.peak));
  text += fmt::format("  workspace of each thread: {} bytes\n", amount_text(inspection.workspace));
  if (!inspection.registers.empty()) {
    text += fmt::format(
        "  registers, sized at run time and not in the peak: {} in {}, {} bytes\n", inspection.registers.size(),
        counted(inspection.register_slots, "slot"),
        inspection.register_bytes ? amount_text(*inspection.register_bytes) : "only a run can tell how many");
    for (const Inspection::Register& held : inspection.registers)
      text += fmt::format("    slot {}, steps {} to {}{}\n", held.slot, held.first_step, held.last_step,
                          held.origin.empty() ? "" : "  " + held.origin);
  }
  return text;
}

std::string device_code_text(const Inspection& inspection) {
  if (inspection.device_code.empty()) return {};
  std::string text = "device code: registers and bytes spilled of a thread, threads and shared memory of a block\n";
  text += fmt::format("  {:9}{:10}{:>10}{:>9}{:>9}{:>9}\n", "", "", "registers", "spilled", "threads", "shared");
  for (const auto& [arch, family, schedule, needs] : inspection.device_code)
    text += fmt::format("  {:9}{:10}{:10}{:9}{:9}{:9}  {}\n", arch, needs.kernel, needs.registers,
                        needs.spill_store_bytes + needs.spill_load_bytes, needs.threads, needs.shared_bytes,
                        schedule.empty() ? family : family + " " + schedule);
  return text;
}

std::string cell(const std::optional<double>& value, double scale) {
  return value ? fmt::format("{:12.4g}", *value * scale) : fmt::format("{:>12}", "-");
}

std::string devices_text(const Inspection& inspection, const std::vector<Estimate>& estimates, int threads) {
  std::string text = fmt::format("devices: {}\n", kEstimatesAre);
  if (!inspection.open.empty()) {
    std::string open;
    for (const std::string& symbol : inspection.open) open += (open.empty() ? "" : ", ") + symbol;
    return text + fmt::format("  --hint or --shape must say how large these are: {}\n", open);
  }
  text += fmt::format("  {:16}{:>8}  {:4}{:>12}{:>12}{:>12}\n", "", "GB", "fits", "ms", "mJ", "$/million");
  for (const Estimate& device : estimates)
    text += fmt::format("  {:16}{:8.0f}  {:4}{}{}{}\n", device.device, device.memory_gb,
                        !device.fits   ? "-"
                        : *device.fits ? "yes"
                                       : "no",
                        cell(device.seconds, 1e3), cell(device.joules, 1e3), cell(device.dollars, 1e6));
  if (inspection.known_by_run || inspection.looped || inspection.repeated || inspection.conditional)
    text += "  with loops, branches and what only a run can tell counted as above\n";
  return text + fmt::format("  {}; this CPU is measured now, with {}\n", kFiguresAreFrom, counted(threads, "thread"));
}

// --- JSON ------------------------------------------------------------------------------------------------------------

using Json = nlohmann::json;

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

Json json_of(const Amount& amount) { return {{"formula", amount.formula}, {"value", or_null(amount.value)}}; }

Json json_of(const std::vector<Inspection::Tensor>& tensors) {
  Json list = Json::array();
  for (const Inspection::Tensor& tensor : tensors)
    list.push_back({{"name", tensor.name},
                    {"type", tensor.type},
                    {"bytes", json_of(tensor.bytes)},
                    {"known_by_run", tensor.known_by_run}});
  return list;
}

Json steps_json(const Inspection& inspection) {
  Json list = Json::array();
  for (const Inspection::Step& step : inspection.steps)
    list.push_back({{"kernel", step.kernel},
                    {"schedule", step.schedule},
                    {"plain", step.plain},
                    {"origin", step.origin},
                    {"flops", json_of(step.flops)},
                    {"bytes", json_of(step.bytes)},
                    {"known_by_run", step.known_by_run},
                    {"looped", step.looped},
                    {"repeated", step.repeated},
                    {"conditional", step.conditional}});
  return list;
}

Json memory_json(const Inspection& inspection) {
  Json buffers = Json::array(), registers = Json::array();
  for (const Inspection::Buffer& buffer : inspection.buffers)
    buffers.push_back({{"offset", json_of(buffer.offset)},
                       {"bytes", json_of(buffer.bytes)},
                       {"first_step", buffer.first_step},
                       {"last_step", buffer.last_step}});
  for (const Inspection::Register& held : inspection.registers)
    registers.push_back(
        {{"slot", held.slot}, {"first_step", held.first_step}, {"last_step", held.last_step}, {"origin", held.origin}});
  return {{"peak", json_of(inspection.peak)},
          {"workspace_of_thread", json_of(inspection.workspace)},
          {"buffers", buffers},
          {"registers", registers},
          {"register_slots", inspection.register_slots},
          {"register_bytes", inspection.register_bytes ? json_of(*inspection.register_bytes) : Json()}};
}

Json device_code_json(const Inspection& inspection) {
  Json list = Json::array();
  for (const auto& [arch, family, schedule, needs] : inspection.device_code)
    list.push_back({{"arch", arch},
                    {"kernel", needs.kernel},
                    {"family", family},
                    {"schedule", schedule},
                    {"registers", needs.registers},
                    {"stack_bytes", needs.stack_bytes},
                    {"spill_store_bytes", needs.spill_store_bytes},
                    {"spill_load_bytes", needs.spill_load_bytes},
                    {"threads", needs.threads},
                    {"shared_bytes", needs.shared_bytes}});
  return list;
}

Json devices_json(const std::vector<Estimate>& estimates) {
  Json list = Json::array();
  for (const Estimate& device : estimates)
    list.push_back({{"device", device.device},
                    {"memory_gb", device.memory_gb},
                    {"fits", or_null(device.fits)},
                    {"seconds", or_null(device.seconds)},
                    {"joules", or_null(device.joules)},
                    {"dollars", or_null(device.dollars)}});
  return list;
}

}  // namespace

std::string inspection_text(const Inspection& inspection, const std::vector<Estimate>& estimates, int threads) {
  std::string text = inspection.model + "\n";
  text += operators_text(inspection);
  text += tensors_text("inputs", inspection.inputs) + tensors_text("outputs", inspection.outputs);
  text += fmt::format("parameters: {}, {} bytes; {} bytes as the kernels read them\n", inspection.parameters,
                      inspection.parameter_bytes, inspection.weight_bytes);
  text += work_text(inspection) + groups_text(inspection);
  if (!inspection.f32_products.empty()) text += fmt::format("products of f32: {}\n", inspection.f32_products);
  if (inspection.plain) text += inspection.plain->text();
  text += memory_text(inspection);
  text += device_code_text(inspection);
  return text + devices_text(inspection, estimates, threads);
}

nlohmann::json inspection_json(const Inspection& inspection, const std::vector<Estimate>& estimates, int threads) {
  Json groups = Json::object(), kernels = Json::object();
  for (const auto& [family, found] : inspection.groups)
    groups[family] = {{"groups", found.groups}, {"ops", found.ops}, {"largest", found.largest}};
  for (const auto& [family, found] : inspection.kernels)
    kernels[family] = {{"steps", found.steps}, {"flops", json_of(found.flops)}, {"bytes", json_of(found.bytes)}};
  return {{"model", inspection.model},
          {"symbols", inspection.extents},
          {"open_symbols", inspection.open},
          {"operators", inspection.operators},
          {"inputs", json_of(inspection.inputs)},
          {"outputs", json_of(inspection.outputs)},
          {"parameters", inspection.parameters},
          {"parameter_bytes", inspection.parameter_bytes},
          {"weight_bytes", inspection.weight_bytes},
          {"flops", json_of(inspection.flops)},
          {"bytes", json_of(inspection.bytes)},
          {"steps_known_by_run", inspection.known_by_run},
          {"steps_in_loops", inspection.looped},
          {"steps_in_loops_known_by_run", inspection.repeated},
          {"steps_in_branches", inspection.conditional},
          {"groups", groups},
          {"kernels", kernels},
          {"f32_products", inspection.f32_products.empty() ? Json() : Json(inspection.f32_products)},
          {"plain_kernels", inspection.plain ? Json(inspection.plain->operators()) : Json()},
          {"host_kernels", inspection.plain ? Json(inspection.plain->host_operators()) : Json()},
          {"opened_composites", inspection.plain ? Json(inspection.plain->opened_composites()) : Json()},
          {"steps", steps_json(inspection)},
          {"memory", memory_json(inspection)},
          {"device_code", device_code_json(inspection)},
          {"memory_needed", or_null(memory_needed(inspection))},
          {"threads", threads},
          {"devices", devices_json(estimates)},
          {"estimates_are", kEstimatesAre},
          {"figures_are_from", kFiguresAreFrom}};
}

}  // namespace lapidary::tools
