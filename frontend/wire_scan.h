// A walk over the protobuf wire format of a model before protobuf sees it. protobuf alone costs twice the file in
// memory (2 s for 650 MB), merges two models concatenated into one, and stops at its first problem without saying
// where. The scan checks lengths, wire types, nesting, duplicates of singular fields and UTF-8 of names, each problem
// reported with its byte offset and the path of the field; and it leaves every raw_data over kSmallPayload bytes
// where it is, so that the message handed to protobuf is a few hundred kilobytes.
//
// Such a tensor gets a `segment {begin, end}` in place of its raw_data: the bytes [begin, end) of the file. ONNX's own
// use of that field was never implemented by anybody; a model that has one is refused here, so there is no confusion.
// Long lists of attributes stay in the file too (attribute_list.h); the doc_strings of attributes, which say where, are
// dropped.
//
// Cost: 1 ms for the 2,000 nodes and 652 MB of gpt2 (the weights are not touched). Test:
// test/frontend/wire_scan_test.cpp.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace lapidary::frontend {

constexpr size_t kSmallPayload = 1024;

// The ModelProto without its large payloads. Throws Error{Fault::Input}; `max_nesting` bounds graphs within graphs.
std::string scan_model(std::span<const std::byte> file, int max_nesting);
// The same for a file that is one TensorProto.
std::string scan_tensor(std::span<const std::byte> file);

}  // namespace lapidary::frontend
