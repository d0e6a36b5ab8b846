// Private to the infer_*.cpp files: what an inference rule sees, and the rules by family. A rule gives the result's
// type or throws Error{Fault::Input}; infer_types.cpp says which rule is whose.
#pragma once

#include "ir/error.h"
#include "ir/graph_builder.h"
#include "ir/shape_rules.h"

namespace lapidary {

struct Inference {
  Module& module;
  OpKind kind;
  std::span<Value* const> operands;
  const Params& params;
  std::span<const std::unique_ptr<Region>> regions;

  DimPool& dims() const { return module.dims; }
  const Type& type(int i) const { return operands[i]->type; }
  const Shape& shape(int i) const { return type(i).shape; }
  Dim constant(int64_t value) const { return module.dims.constant(value); }

  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> text, Args&&... args) const {
    throw Error(Fault::Input, fmt::format(text, std::forward<Args>(args)...));
  }
  void require_same_dtype(int a, int b) const;
  DType product_dtype() const;  // of sums of products of operands 0 and 1, whose types must go together
  void require_length(std::string_view what, size_t found, size_t expected) const;
  int64_t axis(int64_t value, int rank) const;                          // in [0, rank) or fails
  void require_axes(const std::vector<int64_t>& axes, int rank) const;  // increasing, each in [0, rank)
};

// infer_shape_ops.cpp
Type infer_dims_tensor(const Inference&);
Type infer_iota(const Inference&);
Type infer_broadcast(const Inference&);
Type infer_reshape(const Inference&);
Type infer_transpose(const Inference&);
Type infer_slice(const Inference&);
Type infer_concat(const Inference&);
Type infer_pad(const Inference&);
Type infer_gather(const Inference&);
Type infer_gather_elements(const Inference&);
Type infer_bit_cast(const Inference&);
// infer_index_ops.cpp
Type infer_scatter(const Inference&);
Type infer_scan(const Inference&);
std::vector<Type> infer_top_k(const Inference&);
// infer_math_ops.cpp
Type infer_scalar_op(const Inference&);
Type infer_convert(const Inference&);
Type infer_reduce(const Inference&);
Type infer_contract(const Inference&);
// infer_window_ops.cpp
Type infer_conv(const Inference&);
Type infer_conv_transpose(const Inference&);
Type infer_conv_filter_gradient(const Inference&);
Type infer_pool(const Inference&);
Type infer_max_pool_tap(const Inference&);
Type infer_max_pool_gradient(const Inference&);

// The elements of the result of an op, when they follow from those of its operands; `type` is the result's.
std::optional<std::vector<Dim>> elements_of(Module&, OpKind, std::span<Value* const> operands, const Params&,
                                            const Type& type);
constexpr int64_t kMaxElements = 64;
bool carries_elements(const Type&);  // an i64, i32 or bool tensor of at most kMaxElements

}  // namespace lapidary
