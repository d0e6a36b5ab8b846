// NVIDIA's run-time compiler, loaded when the first kernel is compiled: a build needs none, nor does a product.
// Versions 12 and 13 serve alike. It comes with the CUDA toolkit, or alone in the Python packages nvidia-cuda-nvrtc
// (13.x) and nvidia-cuda-nvrtc-cu12 (12.x).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lapidary::codegen::cuda {

class Nvrtc {
 public:
  // The first found of: the library that LAPIDARY_NVRTC names (then only that one), the loader's own search, the
  // toolkits of CUDA_HOME, CUDA_PATH and /usr/local, newest first, and the Python packages of the environments on PATH,
  // of the user, and of scripts/setup. Throws Error{Fault::File} when there is none; the message says how to get it.
  static const Nvrtc& get();

  // Throws Error{Fault::Unsupported} with one line when this version makes no code for one of them ("sm_90a").
  void must_support(const std::vector<std::string>& architectures) const;

  uint32_t version() const { return number_; }  // 1000 * major + 10 * minor

  // What its results depend on besides text and architecture.
  const std::string& identity() const { return identity_; }

  struct Result {
    std::vector<char> bytes;  // "sm_80": a cubin, "compute_80": PTX
    std::string log;          // of a cubin: registers, spills and shared memory of each kernel
    std::vector<char> ptx;    // that a cubin was made of, if it was asked for
  };
  Result compile(const std::string& text, const std::string& architecture, bool keeps_ptx = false) const;

 private:
  using Program = void*;
  struct Functions {
    int (*version)(int* major, int* minor);
    int (*architecture_count)(int*);
    int (*architectures)(int*);
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

  Nvrtc();
  void bind(void* handle);
  void succeed(int status, const char* what) const;
  template <typename Bytes>
  Bytes taken(Program, int (*size_of)(Program, size_t*), int (*get)(Program, char*), const char* what) const;

  Functions call_{};
  std::string version_, identity_;
  uint32_t number_ = 0;
  std::vector<int> known_;            // 80: of sm_80 and compute_80
  std::vector<std::string> options_;  // of every compilation
};

}  // namespace lapidary::codegen::cuda
