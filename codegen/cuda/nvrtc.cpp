// Bound by name, with our own declarations: a build needs no CUDA header, and versions 12 and 13 serve alike.
#include "codegen/cuda/nvrtc.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <glob.h>

#include <cstdlib>

#include "ir/error.h"

namespace lapidary::codegen::cuda {
namespace {

using Program = void*;

struct Library {
  int (*create)(Program*, const char* text, const char* name, int headers, const char* const*, const char* const*);
  int (*compile)(Program, int options, const char* const*);
  int (*destroy)(Program*);
  int (*log_size)(Program, size_t*);
  int (*log)(Program, char*);
  int (*cubin_size)(Program, size_t*);
  int (*cubin)(Program, char*);
  int (*ptx_size)(Program, size_t*);
  int (*ptx)(Program, char*);
  const char* (*error_text)(int);
};

std::vector<std::string> candidates() {
  std::vector<std::string> paths;
  if (const char* given = std::getenv("LAPIDARY_NVRTC")) return {given};
  for (const char* version : {"13", "12"}) paths.push_back(std::string("libnvrtc.so.") + version);
  std::string pattern = "/usr/local/cuda*/lib64/libnvrtc.so.1[23]";
  std::vector<std::string> patterns = {pattern};
  if (const char* home = std::getenv("HOME"))
    patterns.push_back(std::string(home) + "/.cache/lapidary/venv/lib/python3*/site-packages/nvidia/*/lib/libnvrtc.so.1[23]");
  for (const std::string& place : patterns) {
    glob_t found{};
    if (glob(place.c_str(), 0, nullptr, &found) == 0)
      paths.insert(paths.end(), found.gl_pathv, found.gl_pathv + found.gl_pathc);
    globfree(&found);
  }
  return paths;
}

Library load() {
  void* handle = nullptr;
  for (const std::string& path : candidates())
    if ((handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL))) break;
  if (!handle)
    throw Error(Fault::Unsupported,
                "CUDA kernels need NVRTC, and no libnvrtc.so.13 or .12 was found: install the CUDA toolkit, or "
                "`pip install nvidia-cuda-nvrtc`, or name the library in LAPIDARY_NVRTC");
  Library library{};
  const auto bind = [&](auto& function, const char* name) {
    void* symbol = dlsym(handle, name);
    if (!symbol) throw Error(Fault::Unsupported, fmt::format("this NVRTC has no {}", name));
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
  };
  bind(library.create, "nvrtcCreateProgram");
  bind(library.compile, "nvrtcCompileProgram");
  bind(library.destroy, "nvrtcDestroyProgram");
  bind(library.log_size, "nvrtcGetProgramLogSize");
  bind(library.log, "nvrtcGetProgramLog");
  bind(library.cubin_size, "nvrtcGetCUBINSize");
  bind(library.cubin, "nvrtcGetCUBIN");
  bind(library.ptx_size, "nvrtcGetPTXSize");
  bind(library.ptx, "nvrtcGetPTX");
  bind(library.error_text, "nvrtcGetErrorString");
  return library;
}

const Library& nvrtc() {
  static const Library library = load();
  return library;
}

void succeed(int status, const char* what) {
  if (status != 0) throw Error(Fault::Internal, fmt::format("NVRTC: {}: {}", what, nvrtc().error_text(status)));
}

template <typename Bytes>
Bytes taken(int (*size_of)(Program, size_t*), int (*get)(Program, char*), Program program, const char* what) {
  size_t size = 0;
  succeed(size_of(program, &size), what);
  Bytes bytes(size, '\0');
  succeed(get(program, bytes.data()), what);
  return bytes;
}

}  // namespace

Compiled compile(const std::string& text, const std::string& architecture) {
  const Library& library = nvrtc();
  Program program = nullptr;
  succeed(library.create(&program, text.c_str(), "kernels.cu", 0, nullptr, nullptr), "create");
  const std::string arch = "--gpu-architecture=" + architecture;
  const char* options[] = {arch.c_str(), "--std=c++17", "--minimal", "--ptxas-options=-v", "--fmad=true"};
  const int status = library.compile(program, std::size(options), options);
  Compiled result;
  result.log = taken<std::string>(library.log_size, library.log, program, "log");
  if (status != 0) {
    library.destroy(&program);
    throw Error(Fault::Internal, fmt::format("NVRTC for {}: {}\n{}", architecture, library.error_text(status), result.log));
  }
  result.ptx = taken<std::string>(library.ptx_size, library.ptx, program, "ptx");
  result.cubin = taken<std::vector<char>>(library.cubin_size, library.cubin, program, "cubin");
  library.destroy(&program);
  return result;
}

}  // namespace lapidary::codegen::cuda
