// A file mapped read-only into memory: a model's weights stay in it until the artifact is written, so that importing
// 650 MB costs page-table entries instead of copies.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace lapidary::frontend {

class MappedFile {
 public:
  // Throws Error{Fault::File}, whose message lacks the file's name, when it is missing or not a regular one.
  static std::shared_ptr<const MappedFile> open(const std::string& path);
  // Takes over an open descriptor of a regular file.
  static std::shared_ptr<const MappedFile> from_descriptor(int descriptor);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::span<const std::byte> bytes_;
};

}  // namespace lapidary::frontend
