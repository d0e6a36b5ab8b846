// The numbers of one run of a program: symbols read off the extents of its inputs, every formula evaluated.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "ir/error.h"
#include "ir/interpreter.h"
#include "ir/program.h"

namespace lapidary {

class RunValues {
 public:
  RunValues(const EntryPoint& entry, std::span<const Tensor> inputs) {
    for (size_t i = 0; i < inputs.size(); ++i)
      for (size_t axis = 0; axis < inputs[i].shape.size(); ++axis)
        if (Dim dim = entry.inputs.at(i).shape.at(axis); dim->kind == DimKind::Symbol)
          leaves_[dim] = inputs[i].shape[axis];
  }

  void set(Dim element, int64_t value) { leaves_[element] = value; }
  bool knows(Dim dim) const { return evaluated(dim).has_value(); }

  int64_t operator()(Dim dim) const {
    const auto result = evaluated(dim);
    LPD_CHECK(result.has_value(), "{} has no value", to_string(dim));
    return *result;
  }
  int64_t or_zero(Dim dim) const { return dim ? (*this)(dim) : 0; }

  std::vector<int64_t> shape(const Shape& dims) const {
    std::vector<int64_t> extents;
    for (Dim dim : dims) extents.push_back((*this)(dim));
    return extents;
  }
  int64_t bytes(const TensorInfo& tensor) const {
    int64_t elements = 1;
    for (Dim dim : tensor.shape) elements *= (*this)(dim);
    return *byte_size(tensor.dtype, elements);
  }

  // The variant that runs, as the runtime picks it: null when there is nothing to do for these shapes.
  const Variant* chosen(const Step& step) const {
    for (const Variant& variant : step.variants)
      if (!variant.when || (*this)(variant.when)) return &variant;
    return nullptr;
  }

  // Bytes of each of a variant's Stage buffers, in order: up to where the next one begins.
  std::vector<int64_t> stage_sizes(const Variant& variant) const {
    std::vector<int64_t> begins, sizes;
    for (Dim offset : variant.stage_offsets) begins.push_back((*this)(offset));
    for (int64_t begin : begins) {
      int64_t end = or_zero(variant.stage_bytes);
      for (int64_t other : begins)
        if (other > begin) end = std::min(end, other);
      sizes.push_back(end - begin);
    }
    return sizes;
  }

 private:
  std::optional<int64_t> evaluated(Dim dim) const {
    return evaluate(dim, [&](Dim leaf) -> std::optional<int64_t> {
      const auto found = leaves_.find(leaf);
      return found == leaves_.end() ? std::nullopt : std::optional(found->second);
    });
  }

  std::map<Dim, int64_t> leaves_;  // symbols and elements
};

}  // namespace lapidary
