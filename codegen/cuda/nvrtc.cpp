// Bound by name, with our own declarations: a build needs no CUDA header.
#include "codegen/cuda/nvrtc.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <glob.h>
#include <link.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <new>
#include <sstream>

#include "ir/error.h"

namespace lapidary::codegen::cuda {
namespace {

constexpr const char* kHowToGetIt =
    "install the CUDA toolkit (12 or 13), or `pip install nvidia-cuda-nvrtc` (or nvidia-cuda-nvrtc-cu12), or name the "
    "library in LAPIDARY_NVRTC";

constexpr int kOutOfMemory = 1, kNoBuiltins = 7;  // of nvrtcResult

// Later names first: "cuda-13.0" before "cuda-12.4", ".so.13" before ".so.12".
void add_matches(std::vector<std::string>& paths, const std::string& pattern) {
  glob_t found{};
  if (glob(pattern.c_str(), 0, nullptr, &found) == 0)
    for (size_t i = found.gl_pathc; i-- > 0;) paths.emplace_back(found.gl_pathv[i]);
  globfree(&found);
}

// Of an installation's folder: what conda and pip put there.
void add_python_packages(std::vector<std::string>& paths, const std::string& prefix) {
  add_matches(paths, prefix + "/lib/libnvrtc.so.1[23]");
  for (const char* packages : {"site-packages", "dist-packages"})
    add_matches(paths, fmt::format("{}/lib/python3*/{}/nvidia/*/lib/libnvrtc.so.1[23]", prefix, packages));
}

std::vector<std::string> candidates() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value ? value : "");
  };
  if (const std::string given = variable("LAPIDARY_NVRTC"); !given.empty()) return {given};
  std::vector<std::string> paths = {"libnvrtc.so.13", "libnvrtc.so.12"};
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"})
    if (const std::string folder = variable(name); !folder.empty())
      add_matches(paths, folder + "/lib64/libnvrtc.so.1[23]");
  add_matches(paths, "/usr/local/cuda*/lib64/libnvrtc.so.1[23]");
  std::istringstream path(variable("PATH"));
  for (std::string folder; std::getline(path, folder, ':');)
    if (folder.starts_with('/')) add_python_packages(paths, std::filesystem::path(folder).parent_path());
  if (const std::string home = variable("HOME"); !home.empty()) {
    add_python_packages(paths, home + "/.local");
    add_python_packages(paths, home + "/.cache/lapidary/venv");
  }
  if (const std::string cache = variable("LAPIDARY_CACHE"); !cache.empty()) add_python_packages(paths, cache + "/venv");
  return paths;
}

void* open_library() {
  const std::vector<std::string> paths = candidates();
  for (const std::string& path : paths)
    if (void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return handle;
  const std::string why = paths.size() == 1 ? fmt::format("LAPIDARY_NVRTC names none that loads ({})", dlerror())
                                            : "no libnvrtc.so.13 or .12 was found";
  throw Error(Fault::File, fmt::format("CUDA kernels are compiled by NVRTC, and {}: {}", why, kHowToGetIt));
}

// Builds of one version differ in what they generate; their sizes tell them apart.
uintmax_t file_size_of(void* handle) {
  const link_map* map = nullptr;
  std::error_code none;
  if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0) return 0;
  const uintmax_t size = std::filesystem::file_size(map->l_name, none);
  return none ? 0 : size;
}

// "sm_90a" → 90
int number_of(const std::string& architecture) {
  return std::atoi(architecture.substr(architecture.find('_') + 1).c_str());
}

}  // namespace

const Nvrtc& Nvrtc::get() {
  static const Nvrtc library;
  return library;
}

Nvrtc::Nvrtc() {
  void* handle = open_library();
  bind(handle);
  int major = 0, minor = 0, count = 0;
  succeed(call_.version(&major, &minor), "version");
  succeed(call_.architecture_count(&count), "number of architectures");
  known_.resize(static_cast<size_t>(count));
  succeed(call_.architectures(known_.data()), "architectures");
  version_ = fmt::format("{}.{}", major, minor);
  number_ = static_cast<uint32_t>(1000 * major + 10 * minor);
  options_ = {"--std=c++17", "--fmad=true", "--disable-warnings", "--ptxas-options=-v"};
  if (major * 100 + minor >= 1204) options_.push_back("--minimal");   // our text needs no texture, no launch
  if (major * 100 + minor >= 1209) options_.push_back("--no-cache");  // NVRTC's own, which would keep no log
  identity_ = fmt::format("nvrtc {}, {} bytes, {}", version_, file_size_of(handle), fmt::join(options_, " "));
}

void Nvrtc::bind(void* handle) {
  const auto find = [&](auto& function, const char* name) {
    void* symbol = dlsym(handle, name);
    if (!symbol) throw Error(Fault::Unsupported, fmt::format("this NVRTC has no {}; {}", name, kHowToGetIt));
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
  };
  find(call_.version, "nvrtcVersion");
  find(call_.architecture_count, "nvrtcGetNumSupportedArchs");
  find(call_.architectures, "nvrtcGetSupportedArchs");
  find(call_.create, "nvrtcCreateProgram");
  find(call_.compile, "nvrtcCompileProgram");
  find(call_.destroy, "nvrtcDestroyProgram");
  find(call_.log_size, "nvrtcGetProgramLogSize");
  find(call_.log, "nvrtcGetProgramLog");
  find(call_.cubin_size, "nvrtcGetCUBINSize");
  find(call_.cubin, "nvrtcGetCUBIN");
  find(call_.ptx_size, "nvrtcGetPTXSize");
  find(call_.ptx, "nvrtcGetPTX");
  find(call_.error_text, "nvrtcGetErrorString");
}

void Nvrtc::must_support(const std::vector<std::string>& architectures) const {
  std::vector<std::string> missing;
  for (const std::string& architecture : architectures)
    if (std::ranges::find(known_, number_of(architecture)) == known_.end()) missing.push_back(architecture);
  if (missing.empty()) return;
  throw Error(Fault::Unsupported, fmt::format("NVRTC {} makes no code for {}; it does for sm_{}", version_,
                                              fmt::join(missing, ", "), fmt::join(known_, ", sm_")));
}

void Nvrtc::succeed(int status, const char* what) const {
  if (status != 0) throw Error(Fault::Internal, fmt::format("NVRTC: {}: {}", what, call_.error_text(status)));
}

template <typename Bytes>
Bytes Nvrtc::taken(Program program, int (*size_of)(Program, size_t*), int (*get)(Program, char*),
                   const char* what) const {
  size_t size = 0;
  succeed(size_of(program, &size), what);
  Bytes bytes(size, '\0');
  succeed(get(program, bytes.data()), what);
  return bytes;
}

Nvrtc::Result Nvrtc::compile(const std::string& text, const std::string& architecture, bool keeps_ptx) const {
  Program program = nullptr;
  succeed(call_.create(&program, text.c_str(), "kernels.cu", 0, nullptr, nullptr), "create");
  const auto destroy = [this](Program* p) { call_.destroy(p); };
  const std::unique_ptr<Program, decltype(destroy)> owner(&program, destroy);
  const std::string chosen = "--gpu-architecture=" + architecture;
  std::vector<const char*> options = {chosen.c_str()};
  for (const std::string& option : options_) options.push_back(option.c_str());
  const int status = call_.compile(program, static_cast<int>(options.size()), options.data());
  Result result;
  result.log = taken<std::string>(program, call_.log_size, call_.log, "log");
  if (!result.log.empty()) result.log.pop_back();  // the terminator
  if (status == kOutOfMemory) throw std::bad_alloc();
  if (status == kNoBuiltins)
    throw Error(Fault::File, fmt::format("NVRTC {} does not find its libnvrtc-builtins.so, which belongs beside it: {}",
                                         version_, kHowToGetIt));
  if (status != 0)
    throw Error(Fault::Internal,
                fmt::format("NVRTC {} for {}: {}\n{}", version_, architecture, call_.error_text(status), result.log));
  const auto ptx = [&] { return taken<std::vector<char>>(program, call_.ptx_size, call_.ptx, "PTX"); };
  if (!architecture.starts_with("sm_")) {
    result.bytes = ptx();
    return result;
  }
  result.bytes = taken<std::vector<char>>(program, call_.cubin_size, call_.cubin, "cubin");
  if (keeps_ptx) result.ptx = ptx();
  return result;
}

}  // namespace lapidary::codegen::cuda
