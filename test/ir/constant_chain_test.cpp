// Random chains of transforms against a reference that computes each transform index by index, whole and in parts,
// from sources that do not lie aligned.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

#include "ir/constant.h"

namespace lapidary {
namespace {

using Extents = std::vector<int64_t>;

int64_t count_of(const Extents& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

struct Reference {
  DType dtype;
  Extents shape;
  std::vector<Scalar> values;

  Scalar zero() const { return {dtype, 0, 0}; }
  Scalar at(const Extents& index) const {
    int64_t offset = 0;
    for (size_t i = 0; i < shape.size(); i++) {
      if (index[i] >= shape[i]) return zero();
      offset = offset * shape[i] + index[i];
    }
    return values[static_cast<size_t>(offset)];
  }
  // The tensor of `new_shape` whose element at `index` is this one's at source(index).
  template <typename Source>
  Reference moved(const Extents& new_shape, Source source) const {
    Reference result{dtype, new_shape, {}};
    for (int64_t i = 0; i < count_of(new_shape); i++) {
      Extents index(new_shape.size());
      int64_t rest = i;
      for (size_t axis = new_shape.size(); axis-- > 0; rest /= new_shape[axis]) index[axis] = rest % new_shape[axis];
      result.values.push_back(at(source(index)));
    }
    return result;
  }
};

Reference apply(const Reference& x, const Transform& t, const std::vector<Scalar>& factors) {
  switch (t.kind) {
    case Transform::Kind::Convert: {
      Reference result{t.dtype, x.shape, {}};
      for (const Scalar& value : x.values) result.values.push_back(convert(value, t.dtype));
      return result;
    }
    case Transform::Kind::Transpose: {
      Extents shape;
      for (int64_t axis : t.axes) shape.push_back(x.shape[axis]);
      return x.moved(shape, [&](const Extents& index) {
        Extents from(index.size());
        for (size_t i = 0; i < index.size(); i++) from[t.axes[i]] = index[i];
        return from;
      });
    }
    case Transform::Kind::Reshape:
      return {x.dtype, t.shape, x.values};
    case Transform::Kind::Pad:
      return x.moved(t.shape, [](const Extents& index) { return index; });
    case Transform::Kind::Scale: {
      Reference result = x;
      int64_t inner = count_of({x.shape.begin() + t.axes[0] + 1, x.shape.end()});
      for (size_t i = 0; i < x.values.size(); i++) {
        Scalar pair[] = {x.values[i], factors[static_cast<int64_t>(i) / inner % x.shape[t.axes[0]]]};
        result.values[i] = evaluate(ScalarOp::Mul, pair);
      }
      return result;
    }
    case Transform::Kind::SpreadGroups: {
      Extents shape = x.shape;
      shape[1] = t.shape[1];
      return x.moved(shape, [&](const Extents& i) {
        Extents from = i;
        from[1] = i[1] + t.axes[i[0] / t.block] - i[0] / t.shape[0] * x.shape[1];
        if (from[1] < 0) from[1] = x.shape[1];
        return from;
      });
    }
    case Transform::Kind::PackPanels:
      return x.moved({(x.shape[1] + t.block - 1) / t.block, x.shape[0], t.block}, [&](const Extents& i) {
        return Extents{i[1], i[0] * t.block + i[2]};
      });
    case Transform::Kind::PackConv: {
      Extents shape = x.shape;
      shape[0] = (shape[0] + t.block - 1) / t.block;
      shape[1] = (shape[1] + t.shape[0] - 1) / t.shape[0];
      shape.insert(shape.end(), {t.shape[0], t.block});
      return x.moved(shape, [&](const Extents& i) {
        Extents from(i.begin(), i.end() - 2);
        from[0] = i[0] * t.block + i.back();
        from[1] = i[1] * t.shape[0] + i[i.size() - 2];
        return from;
      });
    }
    case Transform::Kind::PackDots:
      return x.moved({(x.shape[1] + t.block - 1) / t.block, (x.shape[0] + 3) / 4, t.block, 4}, [&](const Extents& i) {
        return Extents{i[1] * 4 + i[3], i[0] * t.block + i[2]};
      });
    case Transform::Kind::PackConvDots: {
      Extents shape = x.shape;
      shape[0] = (shape[0] + t.block - 1) / t.block;
      shape[1] = (shape[1] + t.shape[0] - 1) / t.shape[0];
      shape.insert(shape.end(), {t.shape[0] / 4, t.block, 4});
      return x.moved(shape, [&](const Extents& i) {
        Extents from(i.begin(), i.end() - 3);
        from[0] = i[0] * t.block + i[i.size() - 2];
        from[1] = i[1] * t.shape[0] + i[i.size() - 3] * 4 + i.back();
        return from;
      });
    }
    case Transform::Kind::Sums: {
      std::vector<int64_t> sums(static_cast<size_t>(x.shape[t.axes[0]]));
      int64_t inner = count_of({x.shape.begin() + t.axes[0] + 1, x.shape.end()});
      for (size_t i = 0; i < x.values.size(); i++)
        sums[static_cast<int64_t>(i) / inner % x.shape[t.axes[0]]] += x.values[i].integer;
      Reference result{DType::I32, {x.shape[t.axes[0]]}, {}};
      for (int64_t sum : sums) result.values.push_back(convert(Scalar::of_integer(DType::I64, sum), DType::I32));
      return result;
    }
    case Transform::Kind::Winograd:
    case Transform::Kind::WinogradAxis:
      break;  // its own test
  }
  return x;
}

class RandomChain {
 public:
  explicit RandomChain(unsigned seed) : random_(seed) {
    constexpr DType kTypes[] = {DType::F32, DType::F32, DType::F32, DType::F16, DType::I8, DType::I64, DType::I4};
    reference_.dtype = kTypes[pick(7)];
    for (int64_t rank = pick(5); rank > 0; rank--) reference_.shape.push_back(pick(12) == 0 ? 0 : 1 + pick(6));
    for (int64_t i = 0; i < count_of(reference_.shape); i++)
      reference_.values.push_back(convert(Scalar::of_integer(DType::I64, pick(15) - 7), reference_.dtype));
    id_ = add_unaligned(reference_);
  }

  void grow() {
    Transform t;
    std::vector<Scalar> factors;
    if (!choose(t, factors)) return;
    reference_ = apply(reference_, t, factors);
    id_ = table_.transformed(id_, t);
  }

  void check(int parts) {
    ASSERT_EQ(table_[id_].shape, reference_.shape);
    std::vector<std::byte> bytes(static_cast<size_t>(table_[id_].bytes()));
    for (int part = 0; part < parts; part++) table_.materialize(id_, bytes, part, parts);
    for (size_t i = 0; i < reference_.values.size(); i++) {
      Scalar found = load_scalar(reference_.dtype, bytes.data(), static_cast<int64_t>(i));
      ASSERT_EQ(found.number, reference_.values[i].number) << "element " << i;
      ASSERT_EQ(found.integer, reference_.values[i].integer) << "element " << i;
    }
  }

 private:
  int64_t pick(int64_t below) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(below)); }

  ConstantId add_unaligned(const Reference& x) {
    Constant constant;
    constant.dtype = x.dtype;
    constant.shape = x.shape;
    auto size = static_cast<size_t>(constant.bytes());
    auto storage = std::make_shared<std::vector<std::byte>>(size + 1);
    for (size_t i = 0; i < x.values.size(); i++)
      store_scalar(x.values[i], storage->data() + 1, static_cast<int64_t>(i));
    constant.source = ByteSource{storage, {storage->data() + 1, size}};
    return table_.add(std::move(constant));
  }

  bool choose(Transform& t, std::vector<Scalar>& factors) {
    const Extents& shape = reference_.shape;
    t.kind = static_cast<Transform::Kind>(pick(static_cast<int64_t>(Transform::Kind::Winograd)));
    t.block = 1 + pick(5);
    switch (t.kind) {
      case Transform::Kind::Convert:
        t.dtype = pick(2) ? DType::F32 : pick(2) ? DType::BF16 : DType::U4;
        return true;
      case Transform::Kind::Transpose:
        for (size_t i = 0; i < shape.size(); i++) t.axes.push_back(static_cast<int64_t>(i));
        std::shuffle(t.axes.begin(), t.axes.end(), random_);
        return true;
      case Transform::Kind::Reshape:
        return choose_reshape(t);
      case Transform::Kind::Pad:
        for (int64_t extent : shape) t.shape.push_back(extent + pick(3));
        return true;
      case Transform::Kind::Scale: {
        if (shape.empty() || !is_float(reference_.dtype)) return false;
        t.axes = {pick(static_cast<int64_t>(shape.size()))};
        for (int64_t i = 0; i < shape[t.axes[0]]; i++)
          factors.push_back(Scalar::of_float(reference_.dtype, 0.5 * static_cast<double>(i + 1)));
        t.other = table_.add_scalars(reference_.dtype, {shape[t.axes[0]]}, factors);
        return true;
      }
      case Transform::Kind::SpreadGroups: {
        if (shape.size() < 2) return false;
        const int64_t outputs = 1 + pick(4), groups = (shape[0] + outputs - 1) / outputs;
        t.shape = {outputs, std::max<int64_t>(groups, 1) * shape[1] + pick(3)};
        t.block = outputs;  // each group begins where it likes
        for (int64_t group = 0; group < groups; group++)
          t.axes.push_back(group * shape[1] - pick(3) % (t.shape[1] - shape[1] + 1));
        for (int64_t group = 0; group < groups; group++)
          t.axes[group] = std::clamp(t.axes[group], (group + 1) * shape[1] - t.shape[1], group * shape[1]);
        return true;
      }
      case Transform::Kind::PackPanels:
        return shape.size() == 2;
      case Transform::Kind::PackConv:
        t.shape = {1 + pick(4)};
        return shape.size() >= 2;
      case Transform::Kind::PackDots:
        return shape.size() == 2;
      case Transform::Kind::PackConvDots:
        t.shape = {4 * (1 + pick(3))};
        return shape.size() >= 2;
      case Transform::Kind::Sums:
        if (shape.empty() || !is_integer(reference_.dtype)) return false;
        t.axes = {pick(static_cast<int64_t>(shape.size()))};
        return true;
      case Transform::Kind::Winograd:
      case Transform::Kind::WinogradAxis:
        return false;
    }
    return false;
  }

  // Merges two neighbours or splits an axis by a divisor.
  bool choose_reshape(Transform& t) {
    t.shape = reference_.shape;
    if (t.shape.empty()) return true;
    auto axis = static_cast<size_t>(pick(static_cast<int64_t>(t.shape.size())));
    if (pick(2) && axis + 1 < t.shape.size()) {
      t.shape[axis] *= t.shape[axis + 1];
      t.shape.erase(t.shape.begin() + static_cast<int64_t>(axis) + 1);
    } else {
      int64_t divisor = t.shape[axis] % 2 == 0 ? 2 : t.shape[axis] % 3 == 0 ? 3 : 1;
      t.shape[axis] /= divisor;
      t.shape.insert(t.shape.begin() + static_cast<int64_t>(axis), divisor);
    }
    return true;
  }

  std::mt19937 random_;
  ConstantTable table_;
  Reference reference_;
  ConstantId id_{};
};

TEST(ConstantChains, EveryChainIsItsTransformsOneByOne) {
  for (unsigned seed = 0; seed < 3000; seed++) {
    SCOPED_TRACE(seed);
    RandomChain chain(seed);
    for (unsigned step = 0; step < seed % 6; step++) chain.grow();
    for (int parts : {1, 2, 7}) chain.check(parts);
    if (testing::Test::HasFailure()) return;
  }
}

// The panels of Winograd's transforms made apart, after a scale: the same as made at once.
TEST(ConstantChains, WinogradInParts) {
  ConstantTable table;
  std::vector<Scalar> values, factors;
  for (int i = 0; i < 40 * 3 * 9; i++) values.push_back(Scalar::of_float(DType::F32, i % 17 - 8));
  for (int i = 0; i < 40; i++) factors.push_back(Scalar::of_float(DType::F32, 1 + i * 0.25));
  ConstantId scaled = table.transformed(
      table.add_scalars(DType::F32, {40, 3, 3, 3}, values),
      {.kind = Transform::Kind::Scale, .axes = {0}, .other = table.add_scalars(DType::F32, {40}, factors)});
  const Transform transforms[] = {{.kind = Transform::Kind::Winograd, .shape = {4, 16}, .block = 16},
                                  {.kind = Transform::Kind::WinogradAxis, .shape = {4, 4, 16}, .block = 16}};
  for (const Transform& transform : transforms) {
    ConstantId u = table.transformed(scaled, transform);
    std::vector<std::byte> whole = table.bytes_of(u);
    for (int parts : {2, 3, 5}) {
      std::vector<std::byte> bytes(whole.size());
      for (int part = 0; part < parts; part++) table.materialize(u, bytes, part, parts);
      EXPECT_EQ(bytes, whole) << parts;
    }
  }
}

}  // namespace
}  // namespace lapidary
