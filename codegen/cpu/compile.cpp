// Kernels to objects: one module, and one LLVM context, for each kernel, handed out to the threads one by one. Nothing
// of a module depends on which thread compiles it or when, so neither do the bytes.
#include "codegen/cpu/compile.h"

#include <llvm/Support/raw_ostream.h>

#include <numeric>

#include "codegen/cpu/emitter.h"
#include "codegen/cpu/machine.h"
#include "codegen/parallel.h"
#include "ir/error.h"

namespace lapidary::codegen {
namespace cpu {
namespace {

std::vector<size_t> all_kernels(const Program& program) {
  std::vector<size_t> all(program.kernels.size());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

std::vector<size_t> host_kernels(const Program& program) {
  std::vector<size_t> found;
  for (size_t i = 0; i < program.kernels.size(); ++i)
    if (loops::is_on_host(program.kernels[i])) found.push_back(i);
  return found;
}

// `finish(machine, module, i)` gets each of these kernels as an optimised module.
template <typename Finish>
void for_each_module(const Program& program, const std::vector<size_t>& kernels, const Target& target,
                     const ArtifactOptions& options, uint32_t level, Finish finish) {
  const auto new_machine = [&] { return Machine(target); };
  on_threads(options.jobs, kernels.size(), new_machine, [&](const Machine& machine, size_t k) {
    const size_t i = kernels[k];
    llvm::LLVMContext context;
    const std::string symbol = kernel_symbol(static_cast<uint32_t>(i), level);
    const auto module = machine.new_module(context, symbol);
    // Our own maths are made of fused multiply-adds.
    emit_kernel(*module, program.kernels[i], symbol, target, options.strict_math || !target.has_fma());
    machine.optimise(*module);
    finish(machine, *module, i);
  });
}

// Labels of an assembly text are its own, .LBB0_1 in every one; here they get the kernel's number: .Lk3_BB0_1.
std::string with_own_labels(const std::string& text, size_t kernel) {
  std::string result;
  const std::string prefix = ".Lk" + std::to_string(kernel) + "_";
  for (size_t at = 0; at < text.size();) {
    const size_t label = text.find(".L", at);
    result.append(text, at, label - at);
    if (label == std::string::npos) break;
    result += prefix;
    at = label + 2;
  }
  return result;
}

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += text;
  return all;
}

}  // namespace

std::string kernel_symbol(uint32_t kernel, uint32_t level) {
  return fmt::format("lpd_k{}", kernel) + (level ? fmt::format("_{}", level) : "");
}

namespace {

std::vector<std::vector<char>> compile_some(const Program& program, const std::vector<size_t>& kernels,
                                            const Target& target, const ArtifactOptions& options, uint32_t level) {
  std::vector<std::vector<char>> objects(program.kernels.size());
  for_each_module(
      program, kernels, target, options, level,
      [&](const Machine& machine, llvm::Module& module, size_t i) { objects[i] = machine.object_code(module); });
  std::erase_if(objects, [](const std::vector<char>& object) { return object.empty(); });
  return objects;
}

}  // namespace

std::vector<std::vector<char>> compile_kernels(const Program& program, const Target& target,
                                               const ArtifactOptions& options, uint32_t level) {
  return compile_some(program, all_kernels(program), target, options, level);
}

std::vector<std::vector<char>> compile_host_kernels(const Program& program, const Target& host,
                                                    const ArtifactOptions& options, uint32_t level) {
  return compile_some(program, host_kernels(program), host, options, level);
}

}  // namespace cpu

std::string llvm_text(const Program& program, const Target& target, const ArtifactOptions& options) {
  std::vector<std::string> texts(program.kernels.size());
  cpu::for_each_module(program, cpu::all_kernels(program), target, options, 0,
                       [&](const cpu::Machine&, llvm::Module& module, size_t i) {
                         llvm::raw_string_ostream stream(texts[i]);
                         module.print(stream, nullptr);
                       });
  return cpu::joined(texts);
}

std::string assembly_text(const Program& program, const Target& target, const ArtifactOptions& options) {
  std::vector<std::string> texts(program.kernels.size());
  cpu::for_each_module(program, cpu::all_kernels(program), target, options, 0,
                       [&](const cpu::Machine& machine, llvm::Module& module, size_t i) {
                         texts[i] = cpu::with_own_labels(machine.assembly(module), i);
                       });
  return cpu::joined(texts);
}

}  // namespace lapidary::codegen
