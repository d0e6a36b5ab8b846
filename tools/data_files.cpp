#include "tools/data_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>

#include "frontend/mapped_file.h"
#include "ir/dtype.h"
#include "ir/error.h"
#include "tools/npy.h"
#include "tools/zip_file.h"

namespace lapidary::tools {

namespace {

using Bytes = std::span<const std::byte>;
using Arrays = std::vector<NamedArray>;

[[noreturn]] void wrong(const std::string& path, const std::string& what, Fault fault = Fault::Input) {
  throw Error(fault, fmt::format("{}: {}", printable(path), what));
}

std::string_view text_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// --- IDX: 0, 0, type, rank, the extents as big-endian u32, the elements big-endian

struct IdxType {
  uint8_t code;
  DType dtype;
};
constexpr IdxType kIdxTypes[] = {{0x08, DType::U8},  {0x09, DType::I8},  {0x0b, DType::I16},
                                 {0x0c, DType::I32}, {0x0d, DType::F32}, {0x0e, DType::F64}};

const IdxType* idx_type(Bytes file) {
  if (file.size() < 4 || file[0] != std::byte{0} || file[1] != std::byte{0}) return nullptr;
  const auto code = std::to_integer<uint8_t>(file[2]);
  const auto found = std::ranges::find(kIdxTypes, code, &IdxType::code);
  return found == std::end(kIdxTypes) ? nullptr : found;
}

HostTensor read_idx(const std::string& path, Bytes file) {
  const IdxType& type = *idx_type(file);
  const auto rank = std::to_integer<size_t>(file[3]);
  if (rank == 0 || rank > 8) wrong(path, fmt::format("an IDX file of rank {}", rank));
  if (file.size() < 4 + 4 * rank) wrong(path, "the file is truncated");
  HostTensor tensor{static_cast<uint8_t>(type.dtype)};
  int64_t count = 1;
  for (size_t axis = 0; axis < rank; ++axis) {
    uint32_t extent;
    std::memcpy(&extent, file.data() + 4 + 4 * axis, sizeof extent);
    tensor.dims.push_back(__builtin_bswap32(extent));
    if (__builtin_mul_overflow(count, tensor.dims.back(), &count)) wrong(path, "the shape overflows");
  }
  const Bytes data = file.subspan(4 + 4 * rank);
  const std::optional<int64_t> bytes = byte_size(type.dtype, count);
  if (!bytes || *bytes != static_cast<int64_t>(data.size()))
    wrong(path, fmt::format("{}: the shape needs {} bytes of data, the file has {}",
                            bytes && *bytes < static_cast<int64_t>(data.size()) ? "the file is too long"
                                                                                : "the file is truncated",
                            bytes.value_or(-1), data.size()));
  tensor.bytes.assign(data.begin(), data.end());
  const size_t width = static_cast<size_t>(bit_width(type.dtype)) / 8;
  for (size_t at = 0; at < tensor.bytes.size() && width > 1; at += width)
    std::reverse(tensor.bytes.begin() + static_cast<std::ptrdiff_t>(at),
                 tensor.bytes.begin() + static_cast<std::ptrdiff_t>(at + width));
  return tensor;
}

// --- CSV

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::string_view(" \t\r\"").find(text.front()) != std::string_view::npos)
    text.remove_prefix(1);
  while (!text.empty() && std::string_view(" \t\r\"").find(text.back()) != std::string_view::npos)
    text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> fields_of(std::string_view line, char separator) {
  std::vector<std::string_view> fields;
  for (size_t at = 0; at <= line.size();) {
    const size_t end = std::min(line.find(separator, at), line.size());
    fields.push_back(trimmed(line.substr(at, end - at)));
    at = end + 1;
  }
  return fields;
}

std::optional<double> number_of(std::string_view field) {
  double value = 0;
  const auto [stop, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (error != std::errc() || stop != field.data() + field.size()) return {};
  return value;
}

class CsvReader {
 public:
  CsvReader(const std::string& path, Bytes file) : path_(path), rest_(text_of(file)) {}

  // The inputs [N, columns], and, when they have a name, the label of each line.
  Arrays read(const std::string& label_column, const std::string& label_name) {
    std::vector<std::string_view> fields;
    while (next_line(fields)) {
      if (columns_ == 0 && begin(fields, label_column, !label_name.empty())) continue;
      if (fields.size() != columns_)
        wrong(path_, fmt::format("line {} has {} columns, expected {}", line_, fields.size(), columns_));
      for (size_t i = 0; i < columns_; ++i) (i == label_ ? labels_ : inputs_).push_back(number_at(fields, i));
    }
    if (inputs_.empty()) wrong(path_, "there are no samples");
    const auto columns = static_cast<int64_t>(label_ ? columns_ - 1 : columns_);
    const int64_t samples = static_cast<int64_t>(inputs_.size()) / columns;
    Arrays arrays = {{"", tensor({samples, columns}, inputs_)}};
    if (label_) arrays.push_back({label_name, tensor({samples}, labels_)});
    return arrays;
  }

 private:
  // Empty lines do not count.
  bool next_line(std::vector<std::string_view>& fields) {
    while (!rest_.empty()) {
      const size_t end = std::min(rest_.find('\n'), rest_.size());
      const std::string_view line = rest_.substr(0, end);
      rest_.remove_prefix(std::min(end + 1, rest_.size()));
      ++line_;
      if (trimmed(line).empty()) continue;
      if (columns_ == 0)
        for (const char candidate : {'\t', ';', ','})
          if (line.find(candidate) != std::string_view::npos) separator_ = candidate;
      fields = fields_of(line, separator_);
      return true;
    }
    return false;
  }

  // Of the first line; whether it holds names.
  bool begin(const std::vector<std::string_view>& fields, const std::string& label_column, bool has_label) {
    columns_ = fields.size();
    const bool names =
        std::ranges::none_of(fields, [](std::string_view field) { return number_of(field).has_value(); });
    if (!has_label) return names;
    if (columns_ < 2) wrong(path_, fmt::format("line {}: one column, expected numbers and a label", line_));
    label_ = columns_ - 1;
    if (label_column.empty()) return names;
    const auto named = std::ranges::find(fields, std::string_view(label_column));
    const std::optional<double> number = number_of(label_column);
    if (names && named != fields.end())
      label_ = static_cast<size_t>(named - fields.begin());
    else if (number && *number >= 1 && *number <= static_cast<double>(columns_))
      label_ = static_cast<size_t>(*number) - 1;
    else
      throw Error(Fault::Usage,
                  fmt::format("--label-column: {} has no column '{}'", printable(path_), printable(label_column)));
    return names;
  }

  double number_at(const std::vector<std::string_view>& fields, size_t column) const {
    if (const auto number = number_of(fields[column])) return *number;
    wrong(path_, fmt::format("line {}, column {}: '{}' is no number", line_, column + 1, printable(fields[column])));
  }

  static HostTensor tensor(std::vector<int64_t> dims, const std::vector<double>& values) {
    HostTensor result{static_cast<uint8_t>(DType::F64), std::move(dims)};
    const Bytes bytes = std::as_bytes(std::span(values));
    result.bytes.assign(bytes.begin(), bytes.end());
    return result;
  }

  const std::string& path_;
  std::string_view rest_;
  size_t line_ = 0, columns_ = 0;
  std::optional<size_t> label_;
  char separator_ = ',';
  std::vector<double> inputs_, labels_;
};

// --- any of them

bool begins_with(Bytes file, std::string_view magic) { return text_of(file).starts_with(magic); }

std::string without_npy(const std::string& name) {
  return name.ends_with(".npy") ? name.substr(0, name.size() - 4) : name;
}

Arrays read_content(const std::string& path, Bytes file, const DataFiles& options, const std::string& label_name) {
  if (file.empty()) wrong(path, "the file is empty");
  if (begins_with(file, "\x1f\x8b")) return read_content(path, read_gzip(path, file), options, label_name);
  if (begins_with(file, "\x93NUMPY")) return {{"", parse_npy(path, file)}};
  if (idx_type(file)) return {{"", read_idx(path, file)}};
  if (!begins_with(file, "PK"))
    return CsvReader(path, file).read(options.label_column, options.labels.empty() ? label_name : "");
  Arrays arrays;
  for (const ZipEntry& entry : read_zip(path, file))
    arrays.push_back({without_npy(entry.name), parse_npy(fmt::format("{}: {}", path, entry.name), entry.bytes)});
  return arrays;
}

Arrays read_file(const std::string& path, const DataFiles& options, const std::string& label_name) {
  std::shared_ptr<const frontend::MappedFile> mapped;
  try {
    mapped = frontend::MappedFile::open(path);
  } catch (const Error& error) { wrong(path, error.what(), error.fault); }
  return read_content(path, mapped->bytes(), options, label_name);
}

Arrays read_folder(const std::string& path) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(path))
    if (entry.path().extension() == ".npy") files.push_back(entry.path());
  std::ranges::sort(files);
  if (files.empty()) wrong(path, "the folder holds no .npy files");
  Arrays arrays;
  for (const auto& file : files) arrays.push_back({file.stem().string(), read_npy(file.string())});
  return arrays;
}

}  // namespace

Arrays read_arrays(const DataFiles& options, const std::string& label_name) {
  Arrays arrays = std::filesystem::is_directory(options.data) ? read_folder(options.data)
                                                              : read_file(options.data, options, label_name);
  if (options.labels.empty()) return arrays;
  Arrays labels = read_file(options.labels, options, "");
  if (labels.size() != 1) wrong(options.labels, fmt::format("{} arrays, --labels takes a file of one", labels.size()));
  std::erase_if(arrays, [&](const NamedArray& array) { return array.name == label_name; });
  arrays.push_back({label_name, std::move(labels[0].values)});
  return arrays;
}

}  // namespace lapidary::tools
