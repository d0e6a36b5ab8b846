#include "tools/npy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <regex>
#include <span>
#include <sstream>

#include "frontend/mapped_file.h"
#include "ir/dtype.h"
#include "ir/error.h"
#include "ir/strings.h"

namespace lapidary::tools {

namespace {

struct TypeName {
  const char* numpy;
  DType dtype;
};
constexpr TypeName kTypes[] = {{"f4", DType::F32}, {"f8", DType::F64}, {"f2", DType::F16}, {"i1", DType::I8},
                               {"i2", DType::I16}, {"i4", DType::I32}, {"i8", DType::I64}, {"u1", DType::U8},
                               {"u2", DType::U16}, {"u4", DType::U32}, {"u8", DType::U64}, {"b1", DType::Bool}};

[[noreturn]] void wrong(const std::string& path, const std::string& what, Fault fault = Fault::Input) {
  throw Error(fault, fmt::format("{}: {}", printable(path), what));
}
[[noreturn]] void unsupported(const std::string& path, const std::string& what) {
  wrong(path, what + " is not supported", Fault::Unsupported);
}

std::shared_ptr<const frontend::MappedFile> opened(const std::string& path) {
  try {
    return frontend::MappedFile::open(path);
  } catch (const Error& error) { throw Error(error.fault, fmt::format("{}: {}", printable(path), error.what())); }
}

constexpr char kMagic[] = "\x93NUMPY";
constexpr size_t kMagicBytes = 6, kMostHeader = 10000, kMostRank = 64;  // the header: as much as NumPy itself reads

struct Header {
  size_t bytes;
  std::string text;
};  // bytes: of magic, version, length and text

Header read_header(const std::string& path, std::string_view file) {
  if (file.size() < 10 || file.compare(0, kMagicBytes, kMagic, kMagicBytes) != 0) wrong(path, "not a .npy file");
  auto byte = [&](size_t at) { return static_cast<size_t>(static_cast<unsigned char>(file[at])); };
  size_t version = byte(6), start = version == 1 ? 10 : 12;
  if (version < 1 || version > 3 || file.size() < start)
    wrong(path, fmt::format(".npy version {} is not known", version));
  size_t length = byte(8) | byte(9) << 8;
  if (version > 1) length |= byte(10) << 16 | byte(11) << 24;
  if (start + length > file.size()) wrong(path, "the header is longer than the file");
  if (length > kMostHeader) wrong(path, fmt::format("a header of {} bytes", length));
  return {start + length, std::string(file.substr(start, length))};
}

std::vector<int64_t> parse_shape(const std::string& path, const std::string& text) {
  std::vector<int64_t> shape;
  std::stringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    if (part.find_first_not_of(" ") == std::string::npos) continue;
    char* end = nullptr;
    long long extent = std::strtoll(part.c_str(), &end, 10);
    if (part.find_first_not_of(" ", end - part.c_str()) != std::string::npos)
      wrong(path, fmt::format("extent {} is no number", printable(part)));
    if (extent < 0 || extent > INT64_C(1) << 40) wrong(path, fmt::format("extent {} is out of range", printable(part)));
    shape.push_back(extent);
  }
  if (shape.size() > kMostRank) wrong(path, fmt::format("rank {} exceeds {}", shape.size(), kMostRank));
  return shape;
}

// Strings fill their width with zeros: UTF-32, or bytes. What UTF-8 cannot be has the code points that Python gives it:
// U+DC00 + byte.
constexpr char32_t kBytes = 0xdc00;

std::string text_of(std::span<const std::byte> element, bool wide) {
  std::string text;
  if (!wide) {
    for (std::byte b : element) text += static_cast<char>(b);
    return text.substr(0, text.find_last_not_of('\0') + 1);
  }
  size_t length = element.size() / 4;
  const auto code_point = [&](size_t i) {
    uint32_t c;
    std::memcpy(&c, element.data() + 4 * i, sizeof c);
    return c;
  };
  while (length > 0 && code_point(length - 1) == 0) --length;
  for (size_t i = 0; i < length; ++i) {
    const uint32_t c = code_point(i);
    const bool byte = c >= kBytes + 0x80 && c <= kBytes + 0xff;
    append_code_point(text, byte ? kNoCodePoint + (c - kBytes) : c < kNoCodePoint ? c : 0xfffd);
  }
  return text;
}

// Elements that lie first index fastest, as Fortran has them, brought into our order.
std::vector<std::byte> last_index_fastest(std::span<const std::byte> data, const std::vector<int64_t>& dims,
                                          size_t width) {
  std::vector<size_t> strides(dims.size(), width);
  for (size_t axis = 1; axis < dims.size(); ++axis)
    strides[axis] = strides[axis - 1] * static_cast<size_t>(dims[axis - 1]);
  std::vector<int64_t> index(dims.size());
  std::vector<std::byte> result(data.size());
  size_t from = 0;
  for (size_t to = 0; to < data.size(); to += width) {
    std::copy_n(data.data() + from, width, result.data() + to);
    for (size_t axis = dims.size(); axis-- > 0;) {
      from += strides[axis];
      if (++index[axis] < dims[axis]) break;
      from -= strides[axis] * static_cast<size_t>(dims[axis]);
      index[axis] = 0;
    }
  }
  return result;
}

std::string padded(const std::vector<std::string>& texts, size_t& width) {
  std::vector<std::u32string> wide;
  width = 1;
  for (const std::string& text : texts) {
    std::u32string& points = wide.emplace_back();
    for (size_t at = 0; at < text.size();) {
      const uint32_t c = next_code_point(text, at);
      points += c >= kNoCodePoint ? kBytes + (c - kNoCodePoint) : c;
    }
    width = std::max(width, points.size());
  }
  std::string content;
  for (std::u32string& points : wide) {
    points.resize(width);
    content.append(reinterpret_cast<const char*>(points.data()), 4 * width);
  }
  return content;
}

}  // namespace

HostTensor parse_npy(const std::string& path, std::span<const std::byte> content) {
  std::string_view file(reinterpret_cast<const char*>(content.data()), content.size());
  Header header = read_header(path, file);
  std::smatch found;
  if (!std::regex_search(header.text, found, std::regex("'descr': *'([<|=>])([a-zA-Z][0-9]*)'")))
    wrong(path, "the header names no simple type");
  if (found[1] == ">") unsupported(path, "big-endian data");
  if (found[2] == "O")
    unsupported(path, "element type O, pickled objects (numpy.save of array.astype(str) writes strings)");
  const std::string descr = found[2];
  const bool texts = descr[0] == 'U' || descr[0] == 'S';
  if (texts && (descr.size() < 2 || descr.size() > 10)) wrong(path, fmt::format("element type {}", printable(descr)));
  std::optional<DType> dtype;
  for (const TypeName& type : kTypes) {
    if (descr == type.numpy) dtype = type.dtype;
  }
  if (texts) dtype = DType::String;
  if (!dtype) unsupported(path, fmt::format("element type {}", descr));
  if (!std::regex_search(header.text, found, std::regex("'fortran_order': *(True|False)")))
    wrong(path, "the header has no order");
  const bool fortran = found[1] == "True";
  if (!std::regex_search(header.text, found, std::regex("'shape': *\\(([0-9, ]*)\\)")))
    wrong(path, "the header has no shape");
  HostTensor tensor{static_cast<uint8_t>(*dtype), parse_shape(path, found[1])};
  int64_t count = 1;
  for (int64_t extent : tensor.dims) {
    if (__builtin_mul_overflow(count, extent, &count)) wrong(path, "the shape overflows");
  }
  std::optional<int64_t> bytes = byte_size(*dtype, count);
  const int64_t width = texts ? std::stoll(descr.substr(1)) * (descr[0] == 'U' ? 4 : 1) : 0;  // of a string
  if (int64_t total; texts) bytes = __builtin_mul_overflow(count, width, &total) ? std::nullopt : std::optional(total);
  if (!bytes || *bytes != static_cast<int64_t>(file.size() - header.bytes)) {
    wrong(path, fmt::format("the shape needs {} bytes of data, the file has {}", bytes.value_or(-1),
                            file.size() - header.bytes));
  }
  std::span<const std::byte> data = content.subspan(header.bytes);
  std::vector<std::byte> reordered;
  if (texts && width == 0 && count > 0) wrong(path, "strings of no width");
  if (count > 0 && *bytes > 0 && fortran)
    data = reordered = last_index_fastest(data, tensor.dims, static_cast<size_t>(*bytes / count));
  if (texts) {
    for (int64_t i = 0; i < count; ++i)
      tensor.strings.push_back(
          text_of(data.subspan(static_cast<size_t>(i * width), static_cast<size_t>(width)), descr[0] == 'U'));
    return tensor;
  }
  tensor.bytes.assign(data.begin(), data.end());
  return tensor;
}

HostTensor read_npy(const std::string& path) { return parse_npy(path, opened(path)->bytes()); }

std::string npy_content(const std::string& path, const HostTensor& tensor) {
  std::string type, data(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
  if (tensor.dtype == static_cast<uint8_t>(DType::String)) {
    size_t width;
    data = padded(tensor.strings, width);
    type = fmt::format("U{}", width);
  }
  for (const TypeName& name : kTypes) {
    if (static_cast<uint8_t>(name.dtype) == tensor.dtype) type = name.numpy;
  }
  if (type.empty())
    wrong(path, fmt::format(".npy has no element type for {}", name_of(static_cast<DType>(tensor.dtype))),
          Fault::Unsupported);
  std::string shape;
  for (int64_t extent : tensor.dims) shape += fmt::format("{}, ", extent);
  bool byte_sized = type[0] != 'U' && type[1] == '1';
  std::string text =
      fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': ({}), }}", byte_sized ? "|" : "<", type, shape);
  text.append((64 - (10 + text.size() + 1) % 64) % 64, ' ');
  text += '\n';
  std::string content(kMagic, kMagicBytes);
  for (size_t byte : {size_t{1}, size_t{0}, text.size() & 255, text.size() >> 8}) content += static_cast<char>(byte);
  return content + text + data;
}

}  // namespace lapidary::tools
