#include "codegen/output_file.h"

#include <fcntl.h>
#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Signals.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "ir/error.h"

namespace lapidary::codegen {
namespace {

// The first of many names that is not taken; no state is shared, so threads and processes may create side by side. A
// signal that ends the process removes the file, from the moment on that it is there.
int create_beside(const std::string& path, unsigned mode, std::string& temporary) {
  for (int attempt = 0; attempt < 1000; ++attempt) {
    temporary = fmt::format("{}.tmp-{}-{}", path, getpid(), attempt);
    llvm::sys::RemoveFileOnSignal(temporary);
    const int file = open(temporary.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, mode);
    if (file >= 0) return file;
    const int error_number = errno;
    llvm::sys::DontRemoveFileOnSignal(temporary);
    errno = error_number;
    if (errno != EEXIST) return file;
  }
  return -1;
}

}  // namespace

OutputFile::OutputFile(const std::string& path, unsigned mode) : path_(path) {
  struct stat there;  // to rename over a folder would fail, and over a device or FIFO would remove it
  if (stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode)) fail("not a regular file");
  const int file = create_beside(path, mode, temporary_);
  if (file < 0) fail(errno);
  close(file);
}

OutputFile::~OutputFile() {
  if (kept_) return;
  unlink(temporary_.c_str());
  llvm::sys::DontRemoveFileOnSignal(temporary_);
}

void OutputFile::write(std::string_view text) const {
  const int file = open(temporary_.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (file < 0) fail(errno);
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int error_number = errno;
      close(file);
      fail(error_number);
    }
    text.remove_prefix(static_cast<size_t>(written));
  }
  if (close(file) != 0) fail(errno);
}

void OutputFile::keep() {
  if (rename(temporary_.c_str(), path_.c_str()) != 0) fail(errno);
  kept_ = true;
  llvm::sys::DontRemoveFileOnSignal(temporary_);
}

void OutputFile::fail(int error_number) const { fail(std::strerror(error_number)); }

void OutputFile::fail(const char* reason) const {
  throw Error(Fault::File, fmt::format("cannot write '{}': {}", printable(path_), reason));
}

}  // namespace lapidary::codegen
