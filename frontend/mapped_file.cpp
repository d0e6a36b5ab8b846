// Opening without blocking on FIFOs, and mapping. A file that shrinks while it is mapped raises SIGBUS, as everywhere.
#include "frontend/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "ir/error.h"

namespace lapidary::frontend {

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) throw Error(Fault::File, fmt::format("cannot open: {}", strerror(errno)));
  return from_descriptor(descriptor);
}

std::shared_ptr<const MappedFile> MappedFile::from_descriptor(int descriptor) {
  struct stat status;
  void* address = nullptr;
  std::string problem;
  if (fstat(descriptor, &status) != 0) {
    problem = fmt::format("cannot read: {}", strerror(errno));
  } else if (!S_ISREG(status.st_mode)) {
    problem = "not a regular file";
  } else if (status.st_size > 0) {
    address = mmap(nullptr, status.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (address == MAP_FAILED) problem = fmt::format("cannot read: {}", strerror(errno));
  }
  close(descriptor);
  if (!problem.empty()) throw Error(Fault::File, problem);
  std::span<const std::byte> bytes(static_cast<const std::byte*>(address), static_cast<size_t>(status.st_size));
  return std::shared_ptr<const MappedFile>(new MappedFile(bytes));
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace lapidary::frontend
