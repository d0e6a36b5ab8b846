// External data: weights in a file beside the model. A model is untrusted, so the file must lie in the model's folder
// or below it, be reached without any symbolic link, be a regular file with one name, and hold the range asked for:
// `location: "w.bin", offset: 4096, length: 24`. Every component of the path is opened by itself (openat with
// O_NOFOLLOW), so nothing can be swapped in between check and use; O_NONBLOCK keeps FIFOs from hanging us.
// The list of what others got wrong here: ONNX's ExternalDataSecurity.md. Test: test/frontend/initializers_test.cpp.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "frontend/mapped_file.h"
#include "frontend/tensors.h"
#include "ir/error.h"

namespace lapidary::frontend {
namespace {

[[noreturn]] void fail(const std::string& what) { throw Error(Fault::Input, "external data: " + what); }

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  int get() const { return number_; }
  int release() { return std::exchange(number_, -1); }
  void reset(int number) {
    if (number_ >= 0) close(number_);
    number_ = number;
  }

 private:
  int number_;
};

std::vector<std::string> components_of(const std::string& location) {
  if (location.empty()) fail("no location");
  if (location.find('\0') != std::string::npos) fail("location holds a NUL byte");
  if (location[0] == '/') fail(fmt::format("location '{}' leaves the model's folder", printable(location)));
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= location.size();) {
    size_t end = std::min(location.find('/', begin), location.size());
    std::string part = location.substr(begin, end - begin);
    if (part == "..") fail(fmt::format("location '{}' leaves the model's folder", printable(location)));
    if (!part.empty() && part != ".") parts.push_back(part);
    begin = end + 1;
  }
  if (parts.empty()) fail(fmt::format("location '{}' is not a regular file", printable(location)));
  return parts;
}

int open_inside(const std::string& folder, const std::string& location) {
  std::vector<std::string> parts = components_of(location);
  Descriptor at(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (at.get() < 0) fail(fmt::format("cannot open the model's folder: {}", strerror(errno)));
  for (size_t i = 0; i < parts.size(); ++i) {
    bool last = i + 1 == parts.size();
    int next =
        openat(at.get(), parts[i].c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | (last ? O_NONBLOCK : O_DIRECTORY));
    int problem = errno;
    struct stat status;
    if (next < 0 && fstatat(at.get(), parts[i].c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode)) {
      fail(fmt::format("'{}' is a symbolic link", printable(parts[i])));
    }
    if (next < 0)
      throw Error(Fault::File,
                  fmt::format("external data: cannot open '{}': {}", printable(location), strerror(problem)));
    at.reset(next);
  }
  struct stat status;
  if (fstat(at.get(), &status) != 0) fail(strerror(errno));
  if (!S_ISREG(status.st_mode)) fail(fmt::format("'{}' is not a regular file", printable(location)));
  if (status.st_nlink > 1) fail(fmt::format("'{}' has {} hard links", printable(location), status.st_nlink));
  return at.release();
}

int64_t number_of(const std::string& key, const std::string& text) {
  int64_t value = 0;
  auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || value < 0)
    fail(fmt::format("{} '{}' is not a size", key, printable(text)));
  return value;
}

}  // namespace

ByteSource ExternalData::read(const TensorProto& tensor, int64_t expected) {
  std::string location;
  int64_t offset = 0, length = expected;
  for (const auto& entry : tensor.external_data()) {
    if (entry.key() == "location") location = entry.value();
    if (entry.key() == "offset") offset = number_of("offset", entry.value());
    if (entry.key() == "length") length = number_of("length", entry.value());
  }
  if (folder_.empty()) fail("there is no folder it could lie in");
  if (length != expected) fail(fmt::format("length {}, the tensor needs {} bytes", length, expected));
  std::shared_ptr<const MappedFile>& file = files_[location];
  if (!file) file = MappedFile::from_descriptor(open_inside(folder_, location));
  int64_t size = static_cast<int64_t>(file->bytes().size());
  if (offset > size || length > size - offset)
    fail(fmt::format("offset {} + length {} exceeds file size {}", offset, length, size));
  return {file, file->bytes().subspan(offset, length)};
}

}  // namespace lapidary::frontend
