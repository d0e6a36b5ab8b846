#include "codegen/cpu/load.h"

#include <dlfcn.h>
#include <lld/Common/Driver.h>
#include <llvm/Support/raw_ostream.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <mutex>

#include "ir/error.h"

LLD_HAS_DRIVER(elf)

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

// lld keeps its state in globals.
void link_library(const std::vector<std::string>& args) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  std::vector<const char*> argv;
  for (const std::string& arg : args) argv.push_back(arg.c_str());
  std::string messages;
  llvm::raw_string_ostream stream(messages);
  const lld::Result result = lld::lldMain(argv, llvm::nulls(), stream, {{lld::Gnu, &lld::elf::link}});
  LPD_CHECK(result.retCode == 0, "linking kernels: {}", messages);
}

}  // namespace

LoadedKernels::LoadedKernels(const Program& program, const Target& target, const ArtifactOptions& options) {
  const TemporaryFolder folder;
  const std::string library = folder.path / "kernels.so";
  std::vector<std::string> args = {"ld.lld", "-shared", "-o", library};
  const auto objects = compile_kernels(program, target, options);
  for (size_t i = 0; i < objects.size(); i++) {
    args.push_back(folder.path / ("kernels" + std::to_string(i) + ".o"));
    std::ofstream(args.back(), std::ios::binary)
        .write(objects[i].data(), static_cast<std::streamsize>(objects[i].size()));
  }
  for (uint32_t i = 0; i < program.kernels.size(); i++)
    args.push_back("--defsym=" + entry_name(i) + "=" + kernel_symbol(i));  // kernels themselves are hidden
  link_library(args);
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
