// The generated header: what the model takes and gives, then the C interface of runtime/lapidary.h with the model's
// prefix in place of lpd_. One file is all a user needs, and those of several models may be included together.
#include <algorithm>
#include <regex>

#include "codegen/codegen.h"
#include "codegen/host/embedded.h"
#include "codegen/host/exports.h"
#include "codegen/host/tables.h"
#include "ir/error.h"

namespace lapidary::codegen {
namespace {

// A model's text within a comment: nothing that ends it, opens another, or is a trigraph.
std::string comment_text(std::string_view raw) {
  std::string text;
  for (char c : printable(raw)) {
    const char before = text.empty() ? ' ' : text.back();
    const bool special = (before == '*' && c == '/') || (before == '/' && c == '*') || (before == '?' && c == '?');
    text += special ? fmt::format("\\x{:02x}", c) : std::string(1, c);
  }
  return text;
}

std::string tensor_line(int slot, const char* role, const TensorInfo& tensor) {
  std::string shape;
  for (Dim dim : tensor.shape) shape += (shape.empty() ? "" : ", ") + to_string(dim);
  return fmt::format(" *   {:2}  {:6}  {}: {}[{}]\n", slot, role, comment_text(tensor.name), name_of(tensor.dtype),
                     comment_text(shape));
}

// "x[0]": as the importer names the parts of a sequence.
bool may_be_part(const TensorInfo& tensor) {
  const size_t digits = tensor.name.rfind('[') + 1;
  return digits > 0 && tensor.name.ends_with(']') &&
         tensor.name.find_first_not_of("0123456789", digits) + 1 == tensor.name.size();
}

// Of a model compiled for training: what each entry point takes and gives.
std::string entry_lines(const Program& program) {
  const auto names = [](const std::vector<TensorInfo>& tensors) {
    std::string text;
    for (const TensorInfo& tensor : tensors) text += (text.empty() ? "" : ", ") + comment_text(tensor.name);
    return text;
  };
  std::string text = " * Entry points, by their numbers:\n";
  for (size_t i = 0; i < program.entries.size(); ++i)
    text += fmt::format(" *   {:2}  {}: {} -> {}\n", i, program.entries[i].name, names(program.entries[i].inputs),
                        names(program.entries[i].outputs));
  return text + " * Parameters, and what else lives from run to run, are states: see state_get.\n";
}

std::string introduction(const Program& program, const std::string& symbol) {
  const std::vector<TensorInfo> inputs = host::all_tensors(program, &EntryPoint::inputs),
                                outputs = host::all_tensors(program, &EntryPoint::outputs);
  std::string text = fmt::format("/* The model '{}', compiled by Lapidary. Slots:\n", comment_text(program.name));
  int slot = 0;
  for (const TensorInfo& input : inputs) text += tensor_line(slot++, "input", input);
  for (const TensorInfo& output : outputs) text += tensor_line(slot++, "output", output);
  if (std::ranges::any_of(inputs, may_be_part) || std::ranges::any_of(outputs, may_be_part))
    text += " * A sequence x of the model is the slots x[0], x[1], and so on, one for each part.\n";
  if (program.entries.size() > 1) text += entry_lines(program);
  if (!program.f32_products.empty())
    text += fmt::format(" * Compiled with --f32={}: how the device multiplies f32.\n", program.f32_products);
  text += fmt::format(R"( *
 * lpd_instance *instance;
 * {0}_create(NULL, &instance);
 * {0}_bind(instance, slot, &tensor);     for each input
 * {0}_run(instance, 0, NULL);
 * {0}_output(instance, slot, &tensor);   for each output
 * {0}_destroy(instance);
 *
 * Every call returns a status; {0}_error tells the last failure in words. A model is read-only and shared; an
 * instance belongs to one thread at a time; different instances run at the same time. */
)",
                      symbol);
  return text;
}

// From `begin` up to and including `end`.
std::string part_of(std::string_view text, std::string_view begin, std::string_view end) {
  const size_t from = text.find(begin), to = text.find(end, from);
  LPD_CHECK(from != text.npos && to != text.npos, "runtime/lapidary.h has no part from {} to {}", begin, end);
  return std::string(text.substr(from, to + end.size() - from));
}

std::string functions(const std::string& symbol) {
  std::string text = part_of(host::interface_header(), "/* --- functions --- */\n", "/* --- end of functions --- */\n");
  text = text.substr(text.find('\n') + 1);
  text.resize(text.rfind("/* --- end"));
  for (const host::Export& e : host::kExports)
    text = std::regex_replace(text, std::regex(fmt::format("\\blpd_{}\\b(?! \\*)", e.name)), symbol + "_" + e.name);
  text = std::regex_replace(text, std::regex("\\(const lpd_model \\*, "), "(");
  return std::regex_replace(text, std::regex("\\(const lpd_model \\*\\)"), "(void)");
}

}  // namespace

std::string header_text(const Program& program, const std::string& symbol) {
  std::string guard = "LAPIDARY_MODEL_" + symbol + "_H";
  std::string text = introduction(program, symbol);
  text += fmt::format("#ifndef {0}\n#define {0}\n\n", guard);
  text += part_of(host::interface_header(), "#ifndef LAPIDARY_TYPES\n", "#endif /* LAPIDARY_TYPES */\n");
  text += "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n";
  text += functions(symbol);
  text += "\n#ifdef __cplusplus\n}\n#endif\n#endif\n";
  return text;
}

std::string c_identifier(const std::string& text) {
  std::string name;
  for (char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    name += letter ? c : '_';
  }
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) name = "model_" + name;
  return name;
}

}  // namespace lapidary::codegen
