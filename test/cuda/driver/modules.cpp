// Images and the kernels in them. An image is only looked at: is it one that the device would take, and which kernels
// does it name? What runs is the library of emulated kernels.
#include <dlfcn.h>
#include <elf.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "test/cuda/driver/driver.h"

namespace standin {
namespace {

struct Module {
  std::set<std::string> names;
  std::map<std::string, std::unique_ptr<Function>> functions;
};
std::set<Module*> modules;

template <class T>
const T* at(const char* image, uint64_t offset) {
  return reinterpret_cast<const T*>(image + offset);
}

// Since ABI version 8 (CUDA 13) the capability is in bits 8 to 15; drivers before it do not know that one.
bool is_of_13(const Elf64_Ehdr& header) { return header.e_ident[EI_ABIVERSION] >= 8; }
int elf_capability(const Elf64_Ehdr& header) {
  return static_cast<int>((is_of_13(header) ? header.e_flags >> 8 : header.e_flags) & 0xff);
}

int read_cubin(const char* image, Module& module) {
  constexpr int kCuda = 190;
  const Elf64_Ehdr& header = *at<Elf64_Ehdr>(image, 0);
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != kCuda) return kInvalidImage;
  if (is_of_13(header) && machine().version < 13000) return kInvalidImage;
  const int made_for = elf_capability(header), device = machine().capability;
  if (made_for / 10 != device / 10 || made_for > device) return kNoBinary;
  const auto* sections = at<Elf64_Shdr>(image, header.e_shoff);
  const char* names = image + sections[header.e_shstrndx].sh_offset;
  for (int i = 0; i < header.e_shnum; ++i)
    if (const char* name = names + sections[i].sh_name; std::strncmp(name, ".text.", 6) == 0)
      module.names.insert(name + 6);
  return kSuccess;
}

// PTX 7.x came with CUDA 11, 8.x with 12, 9.x with 13.
int read_ptx(const char* text, Module& module) {
  int major = 0, minor = 0, capability = 0;
  const char* version = std::strstr(text, "\n.version ");
  const char* target = std::strstr(text, "\n.target sm_");
  if (!version || !target || std::sscanf(version, "\n.version %d.%d", &major, &minor) != 2) return kInvalidPtx;
  char suffix = 0;
  std::sscanf(target, "\n.target sm_%d%c", &capability, &suffix);
  if ((major + 4) * 1000 + minor * 10 > machine().version) return kUnsupportedPtx;
  if (capability > machine().capability || (suffix == 'a' && capability != machine().capability)) return kNoBinary;
  for (const char* entry = text; (entry = std::strstr(entry, ".entry "));) {
    entry += std::strlen(".entry ");
    module.names.insert(std::string(entry, std::strcspn(entry, "( \n")));
  }
  return kSuccess;
}

// Unless LAPIDARY_EMULATED_KERNELS names one, no kernel is found.
void* emulated(const std::string& symbol) {
  const char* path = std::getenv("LAPIDARY_EMULATED_KERNELS");
  void* library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
  if (path && !library) std::fprintf(stderr, "stand-in driver: %s\n", dlerror());
  return library ? dlsym(library, symbol.c_str()) : nullptr;
}

}  // namespace

size_t live_modules() { return modules.size(); }

}  // namespace standin

using namespace standin;

EXPORT int cuModuleLoadData(Module** out, const void* image) {
  STANDIN_CALL("cuModuleLoadData", kContext);
  auto module = std::make_unique<Module>();
  const auto* bytes = static_cast<const char*>(image);
  const bool is_elf = std::memcmp(bytes, ELFMAG, SELFMAG) == 0;
  const int status = is_elf ? read_cubin(bytes, *module) : read_ptx(bytes, *module);
  if (status) return status;
  modules.insert(*out = module.release());
  return kSuccess;
}

EXPORT int cuModuleUnload(Module* module) {
  STANDIN_CALL("cuModuleUnload", kContext);
  if (!modules.erase(module)) return kInvalidHandle;
  const int status = run_all_streams();
  delete module;
  return status;
}

EXPORT int cuModuleGetFunction(Function** out, Module* module, const char* name) {
  STANDIN_CALL("cuModuleGetFunction", kContext);
  if (!modules.count(module)) return kInvalidHandle;
  if (!module->names.count(name)) return kNotFound;
  std::unique_ptr<Function>& function = module->functions[name];
  if (!function) {
    const auto kernel = reinterpret_cast<EmulatedKernel>(emulated(std::string("emulated_") + name));
    struct Sizes {  // as test/cuda/emulator/kernel.h has them
      unsigned count;
      const unsigned* bytes;
    };
    const auto* parameters = static_cast<const Sizes*>(emulated(std::string("emulated_parameters_") + name));
    if (!kernel || !parameters) {
      std::fprintf(stderr, "stand-in driver: no emulated kernel %s\n", name);
      return kNotFound;
    }
    function =
        std::make_unique<Function>(Function{name, kernel, {parameters->bytes, parameters->bytes + parameters->count}});
    function->device = current_context()->device;
  }
  *out = function.get();
  return kSuccess;
}

// What ptxas made of it is not looked up: of registers there are as many as letters in the name.
EXPORT int cuFuncGetAttribute(int* value, int attribute, Function* function) {
  STANDIN_CALL("cuFuncGetAttribute", kContext);
  constexpr int kSharedBytes = 1, kRegisters = 4;
  if (!function) return kInvalidValue;
  *value = attribute == kRegisters ? static_cast<int>(function->name.size()) : attribute == kSharedBytes ? 16 : 0;
  return kSuccess;
}

EXPORT int cuFuncSetAttribute(Function* function, int attribute, int value) {
  STANDIN_CALL("cuFuncSetAttribute", kContext);
  constexpr int kMaxDynamicShared = 8;
  if (!function || attribute != kMaxDynamicShared || value < 0 || value > machine().shared_optin())
    return kInvalidValue;
  function->most_shared = value;
  return kSuccess;
}
