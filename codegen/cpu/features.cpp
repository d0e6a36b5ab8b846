#include "codegen/cpu/features.h"

#include <llvm/ADT/SmallVector.h>
#include <llvm/ADT/StringRef.h>
#include <llvm/TargetParser/X86TargetParser.h>

#include <algorithm>
#include <array>

namespace lapidary::codegen::cpu {
namespace {

// What LLVM's code generator may turn arithmetic, loads and stores into. The rest (sha, rdpid, clzero, …) only comes of
// asking for it by name, which we don't.
constexpr std::array<llvm::StringRef, 37> kArithmetic = {"adx",
                                                         "avx",
                                                         "avx2",
                                                         "avx512bf16",
                                                         "avx512bitalg",
                                                         "avx512bw",
                                                         "avx512cd",
                                                         "avx512dq",
                                                         "avx512f",
                                                         "avx512fp16",
                                                         "avx512ifma",
                                                         "avx512vbmi",
                                                         "avx512vbmi2",
                                                         "avx512vl",
                                                         "avx512vnni",
                                                         "avx512vp2intersect",
                                                         "avx512vpopcntdq",
                                                         "avxifma",
                                                         "avxneconvert",
                                                         "avxvnni",
                                                         "avxvnniint16",
                                                         "avxvnniint8",
                                                         "bmi",
                                                         "bmi2",
                                                         "cx16",
                                                         "f16c",
                                                         "fma",
                                                         "gfni",
                                                         "lzcnt",
                                                         "movbe",
                                                         "popcnt",
                                                         "sse3",
                                                         "sse4.1",
                                                         "sse4.2",
                                                         "ssse3",
                                                         "vaes",
                                                         "vpclmulqdq"};

bool is_arithmetic(llvm::StringRef name) {
  return std::find(kArithmetic.begin(), kArithmetic.end(), name) != kArithmetic.end();
}

}  // namespace

std::vector<std::string> needed_features(const Target& target) {
  if (target.arch == Arch::AArch64) return {};  // what every such CPU has
  llvm::SmallVector<llvm::StringRef> names;
  if (target.features.empty()) {
    llvm::X86::getFeaturesForCPU(target.cpu, names);
  } else {
    llvm::StringRef(target.features).split(names, ',');
    llvm::erase_if(names, [](llvm::StringRef name) { return !name.consume_front("+"); });
    for (llvm::StringRef& name : names) name.consume_front("+");
  }
  std::vector<std::string> needed;
  for (llvm::StringRef name : names)
    if (is_arithmetic(name)) needed.push_back(name.str());
  std::sort(needed.begin(), needed.end());
  return needed;
}

}  // namespace lapidary::codegen::cpu
