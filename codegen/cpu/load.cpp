#include "codegen/cpu/load.h"

#include <dlfcn.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "codegen/cpu/link.h"
#include "ir/error.h"

namespace lapidary::codegen::cpu {
namespace {

namespace fs = std::filesystem;

struct TemporaryFolder {
  fs::path path;
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "lapidary-XXXXXX").string();
    if (!mkdtemp(name.data())) throw Error(Fault::File, fmt::format("cannot create folder '{}'", name));
    path = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

std::string entry_name(uint32_t kernel) { return "entry" + std::to_string(kernel); }

}  // namespace

LoadedKernels::LoadedKernels(const Program& program, const Target& target, const ArtifactOptions& options) {
  const TemporaryFolder folder;
  const std::string library = folder.path / "kernels.so";
  LinkInput input;
  input.objects = compile_kernels(program, target, options);
  for (uint32_t i = 0; i < program.kernels.size(); i++) input.exports.emplace_back(entry_name(i), kernel_symbol(i));
  const std::vector<char> linked = link(LinkAs::Library, input, options.jobs).bytes;
  std::ofstream(library, std::ios::binary).write(linked.data(), static_cast<std::streamsize>(linked.size()));
  library_ = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  LPD_CHECK(library_, "{}", dlerror());
}

LoadedKernels::~LoadedKernels() {
  if (library_) dlclose(library_);
}

lpd_kernel LoadedKernels::operator[](uint32_t kernel) const {
  void* symbol = dlsym(library_, entry_name(kernel).c_str());
  LPD_CHECK(symbol, "kernel {} was not loaded", kernel);
  return reinterpret_cast<lpd_kernel>(symbol);
}

}  // namespace lapidary::codegen::cpu
