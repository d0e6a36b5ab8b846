// Compiled images kept on disk: NVRTC takes a tenth of a second and more for each unit and architecture, a model's
// units mostly stay as they were between two compiles. An entry is a file named by the SHA-256 of all that the image
// depends on, holds the image with NVRTC's log, and begins with the SHA-256 of what follows: one that is damaged, cut
// off or of another format is as good as none. Entries appear by a rename; what cannot be written is not kept, and
// nobody told. Test: test/codegen/image_cache_test.cpp, test/tools/cuda_cache.test.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "codegen/cuda/nvrtc.h"

namespace lapidary::codegen::cuda {

class ImageCache {
 public:
  static constexpr int64_t kMostBytes = int64_t{256} << 20;

  // An empty folder's name: a cache that keeps nothing.
  explicit ImageCache(std::string folder, int64_t most_bytes = kMostBytes);
  // $XDG_CACHE_HOME/lapidary/images, or ~/.cache/lapidary/images; empty when neither is known.
  static std::string default_folder();

  // `key`: sha256 of what the image depends on. Finding one makes it the youngest.
  std::optional<Nvrtc::Result> find(const std::string& key) const;
  void keep(const std::string& key, const Nvrtc::Result&) const;
  // Removes the oldest until three quarters of the size limit are left, when it is exceeded.
  void evict() const;

 private:
  std::string path_of(const std::string& key) const;

  const std::string folder_;
  const int64_t most_bytes_;
};

}  // namespace lapidary::codegen::cuda
