// TensorProto → constant. Large raw data stays in the mapped file it came from, the model's own or one of external
// data; everything else is small and copied. What is checked: element type, dims, counts and lengths, one source of
// data, and where external data may lie.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "frontend/mapped_file.h"
#include "frontend/onnx_proto.h"
#include "ir/constant.h"

namespace lapidary::frontend {

std::optional<DType> dtype_of(int64_t data_type);  // nothing for 0 and numbers ONNX does not have

// Number of elements; throws Error{Fault::Input} on negative dims, too many dims or overflow.
int64_t checked_elements(const google::protobuf::RepeatedField<int64_t>& dims);

constexpr int kMaxRank = 64;

// Tensors stored in files beside the model, each file mapped once. A model without a folder may not have any.
class ExternalData {
 public:
  explicit ExternalData(std::string folder) : folder_(std::move(folder)) {}
  ByteSource read(const TensorProto&, int64_t expected_bytes);

 private:
  std::string folder_;
  std::map<std::string, std::shared_ptr<const MappedFile>> files_;  // by location
};

class TensorReader {
 public:
  // `file` is the model's bytes, to which the segments left by the wire scan refer; `folder` is where external data
  // may lie.
  TensorReader(ByteSource file, std::string folder) : file_(std::move(file)), external_(std::move(folder)) {}

  // Throws Error whose message lacks the tensor's name.
  ConstantId read(const TensorProto&, ConstantTable&);
  ConstantId read_sparse(const onnx::SparseTensorProto&, ConstantTable&);

  std::span<const std::byte> file() const { return file_.bytes; }

 private:
  ByteSource bytes_of(const TensorProto&, DType, int64_t elements);

  ByteSource file_;
  ExternalData external_;
};

}  // namespace lapidary::frontend
