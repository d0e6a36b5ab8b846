// Files that never touch a disk, for code that only takes paths.
#pragma once

#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace lapidary::codegen::cpu {

// An anonymous file with this content.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view content);  // throws Error{Fault::File}
  ~MemoryFile();
  MemoryFile(MemoryFile&&) noexcept;
  MemoryFile& operator=(MemoryFile&&) = delete;
  std::string path() const;

 private:
  int file_;
};

// A pipe whose content is collected while somebody writes it.
class PipeReader {
 public:
  PipeReader();
  ~PipeReader();
  PipeReader(const PipeReader&) = delete;
  PipeReader& operator=(const PipeReader&) = delete;
  std::string path() const;
  std::vector<char> finish();  // what was written by everybody who has closed it

 private:
  int ends_[2];
  std::thread reader_;
  std::vector<char> content_;
};

}  // namespace lapidary::codegen::cpu
