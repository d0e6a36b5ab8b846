#include "ir/constant_view.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <type_traits>

#include "ir/error.h"

namespace lapidary {
namespace {

using Axes = std::vector<View::Axis>;
constexpr int64_t kPanel = 16;  // the usual block of packed forms

// The old axes [first, last) as one axis: its stride when they lie evenly, nothing otherwise.
std::optional<int64_t> stride_of_run(const Axes& axes, size_t first, size_t last) {
  int64_t inner = 1, stride = 1;
  for (size_t i = last; i-- > first;) {
    if (axes[i].extent == 1) continue;
    if (inner == 1)
      stride = axes[i].stride;
    else if (axes[i].stride != stride * inner)
      return std::nullopt;
    inner *= axes[i].extent;
  }
  return stride;
}

// New axes of `shape` over the old ones: the shortest runs of old and new axes of equal size are matched.
std::optional<Axes> reshaped(const Axes& axes, const std::vector<int64_t>& shape) {
  Axes result;
  size_t from = 0, to = 0;
  while (to < shape.size() || from < axes.size()) {
    size_t first_from = from, first_to = to;
    int64_t old_size = from < axes.size() ? axes[from++].extent : 1;
    int64_t new_size = to < shape.size() ? shape[to++] : 1;
    while (old_size != new_size) {
      if (old_size < new_size && from < axes.size())
        old_size *= axes[from++].extent;
      else if (new_size < old_size && to < shape.size())
        new_size *= shape[to++];
      else
        return std::nullopt;
    }
    std::optional<int64_t> stride = stride_of_run(axes, first_from, from);
    if (!stride) return std::nullopt;
    result.resize(to);
    for (size_t i = to; i-- > first_to;) {
      result[i] = {shape[i], *stride};
      *stride *= shape[i];
    }
  }
  return result;
}

// Walks a view in the order of its result. `at_` holds Σ index · weight of each bound, then of each scale.
template <typename T>
class Copy {
 public:
  Copy(const View& view, std::byte* out) : view_(view), to_(reinterpret_cast<T*>(out)) {
    for (const View::Bound& bound : view.bounds) weights_.push_back(&bound.weights);
    for (const View::Scale& scale : view.scales) weights_.push_back(&scale.weights);
    at_.resize(weights_.size());
  }

  void rows(int64_t begin, int64_t end) { walk(0, view_.data, begin, end); }

 private:
  void move(size_t axis, int64_t steps) {
    for (size_t w = 0; w < weights_.size(); w++) at_[w] += (*weights_[w])[axis] * steps;
  }

  // Of a constant without elements there is no byte to begin at.
  static const std::byte* moved(const std::byte* from, int64_t bytes) { return from ? from + bytes : nullptr; }

  void walk(size_t axis, const std::byte* from, int64_t begin, int64_t end) {
    int64_t stride = view_.axes[axis].stride * static_cast<int64_t>(sizeof(T));
    move(axis, begin);
    if (axis + 1 == view_.axes.size()) {
      run(axis, moved(from, begin * stride), stride, end - begin);
    } else {
      for (int64_t i = begin; i < end; i++, move(axis, 1))
        walk(axis + 1, moved(from, i * stride), 0, view_.axes[axis + 1].extent);
      move(axis, -(end - begin));
    }
    move(axis, -begin);
  }

  // The bounds leave a prefix of the innermost axis.
  int64_t valid_of(size_t axis, int64_t count) const {
    for (size_t b = 0; b < view_.bounds.size(); b++) {
      int64_t weight = view_.bounds[b].weights[axis], left = view_.bounds[b].limit - at_[b];
      if (left <= 0)
        count = 0;
      else if (weight > 0)
        count = std::min(count, (left + weight - 1) / weight);
    }
    return count;
  }

  // `count` is a number, or one known at compile time for the runs of packed forms.
  template <typename Count>
  void copy_run(const std::byte* from, int64_t stride, Count count) {
    if (stride == static_cast<int64_t>(sizeof(T)))
      std::memcpy(to_, from, static_cast<size_t>(count) * sizeof(T));
    else
      for (int64_t i = 0; i < count; i++) std::memcpy(to_ + i, from + i * stride, sizeof(T));
  }

  void run(size_t axis, const std::byte* from, int64_t stride, int64_t count) {
    int64_t valid = valid_of(axis, count);
    if (valid == kPanel)
      copy_run(from, stride, std::integral_constant<int64_t, kPanel>());
    else if (valid > 0)
      copy_run(from, stride, valid);
    std::fill(to_ + valid, to_ + count, T{});
    for (size_t s = 0; s < view_.scales.size(); s++) scale(view_.scales[s], at_[view_.bounds.size() + s], axis, valid);
    to_ += count;
  }

  void scale(const View::Scale& scale, int64_t at, size_t axis, int64_t count) {
    if constexpr (std::is_same_v<T, float>) {
      const float* factors = scale.factors.data() + at;
      int64_t weight = scale.weights[axis];
      if (count == 0) return;
      if (weight == 0) {
        float factor = *factors;
        for (int64_t i = 0; i < count; i++) to_[i] *= factor;
      } else {
        for (int64_t i = 0; i < count; i++) to_[i] *= factors[i * weight];
      }
    } else {
      LPD_UNREACHABLE("only f32 is scaled in a view");
    }
  }

  const View& view_;
  T* to_;
  std::vector<const std::vector<int64_t>*> weights_;
  std::vector<int64_t> at_;
};

template <typename T>
std::vector<T> permuted(const std::vector<T>& old, const std::vector<int64_t>& order) {
  std::vector<T> result;
  for (int64_t axis : order) result.push_back(old[static_cast<size_t>(axis)]);
  return result;
}

void split_weights(std::vector<int64_t>& weights, size_t axis, int64_t block) {
  weights.push_back(weights[axis]);
  weights[axis] *= block;
}

}  // namespace

View View::dense(const std::byte* data, int width, const std::vector<int64_t>& shape) {
  View view;
  view.data = data;
  view.width = width;
  view.axes.resize(shape.size());
  int64_t stride = 1;
  for (size_t axis = shape.size(); axis-- > 0; stride *= shape[axis]) view.axes[axis] = {shape[axis], stride};
  return view;
}

std::vector<int64_t> View::shape() const {
  std::vector<int64_t> shape;
  for (const Axis& axis : axes) shape.push_back(axis.extent);
  return shape;
}

int64_t View::elements() const {
  int64_t count = 1;
  for (const Axis& axis : axes) count *= axis.extent;
  return count;
}

void View::transpose(const std::vector<int64_t>& order) {
  axes = permuted(axes, order);
  for (Bound& bound : bounds) bound.weights = permuted(bound.weights, order);
  for (Scale& scale : scales) scale.weights = permuted(scale.weights, order);
}

void View::pad(const std::vector<int64_t>& shape) {
  for (size_t axis = 0; axis < shape.size(); axis++) {
    if (shape[axis] == axes[axis].extent) continue;
    Bound bound{std::vector<int64_t>(shape.size(), 0), axes[axis].extent};
    bound.weights[axis] = 1;
    bounds.push_back(std::move(bound));
    axes[axis].extent = shape[axis];
  }
}

void View::scale(size_t axis, std::vector<float> factors) {
  factors.resize(static_cast<size_t>(axes[axis].extent));  // padding has no factors, and needs none
  Scale scale{std::vector<int64_t>(axes.size(), 0), std::move(factors)};
  scale.weights[axis] = 1;
  scales.push_back(std::move(scale));
}

void View::split(size_t axis, int64_t block) {
  Axis old = axes[axis];
  axes[axis] = {(old.extent + block - 1) / block, old.stride * block};
  axes.push_back({block, old.stride});
  for (Bound& bound : bounds) split_weights(bound.weights, axis, block);
  for (Scale& scale : scales) split_weights(scale.weights, axis, block);
  if (old.extent % block == 0) return;
  Bound bound{std::vector<int64_t>(axes.size(), 0), old.extent};
  bound.weights[axis] = block;
  bound.weights.back() = 1;
  bounds.push_back(std::move(bound));
}

bool View::reshape(const std::vector<int64_t>& shape) {
  if (elements() == 0) {
    *this = dense(data, width, shape);
    return true;
  }
  if (!bounds.empty() || !scales.empty()) return false;
  std::optional<Axes> result = reshaped(axes, shape);
  if (result) axes = std::move(*result);
  return result.has_value();
}

void View::copy_rows(std::byte* out, int64_t begin, int64_t end) const {
  if (elements() == 0 || begin >= end) return;
  out += elements() / axes[0].extent * begin * width;
  if (!scales.empty()) return Copy<float>(*this, out).rows(begin, end);
  switch (width) {
    case 1:
      return Copy<uint8_t>(*this, out).rows(begin, end);
    case 2:
      return Copy<uint16_t>(*this, out).rows(begin, end);
    case 4:
      return Copy<uint32_t>(*this, out).rows(begin, end);
    case 8:
      return Copy<uint64_t>(*this, out).rows(begin, end);
  }
  LPD_UNREACHABLE("elements of {} bytes", width);
}

void View::copy(std::byte* out) const {
  if (axes.empty())
    std::memcpy(out, data, static_cast<size_t>(width));
  else
    copy_rows(out, 0, axes[0].extent);
}

}  // namespace lapidary
