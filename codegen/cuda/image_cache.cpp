#include "codegen/cuda/image_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "codegen/output_file.h"
#include "codegen/sha256.h"
#include "ir/error.h"

namespace lapidary::codegen::cuda {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kFormat = "lapidary image 2\n";
constexpr size_t kDigest = 64;

constexpr size_t kSizes = 2 * 17;

// Format, digest of the rest; sizes of the log and of the image in 16 digits each, log, image, PTX.
std::string packed(const Nvrtc::Result& result) {
  std::string content = fmt::format("{:016x}\n{:016x}\n{}", result.log.size(), result.bytes.size(), result.log);
  content.append(result.bytes.begin(), result.bytes.end());
  content.append(result.ptx.begin(), result.ptx.end());
  return fmt::format("{}{}\n{}", kFormat, sha256(content), content);
}

std::optional<Nvrtc::Result> unpacked(const std::string& entry) {
  const size_t head = kFormat.size() + kDigest + 1;
  if (!entry.starts_with(kFormat) || entry.size() < head + kSizes || entry[head - 1] != '\n') return {};
  const std::string_view content = std::string_view(entry).substr(head);
  if (entry.compare(kFormat.size(), kDigest, sha256(content)) != 0) return {};
  const size_t log_size = std::strtoull(content.data(), nullptr, 16),
               image_size = std::strtoull(content.data() + kSizes / 2, nullptr, 16);
  const std::string_view parts = content.substr(kSizes);
  if (log_size > parts.size() || image_size > parts.size() - log_size) return {};
  const std::string_view image = parts.substr(log_size, image_size), ptx = parts.substr(log_size + image_size);
  return Nvrtc::Result{{image.begin(), image.end()}, std::string(parts.substr(0, log_size)), {ptx.begin(), ptx.end()}};
}

}  // namespace

ImageCache::ImageCache(std::string folder, int64_t most_bytes) : folder_(std::move(folder)), most_bytes_(most_bytes) {}

std::string ImageCache::default_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache == '/')
    return std::string(cache) + "/lapidary/images";
  if (const char* home = std::getenv("HOME"); home && *home == '/')
    return std::string(home) + "/.cache/lapidary/images";
  return {};
}

std::string ImageCache::path_of(const std::string& key) const { return folder_ + "/" + key; }

std::optional<Nvrtc::Result> ImageCache::find(const std::string& key) const {
  if (folder_.empty()) return {};
  std::ifstream file(path_of(key), std::ios::binary);
  if (!file) return {};
  const std::string entry{std::istreambuf_iterator<char>(file), {}};
  std::optional<Nvrtc::Result> result = unpacked(entry);
  std::error_code ignored;
  if (result) fs::last_write_time(path_of(key), fs::file_time_type::clock::now(), ignored);
  return result;
}

void ImageCache::keep(const std::string& key, const Nvrtc::Result& result) const {
  if (folder_.empty()) return;
  std::error_code failed;
  fs::create_directories(folder_, failed);
  if (failed) return;
  try {
    OutputFile file(path_of(key));
    file.write(packed(result));
    file.keep();
  } catch (const Error&) {}  // a full or read-only disk: the image is made again next time
}

void ImageCache::evict() const {
  struct Entry {
    fs::file_time_type used;
    std::string path;
    int64_t bytes;
  };
  if (folder_.empty()) return;
  std::vector<Entry> entries;
  int64_t bytes = 0;
  std::error_code ignored;
  for (fs::directory_iterator it(folder_, ignored), end; it != end; it.increment(ignored)) {
    if (ignored) break;
    const auto size = static_cast<int64_t>(it->file_size(ignored));
    entries.push_back({it->last_write_time(ignored), it->path(), size});
    bytes += size;
  }
  if (bytes <= most_bytes_) return;
  std::ranges::sort(entries, [](const Entry& a, const Entry& b) { return a.used < b.used; });
  for (const Entry& entry : entries) {
    if (bytes <= most_bytes_ / 4 * 3) break;
    if (fs::remove(entry.path, ignored)) bytes -= entry.bytes;
  }
}

}  // namespace lapidary::codegen::cuda
