#include "codegen/cpu/local_symbols.h"

#include <llvm/ObjCopy/CommonConfig.h>
#include <llvm/ObjCopy/ELF/ELFConfig.h>
#include <llvm/ObjCopy/ELF/ELFObjcopy.h>
#include <llvm/Object/ELFObjectFile.h>
#include <llvm/Support/raw_ostream.h>

#include "ir/error.h"

namespace lapidary::codegen::cpu {
namespace {

template <class T>
T expect(llvm::Expected<T> value) {
  if (!value) throw Error(Fault::Internal, "local symbols: " + llvm::toString(value.takeError()));
  return std::move(*value);
}

llvm::objcopy::NameMatcher matcher(const Exports& exports) {
  llvm::objcopy::NameMatcher names;
  for (const auto& [name, symbol] : exports) {
    auto pattern = expect(llvm::objcopy::NameOrPattern::create(symbol, llvm::objcopy::MatchStyle::Literal, {}));
    LPD_CHECK(!names.addMatcher(std::move(pattern)), "{} cannot be matched", symbol);
  }
  return names;
}

}  // namespace

std::vector<char> with_local_symbols(const std::vector<char>& object, const Exports& exports) {
  llvm::objcopy::CommonConfig config;
  config.SymbolsToKeepGlobal = matcher(exports);
  config.StripUnneeded = true;
  for (const auto& [name, symbol] : exports) config.SymbolsToRename[symbol] = name;
  llvm::objcopy::ELFConfig elf_config;
  elf_config.SymbolsToSetVisibility.emplace_back(matcher(exports), llvm::ELF::STV_DEFAULT);

  const llvm::MemoryBufferRef buffer({object.data(), object.size()}, "product");
  const auto binary = expect(llvm::object::ObjectFile::createELFObjectFile(buffer));
  llvm::SmallVector<char, 0> result;
  llvm::raw_svector_ostream stream(result);
  llvm::Error failure = llvm::objcopy::elf::executeObjcopyOnBinary(
      config, elf_config, llvm::cast<llvm::object::ELFObjectFileBase>(*binary), stream);
  if (failure) throw Error(Fault::Internal, "local symbols: " + llvm::toString(std::move(failure)));
  return {result.begin(), result.end()};
}

}  // namespace lapidary::codegen::cpu
