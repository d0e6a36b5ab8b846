// The tables as LLVM sees them: one packed constant of bytes and pointers, emitted as an object.
#include <llvm/IR/Constants.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Module.h>

#include <algorithm>

#include "codegen/cpu/link.h"
#include "codegen/cpu/machine.h"

namespace lapidary::codegen::cpu {

namespace {

constexpr char kTablesSymbol[] = "lpd_tables", kModelSymbol[] = "lpd_product_model";

llvm::GlobalVariable* external(llvm::Module& module, const std::string& symbol) {
  if (auto* known = module.getNamedGlobal(symbol)) return known;
  auto* global = new llvm::GlobalVariable(module, llvm::Type::getInt8Ty(module.getContext()), true,
                                          llvm::GlobalValue::ExternalLinkage, nullptr, symbol);
  global->setVisibility(llvm::GlobalValue::HiddenVisibility);
  return global;
}

}  // namespace

std::vector<char> image_object(const DataImage& image, const Target& target) {
  llvm::LLVMContext context;
  Machine machine(target);
  std::unique_ptr<llvm::Module> module = machine.new_module(context, "tables");
  auto* byte = llvm::Type::getInt8Ty(context);
  auto* pointer = llvm::PointerType::getUnqual(context);

  std::vector<DataImage::Relocation> relocations = image.relocations;
  std::sort(relocations.begin(), relocations.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
  std::vector<llvm::Type*> types;
  std::vector<std::pair<size_t, size_t>> gaps;  // bytes before each pointer, and after the last
  size_t at = 0;
  for (const auto& relocation : relocations) {
    gaps.push_back({at, relocation.offset});
    types.push_back(llvm::ArrayType::get(byte, relocation.offset - at));
    types.push_back(pointer);
    at = relocation.offset + sizeof(void*);
  }
  gaps.push_back({at, image.bytes.size()});
  types.push_back(llvm::ArrayType::get(byte, image.bytes.size() - at));
  auto* type = llvm::StructType::get(context, types, /*isPacked=*/true);
  auto* tables =
      new llvm::GlobalVariable(*module, type, true, llvm::GlobalValue::InternalLinkage, nullptr, kTablesSymbol);
  tables->setAlignment(llvm::Align(64));

  auto inside = [&](size_t offset) {
    return llvm::ConstantExpr::getGetElementPtr(byte, tables,
                                                llvm::ConstantInt::get(llvm::Type::getInt64Ty(context), offset));
  };
  std::vector<llvm::Constant*> parts;
  for (size_t i = 0; i < gaps.size(); ++i) {
    const auto* data = reinterpret_cast<const uint8_t*>(image.bytes.data());
    parts.push_back(llvm::ConstantDataArray::get(context, llvm::ArrayRef(data + gaps[i].first, data + gaps[i].second)));
    if (i == relocations.size()) break;
    const auto& relocation = relocations[i];
    parts.push_back(relocation.symbol.empty() ? inside(relocation.addend) : external(*module, relocation.symbol));
  }
  tables->setInitializer(llvm::ConstantStruct::get(type, parts));
  auto* model = llvm::GlobalAlias::create(byte, 0, llvm::GlobalValue::ExternalLinkage, kModelSymbol, inside(image.root),
                                          module.get());
  model->setVisibility(llvm::GlobalValue::HiddenVisibility);
  return machine.object_code(*module);
}

}  // namespace lapidary::codegen::cpu
