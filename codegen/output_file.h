// A file that appears under its name only when it is whole: written under a temporary name in the same folder, then
// renamed; removed when that does not happen, also by an interrupt.
#pragma once

#include <string>
#include <string_view>

namespace lapidary::codegen {

class OutputFile {
 public:
  // Creates the temporary file, so that a folder that cannot be written is found at once. All throw Error{Fault::File}.
  explicit OutputFile(const std::string& path, unsigned mode = 0666);  // mode: less the process's umask
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  const std::string& temporary_path() const { return temporary_; }
  void write(std::string_view text) const;
  void keep();
  [[noreturn]] void fail(int error_number) const;  // "cannot write 'path': No space left on device"

 private:
  [[noreturn]] void fail(const char* reason) const;

  std::string path_, temporary_;
  bool kept_ = false;
};

}  // namespace lapidary::codegen
