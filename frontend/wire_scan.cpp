#include "frontend/wire_scan.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "frontend/attribute_list.h"
#include "ir/error.h"

namespace lapidary::frontend {
namespace {

// --- the messages of onnx.proto, as far as the scan must know them -------------------------------------------------

enum Wire : uint8_t { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };
// Name: a string that must be UTF-8. Message: descended into. The scalar types may be packed when repeated.
enum class Form : uint8_t { Int, Float, Double, Raw, Name, Message };
enum class MessageKind : uint8_t {
  Model,
  Graph,
  Node,
  Attribute,
  Tensor,
  Segment,
  Sparse,
  Function,
  Training,
  ValueInfo,
  Type,
  TensorType,
  NestedType,
  Shape,
  Dimension,
  OperatorSet,
  Entry,
  Annotation,
  Opaque,
  None,
};

struct Field {
  uint8_t number;
  const char* name;
  Form form;
  bool repeated = false;
  MessageKind message = MessageKind::None;
  uint8_t oneof = 0;  // the number of the first field of its oneof, or its own
};

struct MessageInfo {
  const char* name;
  bool rewritten;  // may hold tensors: copied field by field; all else is copied whole
  bool nests;      // counts for the nesting limit
  std::span<const Field> fields;
};

constexpr uint64_t kFirstList = 7, kLastList = 9, kDocString = 13;  // of an attribute

constexpr bool kRepeated = true, kSingle = false;
using enum Form;
using K = MessageKind;
constexpr Field kModel[] = {{1, "ir_version", Int},
                            {2, "producer_name", Raw},
                            {3, "producer_version", Raw},
                            {4, "domain", Name},
                            {5, "model_version", Int},
                            {6, "doc_string", Raw},
                            {7, "graph", Message, kSingle, K::Graph},
                            {8, "opset_import", Message, kRepeated, K::OperatorSet},
                            {14, "metadata_props", Raw, kRepeated},
                            {20, "training_info", Message, kRepeated, K::Training},
                            {25, "functions", Message, kRepeated, K::Function},
                            {26, "configuration", Raw, kRepeated}};
constexpr Field kGraph[] = {{1, "node", Message, kRepeated, K::Node},
                            {2, "name", Name},
                            {5, "initializer", Message, kRepeated, K::Tensor},
                            {10, "doc_string", Raw},
                            {11, "input", Message, kRepeated, K::ValueInfo},
                            {12, "output", Message, kRepeated, K::ValueInfo},
                            {13, "value_info", Message, kRepeated, K::ValueInfo},
                            {14, "quantization_annotation", Message, kRepeated, K::Annotation},
                            {15, "sparse_initializer", Message, kRepeated, K::Sparse},
                            {16, "metadata_props", Raw, kRepeated}};
constexpr Field kNode[] = {{1, "input", Name, kRepeated},
                           {2, "output", Name, kRepeated},
                           {3, "name", Name},
                           {4, "op_type", Name},
                           {5, "attribute", Message, kRepeated, K::Attribute},
                           {6, "doc_string", Raw},
                           {7, "domain", Name},
                           {8, "overload", Name},
                           {9, "metadata_props", Raw, kRepeated},
                           {10, "device_configurations", Raw, kRepeated}};
constexpr Field kAttribute[] = {{1, "name", Name},
                                {2, "f", Float},
                                {3, "i", Int},
                                {4, "s", Raw},
                                {5, "t", Message, kSingle, K::Tensor},
                                {6, "g", Message, kSingle, K::Graph},
                                {7, "floats", Float, kRepeated},
                                {8, "ints", Int, kRepeated},
                                {9, "strings", Raw, kRepeated},
                                {10, "tensors", Message, kRepeated, K::Tensor},
                                {11, "graphs", Message, kRepeated, K::Graph},
                                {13, "doc_string", Raw},
                                {14, "tp", Message, kSingle, K::Type},
                                {15, "type_protos", Message, kRepeated, K::Type},
                                {20, "type", Int},
                                {21, "ref_attr_name", Name},
                                {22, "sparse_tensor", Message, kSingle, K::Sparse},
                                {23, "sparse_tensors", Message, kRepeated, K::Sparse}};
constexpr Field kTensor[] = {{1, "dims", Int, kRepeated},
                             {2, "data_type", Int},
                             {3, "segment", Message, kSingle, K::Segment},
                             {4, "float_data", Float, kRepeated},
                             {5, "int32_data", Int, kRepeated},
                             {6, "string_data", Raw, kRepeated},
                             {7, "int64_data", Int, kRepeated},
                             {8, "name", Name},
                             {9, "raw_data", Raw},
                             {10, "double_data", Double, kRepeated},
                             {11, "uint64_data", Int, kRepeated},
                             {12, "doc_string", Raw},
                             {13, "external_data", Message, kRepeated, K::Entry},
                             {14, "data_location", Int},
                             {16, "metadata_props", Raw, kRepeated}};
constexpr Field kSegment[] = {{1, "begin", Int}, {2, "end", Int}};
constexpr Field kSparse[] = {{1, "values", Message, kSingle, K::Tensor},
                             {2, "indices", Message, kSingle, K::Tensor},
                             {3, "dims", Int, kRepeated}};
constexpr Field kFunction[] = {{1, "name", Name},
                               {4, "input", Name, kRepeated},
                               {5, "output", Name, kRepeated},
                               {6, "attribute", Name, kRepeated},
                               {7, "node", Message, kRepeated, K::Node},
                               {8, "doc_string", Raw},
                               {9, "opset_import", Message, kRepeated, K::OperatorSet},
                               {10, "domain", Name},
                               {11, "attribute_proto", Message, kRepeated, K::Attribute},
                               {12, "value_info", Message, kRepeated, K::ValueInfo},
                               {13, "overload", Name},
                               {14, "metadata_props", Raw, kRepeated}};
constexpr Field kTraining[] = {{1, "initialization", Message, kSingle, K::Graph},
                               {2, "algorithm", Message, kSingle, K::Graph},
                               {3, "initialization_binding", Message, kRepeated, K::Entry},
                               {4, "update_binding", Message, kRepeated, K::Entry}};
constexpr Field kValueInfo[] = {{1, "name", Name},
                                {2, "type", Message, kSingle, K::Type},
                                {3, "doc_string", Raw},
                                {4, "metadata_props", Raw, kRepeated}};
constexpr Field kType[] = {{1, "tensor_type", Message, kSingle, K::TensorType, 1},
                           {4, "sequence_type", Message, kSingle, K::NestedType, 1},
                           {5, "map_type", Raw, kSingle, K::None, 1},
                           {6, "denotation", Raw},
                           {7, "opaque_type", Message, kSingle, K::Opaque, 1},
                           {8, "sparse_tensor_type", Message, kSingle, K::TensorType, 1},
                           {9, "optional_type", Message, kSingle, K::NestedType, 1}};
constexpr Field kTensorType[] = {{1, "elem_type", Int}, {2, "shape", Message, kSingle, K::Shape}};
constexpr Field kNestedType[] = {{1, "elem_type", Message, kSingle, K::Type}};
constexpr Field kShape[] = {{1, "dim", Message, kRepeated, K::Dimension}};
constexpr Field kDimension[] = {
    {1, "dim_value", Int, kSingle, K::None, 1}, {2, "dim_param", Name, kSingle, K::None, 1}, {3, "denotation", Raw}};
constexpr Field kOperatorSet[] = {{1, "domain", Name}, {2, "version", Int}};
constexpr Field kEntry[] = {{1, "key", Name}, {2, "value", Name}};
constexpr Field kAnnotation[] = {{1, "tensor_name", Name},
                                 {2, "quant_parameter_tensor_names", Message, kRepeated, K::Entry}};
constexpr Field kOpaque[] = {{1, "domain", Name}, {2, "name", Name}};

constexpr MessageInfo kMessages[] = {  // in the order of MessageKind
    {"ModelProto", true, false, kModel},
    {"GraphProto", true, true, kGraph},
    {"NodeProto", true, false, kNode},
    {"AttributeProto", true, false, kAttribute},
    {"TensorProto", true, false, kTensor},
    {"Segment", false, false, kSegment},
    {"SparseTensorProto", true, false, kSparse},
    {"FunctionProto", true, false, kFunction},
    {"TrainingInfoProto", true, false, kTraining},
    {"ValueInfoProto", false, false, kValueInfo},
    {"TypeProto", false, true, kType},
    {"Tensor", false, false, kTensorType},
    {"Sequence", false, false, kNestedType},
    {"TensorShapeProto", false, false, kShape},
    {"Dimension", false, false, kDimension},
    {"OperatorSetIdProto", false, false, kOperatorSet},
    {"StringStringEntryProto", false, false, kEntry},
    {"TensorAnnotation", false, false, kAnnotation},
    {"Opaque", false, false, kOpaque}};

const MessageInfo& info_of(MessageKind kind) { return kMessages[static_cast<int>(kind)]; }

const Field* find_field(const MessageInfo& message, uint64_t number) {
  for (const Field& field : message.fields) {
    if (field.number == number) return &field;
  }
  return nullptr;
}

Wire wire_of(Form form) {
  switch (form) {
    case Int:
      return Varint;
    case Float:
      return Fixed32;
    case Double:
      return Fixed64;
    case Raw:
    case Name:
    case Message:
      return Bytes;
  }
  LPD_UNREACHABLE();
}

// Repeated numbers may be packed.
bool fits(const Field& field, Wire wire) { return wire == wire_of(field.form) || (wire == Bytes && field.repeated); }

// Offset of the first byte that is not UTF-8 (RFC 3629), or npos.
size_t first_bad_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    auto byte = [&](size_t k) { return static_cast<uint8_t>(text[k]); };
    int more = byte(i) < 0x80                      ? 0
               : byte(i) >= 0xC2 && byte(i) < 0xE0 ? 1
               : (byte(i) & 0xF0) == 0xE0          ? 2
               : byte(i) >= 0xF0 && byte(i) < 0xF5 ? 3
                                                   : -1;
    if (more < 0 || i + more >= text.size()) return i;
    for (int k = 1; k <= more; ++k) {
      if ((byte(i + k) & 0xC0) != 0x80) return i;
    }
    if (more == 2 && ((byte(i) == 0xE0 && byte(i + 1) < 0xA0) || (byte(i) == 0xED && byte(i + 1) >= 0xA0))) return i;
    if (more == 3 && ((byte(i) == 0xF0 && byte(i + 1) < 0x90) || (byte(i) == 0xF4 && byte(i + 1) >= 0x90))) return i;
    i += more + 1;
  }
  return std::string_view::npos;
}

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

// --- the walk --------------------------------------------------------------------------------------------------------

class Scanner {
 public:
  Scanner(std::span<const std::byte> file, int max_nesting)
      : data_(reinterpret_cast<const char*>(file.data())), size_(file.size()), max_nesting_(max_nesting) {}

  std::string run(MessageKind root) {
    if (size_ == 0) throw Error(Fault::Input, "empty file");
    root_ = root;
    message(root, 0, size_, 0);
    return std::move(out_);
  }

 private:
  struct Step {
    const char* name;
    int index;  // -1: not repeated
  };

  [[noreturn]] void fail(size_t at, const std::string& what) const {
    throw Error(Fault::Input, fmt::format("{} at byte {} inside {}", what, at, path()));
  }

  std::string path() const {
    constexpr size_t kShown = 8;  // of a deep path its ends
    std::string text = info_of(root_).name;
    for (size_t i = 0; i < path_.size(); ++i) {
      const Step& step = path_[i];
      bool hidden = i >= kShown && i + kShown < path_.size();
      if (hidden && i == kShown) text += "...";
      if (hidden) continue;
      text += fmt::format(".{}", step.name);
      if (step.index >= 0) text += fmt::format("[{}]", step.index);
    }
    return text;
  }

  uint64_t varint(size_t& at, size_t end) const {
    uint64_t value = 0;
    size_t start = at;
    for (int shift = 0; shift < 70; shift += 7) {
      if (at == end) fail(end, "truncated");
      uint8_t byte = static_cast<uint8_t>(data_[at++]);
      if (shift == 63 && byte > 1) break;
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail(start, "varint longer than 64 bits");
  }

  // The end of `length` bytes from `at` on. A file cut short is followed down to the field where it ends, so that the
  // message names that one.
  size_t end_of(size_t at, uint64_t length, size_t end, bool descends) const {
    if (length <= end - at) return at + length;
    if (end != size_) fail(at, fmt::format("length {} exceeds the {} bytes left", length, end - at));
    if (descends) return end;
    fail(end, fmt::format("truncated (length {}, {} bytes left)", length, end - at));
  }

  void message(MessageKind kind, size_t at, size_t end, int depth);
  void field_body(const MessageInfo&, const Field&, Wire, size_t field_start, size_t& at, size_t end, int depth);
  void submessage(const Field&, size_t tag_start, size_t tag_end, size_t begin, size_t end, int depth);
  void unknown_body(Wire, size_t& at, size_t end) const;
  std::optional<ListInFile> long_list(const Field&, size_t begin, size_t end) const;
  void copy(size_t begin, size_t end) { out_.append(data_ + begin, end - begin); }

  const char* data_;
  size_t size_;
  int max_nesting_;
  MessageKind root_ = MessageKind::Model;
  std::vector<Step> path_;
  std::string out_;
  bool verbatim_ = false;               // inside a message that the caller copies whole
  std::optional<ListInFile> left_out_;  // of the attribute at hand: what stays in the file
};

void Scanner::message(MessageKind kind, size_t at, size_t end, int depth) {
  const MessageInfo& info = info_of(kind);
  if (info.nests && ++depth > max_nesting_ + 1)
    fail(at, fmt::format("nesting depth {} exceeds {}", depth - 1, max_nesting_));
  std::array<int, 32> count{};
  while (at < end) {
    if (left_out_ && at == left_out_->begin) {
      at = left_out_->end;
      continue;
    }
    size_t start = at;
    uint64_t tag = varint(at, end);
    uint64_t number = tag >> 3;
    int wire = static_cast<int>(tag & 7);
    bool bad_wire =
        number == 0 || number >= (1u << 29) || (wire != Varint && wire != Fixed64 && wire != Bytes && wire != Fixed32);
    const Field* field = find_field(info, number);
    if (kind == root_ && path_.empty() && (bad_wire || !field || !fits(*field, static_cast<Wire>(wire)))) {
      bool is_model = kind == MessageKind::Model, whole = count[is_model ? 7 : 9] > 0;
      if (whole) throw Error(Fault::Input, fmt::format("trailing data at byte {}", start));
      if (start == 0)
        throw Error(Fault::Input, fmt::format("not an ONNX {} (byte 0x0: field {}, wire type {})",
                                              is_model ? "protobuf" : "tensor", number, wire));
    }
    if (bad_wire) fail(start, fmt::format("bad tag (field {}, wire type {})", number, wire));
    if (!field) {
      unknown_body(static_cast<Wire>(wire), at, end);
      if (info.rewritten && !verbatim_) copy(start, at);
      continue;
    }
    int slot = field->oneof ? field->oneof : field->number;
    if (!field->repeated && count[slot] > 0) fail(start, fmt::format("field '{}' appears twice", field->name));
    path_.push_back({field->name, field->repeated ? count[slot] : -1});
    ++count[slot];
    field_body(info, *field, static_cast<Wire>(wire), start, at, end, depth);
    path_.pop_back();
  }
}

void Scanner::unknown_body(Wire wire, size_t& at, size_t end) const {
  if (wire == Varint) {
    varint(at, end);
    return;
  }
  uint64_t length = wire == Fixed64 ? 8 : wire == Fixed32 ? 4 : varint(at, end);
  at = end_of(at, length, end, false);
}

void Scanner::field_body(const MessageInfo& message, const Field& field, Wire wire, size_t start, size_t& at,
                         size_t end, int depth) {
  bool packed = wire == Bytes && wire_of(field.form) != Bytes;
  if (!fits(field, wire))
    fail(start,
         fmt::format("wire type {}, expected {}", static_cast<int>(wire), static_cast<int>(wire_of(field.form))));
  size_t tag_end = at;
  bool dropped = message.fields.data() == kAttribute && field.number == kDocString;
  bool copies = message.rewritten && !verbatim_ && !dropped;
  if (wire != Bytes) {
    unknown_body(wire, at, end);
    if (copies) copy(start, at);
    return;
  }
  uint64_t length = varint(at, end);
  size_t begin = at;
  at = end_of(begin, length, end, field.form == Message);
  if (field.form == Message) {
    bool whole = length == at - begin;
    submessage(field, start, tag_end, begin, at, depth);
    if (!whole) fail(at, "truncated");
    return;
  }
  if (packed && field.form == Int) {
    for (size_t p = begin; p < at;) varint(p, at);
  } else if (packed && length % (field.form == Float ? 4 : 8) != 0) {
    fail(begin, fmt::format("packed length {} is not a whole number of elements", length));
  } else if (field.form == Name) {
    size_t bad = first_bad_utf8({data_ + begin, length});
    if (bad != std::string_view::npos)
      fail(begin + bad, fmt::format("text is not UTF-8 (byte 0x{:02x})", static_cast<uint8_t>(data_[begin + bad])));
  }
  if (!copies) return;
  bool payload = message.fields.data() == kTensor && field.number == 9 && length > kSmallPayload;
  if (!payload) return copy(start, at);
  std::string segment{"\x08"};
  append_varint(segment, begin);
  segment.push_back('\x10');
  append_varint(segment, at);
  out_.push_back('\x1a');  // field 3, length-delimited
  append_varint(out_, segment.size());
  out_ += segment;
}

// The one list of numbers or texts that a long attribute consists of but for a few short fields. Nothing when there is
// more than one, or a broken one, which the walk then describes.
std::optional<ListInFile> Scanner::long_list(const Field& field, size_t begin, size_t end) const {
  if (field.message != MessageKind::Attribute || verbatim_ || end - begin < kLongAttribute) return std::nullopt;
  ListInFile list{};
  try {
    for (size_t at = begin; at < end;) {
      const size_t start = at;
      const uint64_t tag = varint(at, end), number = tag >> 3;
      const auto wire = static_cast<Wire>(tag & 7);
      if (number < kFirstList || number > kLastList) {
        const bool short_text = number == 1 || number == kDocString || number == 21;
        if (wire != Varint && wire != Fixed32 && !(wire == Bytes && short_text)) return std::nullopt;
        unknown_body(wire, at, end);
        continue;
      }
      if (list.field == 0) list = {static_cast<int>(number), start, start};
      const Field& of_list = *find_field(info_of(MessageKind::Attribute), number);
      if (list.field != of_list.number || list.end != start || !fits(of_list, wire)) return std::nullopt;
      size_t element = at;
      unknown_body(wire, at, end);
      list.end = at;
      if (wire != Bytes || of_list.form == Raw) continue;
      varint(element, at);
      if (of_list.form == Float && (at - element) % 4 != 0) return std::nullopt;
      while (of_list.form == Int && element < at) varint(element, at);
    }
  } catch (const Error&) { return std::nullopt; }
  return list.field ? std::optional(list) : std::nullopt;
}

// A message that may hold tensors is written field by field; its length is known only afterwards and may have
// changed, so five bytes are kept for it (protobuf reads lengths that are longer than they need be).
void Scanner::submessage(const Field& field, size_t start, size_t tag_end, size_t begin, size_t end, int depth) {
  if (field.message == MessageKind::Segment) fail(start, "tensors in segments are not supported:");
  bool outer_verbatim = verbatim_;
  bool rewrite = info_of(field.message).rewritten && !verbatim_;
  size_t length_at = 0;
  if (rewrite) {
    copy(start, tag_end);
    length_at = out_.size();
    out_.append(5, '\0');
  } else {
    if (!verbatim_) copy(start, end);
    verbatim_ = true;
  }
  const std::optional<ListInFile> outer_left_out = left_out_;
  left_out_ = long_list(field, begin, end);
  message(field.message, begin, end, depth);
  if (left_out_) {
    const std::string mark = mark_of(*left_out_);
    append_varint(out_, kDocString << 3 | Bytes);
    append_varint(out_, mark.size());
    out_ += mark;
  }
  left_out_ = outer_left_out;
  verbatim_ = outer_verbatim;
  if (!rewrite) return;
  uint64_t length = out_.size() - length_at - 5;
  if (length >= INT32_MAX) fail(begin, fmt::format("message of {} bytes beside raw_data, limit 2 GiB", length));
  for (int i = 0; i < 5; ++i)
    out_[length_at + i] = static_cast<char>(((length >> (7 * i)) & 0x7F) | (i < 4 ? 0x80 : 0));
}

}  // namespace

std::string scan_model(std::span<const std::byte> file, int max_nesting) {
  return Scanner(file, max_nesting).run(MessageKind::Model);
}
std::string scan_tensor(std::span<const std::byte> file) { return Scanner(file, 0).run(MessageKind::Tensor); }

}  // namespace lapidary::frontend
