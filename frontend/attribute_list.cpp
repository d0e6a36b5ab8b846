#include "frontend/attribute_list.h"

#include <charconv>
#include <cstring>

#include "ir/error.h"

namespace lapidary::frontend {
namespace {

constexpr std::string_view kMark = "\x01list in file ";
constexpr int kFloats = 7, kInts = 8;

[[noreturn]] void changed() { throw Error(Fault::File, "the file changed while it was read"); }

}  // namespace

std::string mark_of(const ListInFile& list) {
  return fmt::format("{}{} {} {}", kMark, list.field, list.begin, list.end);
}

std::optional<ListInFile> list_in_file(const AttributeProto& attribute) {
  const std::string& mark = attribute.doc_string();
  if (!mark.starts_with(kMark)) return std::nullopt;
  size_t numbers[3];
  const char *at = mark.data() + kMark.size(), *end = mark.data() + mark.size();
  for (size_t& number : numbers) {
    at = std::from_chars(at, end, number).ptr;
    if (at < end) ++at;
  }
  return ListInFile{static_cast<int>(numbers[0]), numbers[1], numbers[2]};
}

ListReader::ListReader(std::span<const std::byte> file, const ListInFile& list) : field_(list.field) {
  LPD_CHECK(list.begin <= list.end && list.end <= file.size(), "a list outside of its file");
  at_ = reinterpret_cast<const char*>(file.data()) + list.begin;
  end_ = reinterpret_cast<const char*>(file.data()) + list.end;
}

uint64_t ListReader::varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (at_ == end_) changed();
    const auto byte = static_cast<uint8_t>(*at_++);
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  changed();
}

bool ListReader::seek() {
  if (packed_end_) {
    if (at_ < packed_end_) return true;
    packed_end_ = nullptr;
  }
  while (at_ < end_) {
    const uint64_t tag = varint();
    if ((tag & 7) != 2) return true;
    const uint64_t length = varint();
    if (length > static_cast<uint64_t>(end_ - at_)) changed();
    packed_end_ = at_ + length;
    if (length > 0 || field_ > kInts) return true;
  }
  return false;
}

bool ListReader::next_integer(int64_t& value) {
  if (field_ != kInts || !seek()) return false;
  value = static_cast<int64_t>(varint());
  return true;
}

bool ListReader::next_number(float& value) {
  if (field_ != kFloats || !seek()) return false;
  if (end_ - at_ < 4) changed();
  std::memcpy(&value, at_, 4);
  at_ += 4;
  return true;
}

bool ListReader::next_text(std::string_view& value) {
  if (field_ <= kInts || !seek()) return false;
  value = {at_, static_cast<size_t>(packed_end_ - at_)};
  at_ = std::exchange(packed_end_, nullptr);
  return true;
}

}  // namespace lapidary::frontend
