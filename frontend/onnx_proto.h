// The one place where frontend/ meets protobuf and ONNX's own library: messages and operator schemas.
#pragma once

#include <onnx/defs/schema.h>
#include <onnx/onnx_pb.h>

namespace lapidary::frontend {

using onnx::AttributeProto;
using onnx::FunctionProto;
using onnx::GraphProto;
using onnx::ModelProto;
using onnx::NodeProto;
using onnx::OpSchema;
using onnx::TensorProto;

}  // namespace lapidary::frontend
