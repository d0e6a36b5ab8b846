// The build gives the folder; the assembler reads the files.
#include "codegen/cuda/unit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <vector>

#define EMBED(name, path)                                                                                            \
  asm(".pushsection .rodata." #name ",\"a\"\n.hidden " #name "_begin, " #name "_end\n.globl " #name "_begin, " #name \
      "_end\n" #name "_begin: .incbin \"" path "\"\n" #name "_end:\n.popsection\n");                                 \
  extern "C" const char name##_begin[], name##_end[];
#define TEXT(name) std::string_view(name##_begin, static_cast<size_t>(name##_end - name##_begin))

EMBED(lapidary_cuda_device, LAPIDARY_CUDA_TEXTS "/device.h")
EMBED(lapidary_cuda_prelude, LAPIDARY_CUDA_TEXTS "/prelude.h")
EMBED(lapidary_cuda_conversions, LAPIDARY_CUDA_TEXTS "/conversions.h")
EMBED(lapidary_cuda_reduce, LAPIDARY_CUDA_TEXTS "/device/reduce.h")
EMBED(lapidary_cuda_memory, LAPIDARY_CUDA_TEXTS "/device/memory.h")
EMBED(lapidary_cuda_operand, LAPIDARY_CUDA_TEXTS "/device/operand.h")
EMBED(lapidary_cuda_staging, LAPIDARY_CUDA_TEXTS "/device/staging.h")
EMBED(lapidary_cuda_product_fma, LAPIDARY_CUDA_TEXTS "/device/product_fma.h")
EMBED(lapidary_cuda_hopper, LAPIDARY_CUDA_TEXTS "/device/hopper.h")
EMBED(lapidary_cuda_wgmma, LAPIDARY_CUDA_TEXTS "/device/wgmma.h")
EMBED(lapidary_cuda_wgmma_layout, LAPIDARY_CUDA_TEXTS "/device/wgmma_layout.h")
EMBED(lapidary_cuda_wgmma_ring, LAPIDARY_CUDA_TEXTS "/device/wgmma_ring.h")
EMBED(lapidary_cuda_wgmma_residual, LAPIDARY_CUDA_TEXTS "/device/wgmma_residual.h")
EMBED(lapidary_cuda_product_wgmma, LAPIDARY_CUDA_TEXTS "/device/product_wgmma.h")
EMBED(lapidary_cuda_wgmma_store, LAPIDARY_CUDA_TEXTS "/device/wgmma_store.h")
EMBED(lapidary_cuda_wgmma_rows, LAPIDARY_CUDA_TEXTS "/device/wgmma_rows.h")
EMBED(lapidary_cuda_atoms, LAPIDARY_CUDA_TEXTS "/device/atoms.h")
EMBED(lapidary_cuda_product_mma, LAPIDARY_CUDA_TEXTS "/device/product_mma.h")
EMBED(lapidary_cuda_attend, LAPIDARY_CUDA_TEXTS "/device/attend.h")
EMBED(lapidary_cuda_attend_tensor, LAPIDARY_CUDA_TEXTS "/device/attend_tensor.h")
EMBED(lapidary_cuda_attend_wgmma, LAPIDARY_CUDA_TEXTS "/device/attend_wgmma.h")
EMBED(lapidary_cuda_attend_fma, LAPIDARY_CUDA_TEXTS "/device/attend_fma.h")
EMBED(lapidary_cuda_attend_mma, LAPIDARY_CUDA_TEXTS "/device/attend_mma.h")

namespace lapidary::codegen::cuda {
namespace {

bool is_identifier(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// Calls found(rest) for each identifier that begins with `prefix`; `rest` is what follows that.
template <typename Found>
void each_identifier(std::string_view text, std::string_view prefix, Found found) {
  for (size_t at = text.find(prefix); at != std::string_view::npos; at = text.find(prefix, at + 1)) {
    if (at > 0 && is_identifier(text[at - 1])) continue;
    size_t end = at + prefix.size();
    while (end < text.size() && is_identifier(text[end])) ++end;
    found(text.substr(at + prefix.size(), end - at - prefix.size()));
  }
}

bool names(std::string_view text, std::string_view identifier) {
  bool found = false;
  each_identifier(text, identifier, [&](std::string_view rest) { found |= rest.empty(); });
  return found;
}

// Of the device library what the kernels call, in the order in which the parts need each other.
struct Part {
  std::string_view text;
  std::string_view in_its_place = {};     // on the host: a macro that names the emulator's header
  std::vector<std::string_view> callers;  // any of these names calls for it
};

std::string device_library(std::string_view kernels) {
  const std::vector<std::string_view> products = {"product_fma", "product_mma", "product_wgmma",
                                                  "attend_fma",  "attend_mma",  "attend_wgmma"};
  const std::vector<std::string_view> tensor_cores = {"product_mma", "product_wgmma", "attend_mma", "attend_wgmma"};
  const std::vector<std::string_view> hopper = {"product_wgmma", "attend_wgmma"},
                                      attention = {"attend_fma", "attend_mma", "attend_wgmma"};
  const std::vector<Part> parts = {
      {TEXT(lapidary_cuda_reduce), {}, {"reduce_threads", "attend_fma", "attend_mma", "attend_wgmma"}},
      {TEXT(lapidary_cuda_memory), {}, products},
      {TEXT(lapidary_cuda_operand), {}, products},
      {TEXT(lapidary_cuda_staging), {}, products},
      {TEXT(lapidary_cuda_product_fma), {}, {"product_fma", "attend_fma"}},
      {TEXT(lapidary_cuda_atoms), {}, tensor_cores},
      {TEXT(lapidary_cuda_hopper), "EMULATED_HOPPER", hopper},
      {TEXT(lapidary_cuda_product_mma), {}, {"product_mma", "attend_mma"}},
      {TEXT(lapidary_cuda_wgmma), "EMULATED_WGMMA", hopper},
      {TEXT(lapidary_cuda_wgmma_layout), {}, hopper},
      {TEXT(lapidary_cuda_wgmma_ring), {}, hopper},
      {TEXT(lapidary_cuda_wgmma_residual), {}, {"product_wgmma"}},
      {TEXT(lapidary_cuda_product_wgmma), {}, {"product_wgmma"}},
      {TEXT(lapidary_cuda_wgmma_store), {}, {"store_wgmma", "rows_wgmma"}},
      {TEXT(lapidary_cuda_wgmma_rows), {}, {"rows_wgmma"}},
      {TEXT(lapidary_cuda_attend), {}, attention},
      {TEXT(lapidary_cuda_attend_fma), {}, {"attend_fma"}},
      {TEXT(lapidary_cuda_attend_tensor), {}, {"attend_mma", "attend_wgmma"}},
      {TEXT(lapidary_cuda_attend_mma), {}, {"attend_mma"}},
      {TEXT(lapidary_cuda_attend_wgmma), {}, {"attend_wgmma"}},
  };
  std::string texts;
  for (const Part& part : parts)
    if (std::ranges::any_of(part.callers, [&](std::string_view name) { return names(kernels, name); }))
      texts += part.in_its_place.empty()
                   ? std::string(part.text)
                   : fmt::format("#ifdef __CUDACC__\n{}#else\n#include {}\n#endif\n", part.text, part.in_its_place);
  return texts;
}

// "CONVERSION(f32, f16)" for each convert_f32_f16 in use.
std::string conversions_of(std::string_view text) {
  std::set<std::string> lines;
  each_identifier(text, "convert_", [&](std::string_view pair) {
    const size_t between = pair.find('_');
    lines.insert(fmt::format("CONVERSION({}, {})\n", pair.substr(0, between), pair.substr(between + 1)));
  });
  if (lines.empty()) return {};
  return fmt::format("{}{}", TEXT(lapidary_cuda_conversions), fmt::join(lines, ""));
}

}  // namespace

std::string unit_text(std::string_view kernels) {
  return fmt::format("#ifdef __CUDACC__\n{}#endif\n{}{}{}\n{}", TEXT(lapidary_cuda_device), TEXT(lapidary_cuda_prelude),
                     conversions_of(kernels), device_library(kernels), kernels);
}

}  // namespace lapidary::codegen::cuda
