#include "codegen/cpu/memory_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "ir/error.h"

namespace lapidary::codegen::cpu {
namespace {

std::string path_of(int file) { return fmt::format("/proc/self/fd/{}", file); }

}  // namespace

MemoryFile::MemoryFile(std::string_view content) : file_(memfd_create("lapidary", MFD_CLOEXEC)) {
  while (file_ >= 0 && !content.empty()) {
    const ssize_t written = write(file_, content.data(), content.size());
    if (written <= 0) break;
    content.remove_prefix(static_cast<size_t>(written));
  }
  if (file_ < 0 || !content.empty()) {
    const int error_number = errno;
    if (file_ >= 0) close(file_);
    throw Error(Fault::File, fmt::format("cannot hold a file in memory: {}", std::strerror(error_number)));
  }
}

MemoryFile::~MemoryFile() {
  if (file_ >= 0) close(file_);
}

MemoryFile::MemoryFile(MemoryFile&& other) noexcept : file_(std::exchange(other.file_, -1)) {}

std::string MemoryFile::path() const { return path_of(file_); }

PipeReader::PipeReader() {
  if (pipe2(ends_, O_CLOEXEC) != 0)
    throw Error(Fault::File, fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  reader_ = std::thread([this] {
    char buffer[1 << 16];
    for (ssize_t count; (count = read(ends_[0], buffer, sizeof buffer)) > 0;)
      content_.insert(content_.end(), buffer, buffer + count);
  });
}

PipeReader::~PipeReader() {
  if (reader_.joinable()) finish();
}

std::string PipeReader::path() const { return path_of(ends_[1]); }

std::vector<char> PipeReader::finish() {
  close(ends_[1]);
  reader_.join();
  close(ends_[0]);
  return std::move(content_);
}

}  // namespace lapidary::codegen::cpu
