// Our own way through LLVM: few passes, none that vectorises, unrolls or reorders loops — Loops have decided all that —
// and no global option.
//
// Before code generation: SROA makes registers of the accumulators (locals whose indices unrolling made constant);
// EarlyCSE with memory SSA and InstCombine clean up what emission repeats; LICM lifts addresses, loads and masks out of
// loops; a second EarlyCSE takes what that made equal. GVN finds nothing more in our kernels and costs as much as all
// of these. In code generation, loop strength reduction picks the addresses: the register tile ends with one pointer
// and displacements for all rows of A, one for B.
//
// Two machine passes are left out. The early MachineLICM lifts loads of constants out of loops, some thirty of them in
// one that calls erf or two, and then the registers run out: 14 of 55 instructions in a GELU were moves between them.
// In place, a constant costs nothing as the memory operand it then is, and a load port has nothing better to do. And
// with 32 vector registers the scheduler: it interleaves independent rows until vectors spill (182 times in a 13x32
// tile with a GELU behind it, 24 times without it), the core reorders anyway, and compiling takes a fifth less. With 16
// registers it earns its keep: without it a 6x16 tile spills.
//
// Measured on a Zen5 core at 262–270 GFLOP/s peak (build/bench/bench_gemm_tile): 13x32 over two panels, k unrolled by
// 4, 256–269, and so are 14x32, 12x32 and 6x64; AVX2 6x16 132–134 of 134. No spill on any target
// (test/codegen/tile_test.cpp). Such a tile compiles in 8 ms.
#include "codegen/cpu/machine.h"

#include <llvm/CodeGen/MachineModuleInfo.h>
#include <llvm/CodeGen/Passes.h>
#include <llvm/CodeGen/TargetPassConfig.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/TargetParser/Triple.h>
#include <llvm/Transforms/InstCombine/InstCombine.h>
#include <llvm/Transforms/Scalar/ADCE.h>
#include <llvm/Transforms/Scalar/EarlyCSE.h>
#include <llvm/Transforms/Scalar/LICM.h>
#include <llvm/Transforms/Scalar/LoopPassManager.h>
#include <llvm/Transforms/Scalar/SROA.h>
#include <llvm/Transforms/Scalar/SimplifyCFG.h>

#include <mutex>

#include "ir/error.h"

namespace lapidary::codegen::cpu {
namespace {

llvm::Triple triple_of(Arch arch) {
  return llvm::Triple(arch == Arch::X86_64 ? "x86_64-unknown-linux-gnu" : "aarch64-unknown-linux-gnu");
}

const llvm::Target& llvm_target(Arch arch) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
  });
  std::string problem;
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(triple_of(arch), problem);
  LPD_CHECK(target, "{}", problem);
  return *target;
}

llvm::FunctionPassManager function_passes() {
  llvm::FunctionPassManager passes;
  passes.addPass(llvm::SROAPass(llvm::SROAOptions::ModifyCFG));
  passes.addPass(llvm::EarlyCSEPass(/*UseMemorySSA=*/true));
  passes.addPass(llvm::InstCombinePass());
  passes.addPass(llvm::createFunctionToLoopPassAdaptor(llvm::LICMPass(llvm::LICMOptions()), /*UseMemorySSA=*/true));
  passes.addPass(llvm::EarlyCSEPass(true));
  passes.addPass(llvm::SimplifyCFGPass());
  passes.addPass(llvm::ADCEPass());
  return passes;
}

// Loops come with the addresses they are to have, so there is no strength to reduce; looking for some in the many
// addresses of a tile took half of a compile (ssdlite_detector: 4.6 s of CPU, 2.2 without), and changed no kernel's
// time.
class LeftOut : public llvm::OptPassGate {
 public:
  bool shouldRunPass(llvm::StringRef pass, llvm::StringRef) const override { return pass != "Loop Strength Reduction"; }
  bool isEnabled() const override { return true; }
};

}  // namespace

Machine::Machine(const Target& target) : keeps_order_(target.vector_registers >= 32) {
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;  // fma where Loops say fma
  options.NoTrappingFPMath = true;
  machine_.reset(llvm_target(target.arch)
                     .createTargetMachine(triple_of(target.arch), target.cpu, target.features, options,
                                          llvm::Reloc::PIC_, llvm::CodeModel::Small,
                                          llvm::CodeGenOptLevel::Aggressive));
  LPD_CHECK(machine_, "no code generator for {}", target.cpu);
  left_out_ = std::make_unique<LeftOut>();
}

std::unique_ptr<llvm::Module> Machine::new_module(llvm::LLVMContext& context, const std::string& name) const {
  context.setOptPassGate(*left_out_);
  auto module = std::make_unique<llvm::Module>(name, context);
  module->setTargetTriple(machine_->getTargetTriple());
  module->setDataLayout(machine_->createDataLayout());
  module->setPICLevel(llvm::PICLevel::BigPIC);
  return module;
}

void Machine::optimise(llvm::Module& module) const {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(machine_.get());
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  llvm::FunctionPassManager passes = function_passes();
  for (llvm::Function& function : module) {
    if (!function.isDeclaration()) passes.run(function, functions);
  }
}

llvm::SmallVector<char, 0> Machine::emit(llvm::Module& module, llvm::CodeGenFileType type) const {
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  // What addPassesToEmitFile does, but for the passes left out.
  auto* information = new llvm::MachineModuleInfoWrapperPass(machine_.get());
  llvm::TargetPassConfig* config = machine_->createPassConfig(passes);
  config->setDisableVerify(true);
  config->disablePass(&llvm::EarlyMachineLICMID);
  if (keeps_order_) config->disablePass(&llvm::MachineSchedulerID);
  passes.add(config);
  passes.add(information);
  bool refused = config->addISelPasses();
  config->addMachinePasses();
  config->setInitialized();
  refused |= machine_->addAsmPrinter(passes, stream, nullptr, type, information->getMMI().getContext());
  LPD_CHECK(!refused, "the code generator cannot write this kind of file");
  passes.add(llvm::createFreeMachineFunctionPass());
  passes.run(module);
  return bytes;
}

std::vector<char> Machine::object_code(llvm::Module& module) const {
  const auto bytes = emit(module, llvm::CodeGenFileType::ObjectFile);
  return {bytes.begin(), bytes.end()};
}

std::string Machine::assembly(llvm::Module& module) const {
  const auto bytes = emit(module, llvm::CodeGenFileType::AssemblyFile);
  return {bytes.begin(), bytes.end()};
}

}  // namespace lapidary::codegen::cpu
