// The generated C header: the common interface, then this model's own functions and tensors.
#include <fmt/format.h>

#include "codegen/codegen.h"
#include "codegen/host/interface_text.h"
#include "ir/error.h"

namespace lapidary::codegen {

namespace {

// A model's names inside a C comment: nothing in them may end it.
std::string comment_text(const std::string& text) {
  std::string safe;
  for (char c : printable(text)) {
    if (c == '/' && !safe.empty() && safe.back() == '*') safe += ' ';
    if (c == '*' && !safe.empty() && safe.back() == '/') safe += ' ';
    if (c == '?' && !safe.empty() && safe.back() == '?') safe += ' ';
    safe += c == '\\' ? '|' : c;
  }
  return safe;
}

std::string tensor_line(int slot, const TensorInfo& info) {
  std::string shape;
  for (Dim extent : info.shape) shape += (shape.empty() ? "" : ", ") + to_string(extent);
  return fmt::format(" *   slot {}: {} {}[{}]\n", slot, comment_text(info.name), name_of(info.dtype), comment_text(shape));
}

}  // namespace

std::string header_text(const Program& program, const std::string& symbol) {
  const EntryPoint& entry = program.entries[0];
  std::string text(interface_text());
  std::string guard = symbol;
  for (char& c : guard) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  text += fmt::format("\n#ifndef LAPIDARY_MODEL_{0}\n#define LAPIDARY_MODEL_{0}\n\n/* {1}\n * Inputs:\n", guard, comment_text(program.name));
  int slot = 0;
  for (const TensorInfo& info : entry.inputs) text += tensor_line(slot++, info);
  text += " * Outputs:\n";
  for (const TensorInfo& info : entry.outputs) text += tensor_line(slot++, info);
  text += fmt::format(R"( * What each call does, its status codes and who owns what is said above, at the lpd_ call of the same name. */
#ifdef __cplusplus
extern "C" {{
#endif

const lpd_model *{0}_model(void);
lpd_status {0}_create(const lpd_options *options, lpd_instance **instance);
void {0}_destroy(lpd_instance *instance);
const char *{0}_error(const lpd_instance *instance);
lpd_status {0}_bind(lpd_instance *instance, int slot, const lpd_tensor *tensor);
lpd_status {0}_run(lpd_instance *instance, int entry, const volatile int *cancel);
lpd_status {0}_output(lpd_instance *instance, int slot, lpd_tensor *tensor);
int32_t {0}_input_count(void);
int32_t {0}_output_count(void);
lpd_status {0}_describe(int slot, lpd_tensor_info *info);
const char *const *{0}_symbols(int32_t *count);
int64_t {0}_arena_bytes(const int64_t *symbols);
lpd_status {0}_profile_enable(lpd_instance *instance, int on);
int32_t {0}_profile_count(const lpd_instance *instance, int entry);
lpd_status {0}_profile(const lpd_instance *instance, int entry, int step, lpd_step_profile *profile);

#ifdef __cplusplus
}}
#endif

#endif
)", symbol);
  return text;
}

}  // namespace lapidary::codegen
