#include "codegen/cuda/packing.h"

#include <zstd.h>

#include <memory>
#include <new>

#include "codegen/parallel.h"
#include "ir/error.h"
#include "runtime/abi.h"

namespace lapidary::codegen::cuda {
namespace {

constexpr int kLevel = 12;

void add_module(std::vector<char>& plain, std::vector<int64_t>& modules, const std::vector<char>& bytes) {
  plain.resize((plain.size() + LPD_MODULE_ALIGNMENT - 1) / LPD_MODULE_ALIGNMENT * LPD_MODULE_ALIGNMENT);
  modules.push_back(static_cast<int64_t>(plain.size()));
  plain.insert(plain.end(), bytes.begin(), bytes.end());
  plain.push_back('\0');  // ends a text
}

size_t checked(size_t result) {
  if (ZSTD_isError(result)) throw Error(Fault::Internal, fmt::format("Zstandard: {}", ZSTD_getErrorName(result)));
  return result;
}

// With a checksum, so that damage shows when it is unpacked.
std::vector<char> frame_of(const std::vector<char>& plain) {
  const std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  if (!context) throw std::bad_alloc();
  checked(ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, kLevel));
  checked(ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1));
  std::vector<char> frame(ZSTD_compressBound(plain.size()));
  frame.resize(checked(ZSTD_compress2(context.get(), frame.data(), frame.size(), plain.data(), plain.size())));
  return frame;
}

}  // namespace

std::vector<PackedImage> pack(const std::vector<Image>& images, int jobs) {
  std::vector<PackedImage> packed;
  std::vector<std::vector<char>> plain;
  for (const Image& image : images) {
    if (packed.empty() || packed.back().arch != image.arch || packed.back().level != image.level) {
      packed.push_back({.arch = image.arch, .level = image.level, .made_by = image.made_by});
      plain.emplace_back();
    }
    packed.back().kernel_modules.insert(packed.back().kernel_modules.end(), image.kernels.size(),
                                        static_cast<uint32_t>(packed.back().modules.size()));
    add_module(plain.back(), packed.back().modules, image.bytes);
  }
  const auto no_state = [] { return 0; };
  on_threads(jobs, packed.size(), no_state, [&](int, size_t i) {
    packed[i].plain_bytes = static_cast<int64_t>(plain[i].size());
    packed[i].frame = frame_of(plain[i]);
  });
  return packed;
}

}  // namespace lapidary::codegen::cuda
