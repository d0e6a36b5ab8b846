// Lists of attributes, wherever they are: in the message, or left in the file by the wire scan because they are long. A
// tree ensemble is one node whose attributes are millions of numbers; as protobuf's messages they take three times the
// file.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "frontend/onnx_proto.h"

namespace lapidary::frontend {

constexpr size_t kLongAttribute = 64 << 10;  // bytes

// All of the attribute's fields of this number, 7 floats, 8 ints or 9 strings, are the bytes [begin, end) of the file.
struct ListInFile {
  int field;
  size_t begin, end;
};
// What the scan writes into the attribute's doc_string, which has no other use.
std::string mark_of(const ListInFile&);
std::optional<ListInFile> list_in_file(const AttributeProto&);

// The elements in order, without a copy of them all.
class ListReader {
 public:
  // Of a list in the file, already scanned.
  ListReader(std::span<const std::byte> file, const ListInFile&);

  bool next_integer(int64_t&);
  bool next_number(float&);
  bool next_text(std::string_view&);

 private:
  uint64_t varint();
  bool seek();  // to the next field of the list; in a packed one, `packed_end_` is where it ends
  const char *at_, *end_, *packed_end_ = nullptr;
  int field_;
};

template <typename Visit>
void for_each_integer(const AttributeProto& attribute, std::span<const std::byte> file, Visit visit) {
  if (const auto list = list_in_file(attribute)) {
    ListReader reader(file, *list);
    for (int64_t value; reader.next_integer(value);) visit(value);
  } else {
    for (int64_t value : attribute.ints()) visit(value);
  }
}

template <typename Visit>
void for_each_number(const AttributeProto& attribute, std::span<const std::byte> file, Visit visit) {
  if (const auto list = list_in_file(attribute)) {
    ListReader reader(file, *list);
    for (float value; reader.next_number(value);) visit(value);
  } else {
    for (float value : attribute.floats()) visit(value);
  }
}

template <typename Visit>
void for_each_text(const AttributeProto& attribute, std::span<const std::byte> file, Visit visit) {
  if (const auto list = list_in_file(attribute)) {
    ListReader reader(file, *list);
    for (std::string_view value; reader.next_text(value);) visit(value);
  } else {
    for (const std::string& value : attribute.strings()) visit(std::string_view(value));
  }
}

}  // namespace lapidary::frontend
