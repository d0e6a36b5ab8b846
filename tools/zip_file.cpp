#include "tools/zip_file.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "ir/error.h"

namespace lapidary::tools {

namespace {

using Bytes = std::span<const std::byte>;

[[noreturn]] void wrong(const std::string& path, const std::string& what, Fault fault = Fault::Input) {
  throw Error(fault, fmt::format("{}: {}", printable(path), what));
}

template <typename T>
T number(Bytes bytes, size_t at) {  // little-endian, as this machine is
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// One byte of deflate's gives at most 1032.
bool is_reachable(uint64_t compressed, uint64_t bytes) { return bytes <= 1032 * compressed + 1032; }

constexpr int kRaw = -MAX_WBITS, kGzip = MAX_WBITS + 16;

class Inflater {
 public:
  explicit Inflater(int window) { fine_ = inflateInit2(&stream_, window) == Z_OK; }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  bool fine() const { return fine_; }
  void feed(Bytes bytes) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
  }
  // How many bytes came; at the end of the data `done`.
  size_t take(std::byte* to, size_t room, bool& done) {
    stream_.next_out = reinterpret_cast<Bytef*>(to);
    stream_.avail_out = static_cast<uInt>(room);
    const int code = inflate(&stream_, Z_NO_FLUSH);
    done = code == Z_STREAM_END;
    fine_ = done || code == Z_OK || code == Z_BUF_ERROR;
    return room - stream_.avail_out;
  }
  size_t unread() const { return stream_.avail_in; }
  void again() { fine_ = inflateReset(&stream_) == Z_OK; }

 private:
  z_stream stream_ = {};
  bool fine_ = false;
};

constexpr size_t kPiece = size_t{1} << 30;  // zlib counts in 32 bits

std::vector<std::byte> inflated(const std::string& path, const std::string& entry, Bytes data, uint64_t bytes) {
  if (!is_reachable(data.size(), bytes)) wrong(path, fmt::format("entry '{}' is damaged", printable(entry)));
  std::vector<std::byte> result(bytes);
  Inflater inflater(kRaw);
  size_t read = 0, written = 0;
  bool done = false;
  while (!done && inflater.fine()) {
    const size_t piece = std::min(kPiece, data.size() - read);
    inflater.feed(data.subspan(read, piece));
    const size_t got = inflater.take(result.data() + written, std::min(kPiece, result.size() - written), done);
    const size_t used = piece - inflater.unread();
    read += used, written += got;
    if (used == 0 && got == 0) break;
  }
  if (!done || written != bytes) wrong(path, fmt::format("entry '{}' is damaged", printable(entry)));
  return result;
}

struct Directory {
  uint64_t entries, bytes, offset;
};

constexpr uint32_t kEnd = 0x06054b50, kEnd64 = 0x06064b50, kLocator64 = 0x07064b50, kCentral = 0x02014b50,
                   kLocal = 0x04034b50;
constexpr size_t kEndBytes = 22, kCentralBytes = 46, kLocalBytes = 30;

Directory find_directory(const std::string& path, Bytes file) {
  const size_t farthest = file.size() > kEndBytes + 0xffff ? file.size() - kEndBytes - 0xffff : 0;
  for (size_t at = file.size() < kEndBytes ? 0 : file.size() - kEndBytes + 1; at-- > farthest;) {
    if (number<uint32_t>(file, at) != kEnd) continue;
    Directory found = {number<uint16_t>(file, at + 10), number<uint32_t>(file, at + 12),
                       number<uint32_t>(file, at + 16)};
    if (at >= 20 && number<uint32_t>(file, at - 20) == kLocator64) {
      const auto end64 = number<uint64_t>(file, at - 12);
      if (end64 > file.size() || file.size() - end64 < 56 || number<uint32_t>(file, end64) != kEnd64)
        wrong(path, "the archive is damaged");
      found = {number<uint64_t>(file, end64 + 32), number<uint64_t>(file, end64 + 40),
               number<uint64_t>(file, end64 + 48)};
    }
    return found;
  }
  wrong(path, "the archive is truncated: its directory is missing");
}

struct Sizes {
  uint64_t compressed, bytes, offset;
};

// Where 32 bits are too few, all ones stand in their place and the number is in an extra field.
void widen(Bytes extra, Sizes& sizes) {
  for (size_t at = 0; at + 4 <= extra.size();) {
    const auto kind = number<uint16_t>(extra, at);
    const size_t length = number<uint16_t>(extra, at + 2);
    if (length > extra.size() - at - 4) return;
    size_t from = at + 4;
    const size_t end = from + length;
    for (uint64_t* size : {&sizes.bytes, &sizes.compressed, &sizes.offset})
      if (kind == 1 && *size == 0xffffffff && from + 8 <= end) *size = number<uint64_t>(extra, from), from += 8;
    at = end;
  }
}

// Where the data of an entry begins: behind its own header, whose lengths may differ from the directory's.
Bytes data_of(const std::string& path, const std::string& name, Bytes file, const Sizes& sizes) {
  const auto damaged = [&] { wrong(path, fmt::format("entry '{}' is damaged or truncated", printable(name))); };
  if (sizes.offset > file.size() || file.size() - sizes.offset < kLocalBytes) damaged();
  const Bytes rest = file.subspan(sizes.offset);
  if (number<uint32_t>(rest, 0) != kLocal) damaged();
  const size_t begin = kLocalBytes + number<uint16_t>(rest, 26) + number<uint16_t>(rest, 28);
  if (begin > rest.size() || sizes.compressed > rest.size() - begin) damaged();
  return rest.subspan(begin, sizes.compressed);
}

std::vector<std::byte> content_of(const std::string& path, const std::string& name, Bytes data, uint64_t bytes,
                                  uint16_t method) {
  if (method == 8) return inflated(path, name, data, bytes);
  if (method != 0)
    wrong(path, fmt::format("entry '{}': compression method {} is not supported", printable(name), method),
          Fault::Unsupported);
  if (data.size() != bytes) wrong(path, fmt::format("entry '{}' is damaged", printable(name)));
  return {data.begin(), data.end()};
}

uint32_t crc_of(Bytes bytes) {
  return static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace

std::vector<ZipEntry> read_zip(const std::string& path, Bytes file) {
  const Directory directory = find_directory(path, file);
  if (directory.offset > file.size() || directory.bytes > file.size() - directory.offset)
    wrong(path, "the archive is truncated or damaged");
  const Bytes list = file.subspan(directory.offset, directory.bytes);
  std::vector<ZipEntry> entries;
  size_t at = 0;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    if (list.size() - at < kCentralBytes || number<uint32_t>(list, at) != kCentral)
      wrong(path, "the archive is damaged");
    const size_t name_bytes = number<uint16_t>(list, at + 28), extra_bytes = number<uint16_t>(list, at + 30),
                 comment_bytes = number<uint16_t>(list, at + 32),
                 entry_bytes = kCentralBytes + name_bytes + extra_bytes + comment_bytes;
    if (list.size() - at < entry_bytes) wrong(path, "the archive is damaged");
    const std::string name(reinterpret_cast<const char*>(list.data()) + at + kCentralBytes, name_bytes);
    Sizes sizes = {number<uint32_t>(list, at + 20), number<uint32_t>(list, at + 24), number<uint32_t>(list, at + 42)};
    widen(list.subspan(at + kCentralBytes + name_bytes, extra_bytes), sizes);
    if (number<uint16_t>(list, at + 8) & 1)
      wrong(path, fmt::format("entry '{}' is encrypted", printable(name)), Fault::Unsupported);
    std::vector<std::byte> content =
        content_of(path, name, data_of(path, name, file, sizes), sizes.bytes, number<uint16_t>(list, at + 10));
    if (crc_of(content) != number<uint32_t>(list, at + 16))
      wrong(path, fmt::format("entry '{}' is damaged: its checksum is wrong", printable(name)));
    entries.push_back({name, std::move(content)});
    at += entry_bytes;
  }
  return entries;
}

std::vector<std::byte> read_gzip(const std::string& path, Bytes file) {
  std::vector<std::byte> result;
  std::vector<std::byte> piece(size_t{1} << 20);
  Inflater inflater(kGzip);
  size_t read = 0;
  bool done = false;
  while (inflater.fine()) {
    if (done && read == file.size()) return result;
    if (done) inflater.again();  // files one behind the other are one
    const size_t given = std::min(kPiece, file.size() - read);
    inflater.feed(file.subspan(read, given));
    const size_t got = inflater.take(piece.data(), piece.size(), done);
    const size_t used = given - inflater.unread();
    read += used;
    result.insert(result.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(got));
    if (used == 0 && got == 0 && !done) wrong(path, "the compressed file is truncated");
  }
  wrong(path, "the compressed file is damaged");
}

}  // namespace lapidary::tools
