// The wire scan on hand-made bytes: what it takes out, and what it says about broken files.
#include "frontend/wire_scan.h"

#include <gtest/gtest.h>

#include "ir/error.h"

namespace lapidary::frontend {
namespace {

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}
std::string bytes(int field, const std::string& content) {
  return varint(field << 3 | 2) + varint(content.size()) + content;
}
std::string number(int field, uint64_t value) { return varint(field << 3) + varint(value); }

std::string scanned(const std::string& file, int nesting = 100) {
  return scan_model(std::as_bytes(std::span(file)), nesting);
}
std::string problem(const std::string& file, int nesting = 100) {
  try {
    scanned(file, nesting);
    return "none";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault, Fault::Input);
    return error.what();
  }
}

std::string tensor(const std::string& raw) {
  return number(1, raw.size()) + number(2, 2) + bytes(8, "w") + bytes(9, raw);
}
std::string model_of(const std::string& graph) { return number(1, 8) + bytes(7, graph); }

TEST(WireScan, LeavesLargeDataInTheFile) {
  std::string raw(5000, 'x'), file = model_of(bytes(5, tensor(raw)) + bytes(2, "g"));
  std::string message = scanned(file);
  EXPECT_LT(message.size(), 100u);
  EXPECT_EQ(message.find("xxx"), std::string::npos);
  size_t begin = file.find(raw);
  EXPECT_NE(message.find(number(1, begin) + number(2, begin + raw.size())), std::string::npos);  // the segment
}

TEST(WireScan, KeepsSmallDataAndUnknownFields) {
  std::string graph = bytes(5, tensor("12345678") + number(77, 5)) + bytes(60, "new");
  std::string message = scanned(model_of(graph));
  EXPECT_NE(message.find("12345678"), std::string::npos);
  EXPECT_NE(message.find("new"), std::string::npos);
}

std::string attribute(const std::string& content) { return bytes(1, bytes(5, bytes(1, "a") + content)); }

TEST(WireScan, LeavesLongListsInTheFile) {
  std::string numbers, packed;
  for (uint64_t i = 0; i < 40000; ++i) numbers += number(8, i), packed += varint(i);
  for (const std::string& list : {numbers, bytes(8, packed)}) {
    const std::string file = model_of(attribute(list)), message = scanned(file);
    EXPECT_LT(message.size(), 100u);
    EXPECT_NE(message.find("list in file 8"), std::string::npos);
  }
  // Two lists, a list too short to matter, and a doc_string that says there is one.
  const std::string both = scanned(model_of(attribute(numbers + bytes(9, "text"))));
  EXPECT_GT(both.size(), numbers.size());
  EXPECT_EQ(both.find("list in file"), std::string::npos);
  const std::string lie = scanned(model_of(attribute(number(8, 5) + bytes(13, "\x01list in file 8 0 9"))));
  EXPECT_EQ(lie.find("list in file"), std::string::npos);
}

TEST(WireScan, DescribesBrokenLongLists) {
  std::string packed;
  for (uint64_t i = 0; i < 40000; ++i) packed += varint(i);
  EXPECT_NE(problem(model_of(attribute(bytes(8, packed + "\xff")))).find("ints[0]"), std::string::npos);
  EXPECT_NE(problem(model_of(attribute(bytes(7, std::string(70001, 'x'))))).find("floats[0]"), std::string::npos);
}

TEST(WireScan, NamesWhatIsNoModel) {
  EXPECT_EQ(problem(""), "empty file");
  EXPECT_EQ(problem("\x89PNG\r\n"), "not an ONNX protobuf (byte 0x0: field 1281, wire type 1)");
  EXPECT_EQ(problem("\x0f"), "not an ONNX protobuf (byte 0x0: field 1, wire type 7)");
}

TEST(WireScan, FollowsATruncatedFileToTheFieldWhereItEnds) {
  std::string file = model_of(bytes(5, tensor(std::string(100, 'x'))));
  EXPECT_EQ(problem(file.substr(0, 40)),
            "truncated (length 100, 25 bytes left) at byte 40 inside ModelProto.graph.initializer[0].raw_data");
  for (size_t size = 3; size < file.size(); ++size) EXPECT_NE(problem(file.substr(0, size)), "none") << size;
}

TEST(WireScan, ChecksLengthsBeforeAnythingElse) {
  EXPECT_EQ(problem(number(1, 8) + "\x3a" + varint(UINT64_C(1) << 31) + bytes(2, "g")),
            "truncated at byte 11 inside ModelProto.graph");
  // A tensor longer than the graph that holds it, though not than the file.
  std::string graph = "\x2a\x7f" + number(2, 1);
  EXPECT_EQ(problem(model_of(graph) + bytes(6, std::string(200, 'd'))),
            "length 127 exceeds the 2 bytes left at byte 6 inside ModelProto.graph.initializer[0]");
  EXPECT_NE(problem(number(1, 8) + std::string(12, '\xff')), "none");
}

TEST(WireScan, RefusesWhatProtobufWouldMerge) {
  std::string model = model_of(bytes(2, "g"));
  EXPECT_EQ(problem(model + model), "field 'ir_version' appears twice at byte 7 inside ModelProto");
  EXPECT_EQ(problem(bytes(7, "") + bytes(7, "")), "field 'graph' appears twice at byte 2 inside ModelProto");
  EXPECT_EQ(problem(model + std::string(3, '\0')), "trailing data at byte 7");
  EXPECT_EQ(problem(model + "garbage!"), "trailing data at byte 7");
  // dim_value and dim_param of one dimension
  std::string dimension = number(1, 3) + bytes(2, "N");
  std::string input = bytes(2, bytes(1, number(1, 1) + bytes(2, bytes(1, dimension))));
  EXPECT_EQ(
      problem(model_of(bytes(11, input))),
      "field 'dim_param' appears twice at byte 18 inside ModelProto.graph.input[0].type.tensor_type.shape.dim[0]");
}

TEST(WireScan, BoundsNesting) {
  std::string graph = bytes(2, "inner");
  for (int depth = 0; depth < 20; ++depth)
    graph = bytes(1, bytes(4, "If") + bytes(5, bytes(1, "then_branch") + bytes(6, graph)));
  EXPECT_EQ(problem(model_of(graph), 20), "none");
  EXPECT_EQ(problem(model_of(graph), 19).substr(0, 27), "nesting depth 20 exceeds 19");
}

TEST(WireScan, ChecksWireTypesAndText) {
  EXPECT_EQ(problem(number(1, 8) + bytes(5, "8")), "wire type 2, expected 0 at byte 2 inside ModelProto.model_version");
  EXPECT_EQ(problem(model_of(bytes(2, "a\xff"))),
            "text is not UTF-8 (byte 0xff) at byte 7 inside ModelProto.graph.name");
  EXPECT_EQ(problem(model_of(bytes(2, "naïve ∑"))), "none");
  EXPECT_EQ(problem(model_of(bytes(5, bytes(3, number(1, 0))))),
            "tensors in segments are not supported: at byte 6 inside ModelProto.graph.initializer[0].segment");
}

TEST(WireScan, OneTensorIsAFileToo) {
  std::string raw(5000, 'x'), file = tensor(raw), message = scan_tensor(std::as_bytes(std::span(file)));
  EXPECT_LT(message.size(), 50u);
  EXPECT_THROW(scan_tensor(std::as_bytes(std::span(file).first(3000))), Error);
  std::string twice = file + file;
  EXPECT_THROW(scan_tensor(std::as_bytes(std::span(twice))), Error);
}

}  // namespace
}  // namespace lapidary::frontend
