// lld's driver initialises every target LLVM was built with, and its link-time optimiser asks for the Polly plugin. We
// link objects of two targets and no bitcode: empty answers for the others keep 200 MB of archives out of the tools.
#include <llvm/Plugins/PassPlugin.h>

// The real ones of our targets are linked; the lists below define theirs under names nobody calls.
#define LLVMInitializeX86TargetInfo unused_x86_target_info
#define LLVMInitializeX86Target unused_x86_target
#define LLVMInitializeX86TargetMC unused_x86_target_mc
#define LLVMInitializeX86AsmPrinter unused_x86_asm_printer
#define LLVMInitializeX86AsmParser unused_x86_asm_parser
#define LLVMInitializeAArch64TargetInfo unused_aarch64_target_info
#define LLVMInitializeAArch64Target unused_aarch64_target
#define LLVMInitializeAArch64TargetMC unused_aarch64_target_mc
#define LLVMInitializeAArch64AsmPrinter unused_aarch64_asm_printer

extern "C" {
#define LLVM_TARGET(name)                    \
  void LLVMInitialize##name##TargetInfo();   \
  void LLVMInitialize##name##Target();       \
  void LLVMInitialize##name##TargetMC();     \
  void LLVMInitialize##name##TargetInfo() {} \
  void LLVMInitialize##name##Target() {}     \
  void LLVMInitialize##name##TargetMC() {}
#include <llvm/Config/Targets.def>
#define LLVM_ASM_PRINTER(name)             \
  void LLVMInitialize##name##AsmPrinter(); \
  void LLVMInitialize##name##AsmPrinter() {}
#include <llvm/Config/AsmPrinters.def>
#define LLVM_ASM_PARSER(name)             \
  void LLVMInitialize##name##AsmParser(); \
  void LLVMInitialize##name##AsmParser() {}
#include <llvm/Config/AsmParsers.def>
}

llvm::PassPluginLibraryInfo getPollyPluginInfo() { return {}; }
