// See random_graphs.h. A graph starts from a few arguments and applies ops to values picked among those made so far,
// recent ones more often, so that chains, skips and several readers of one value all come up.
#include "test/passes/random_graphs.h"

#include <cmath>
#include <random>

#include "ir/composites.h"
#include "ir/error.h"
#include "ir/graph_builder.h"

namespace lapidary::testing {

namespace {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  int64_t below(int64_t limit) { return static_cast<int64_t>(engine_() % static_cast<uint64_t>(limit)); }
  bool one_in(int64_t n) { return below(n) == 0; }
  double number() { return static_cast<double>(below(257) - 128) / 64; }  // folding products of these does not round
  template <class T>
  const T& pick(const std::vector<T>& list) {
    return list[static_cast<size_t>(below(static_cast<int64_t>(list.size())))];
  }

 private:
  std::mt19937_64 engine_;
};

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  RandomGraph run() {
    graph_.module = std::make_unique<Module>();
    module_ = graph_.module.get();
    module_->name = "random";
    Function& function = module_->add_function("run");
    region_ = function.body.get();
    for (int64_t i = 0, count = 1 + random_.below(3); i < count; ++i) {
      values_.push_back(add_argument(*module_, *region_, Type::tensor(DType::F32, random_shape())));
      function.argument_names.push_back("x" + std::to_string(i));
    }
    GraphBuilder builder(*module_, *region_);
    b_ = &builder;
    for (int64_t i = 0, count = 4 + random_.below(16); i < count; ++i)
      if (Value* value = random_op(value_())) values_.push_back(value);
    std::vector<Value*> results{values_.back()};
    for (Value* value : values_)
      if (value != values_.back() && value->uses.empty() && random_.one_in(3)) results.push_back(value);
    for (size_t i = 0; i < results.size(); ++i) function.result_names.push_back("y" + std::to_string(i));
    b_->yield(results);
    return std::move(graph_);
  }

 private:
  static constexpr const char* kUnitOrN = "U";

  // --- shapes
  Dim random_extent() {
    if (random_.one_in(5)) {
      std::string name = random_.pick(std::vector<std::string>{"N", "N", "S", "S", "Z"});
      graph_.symbols.try_emplace(name, random_.pick(symbol_values(name)));
      return module_->dims.symbol(name, {name == "Z" ? 0 : 1, 1 << 20});
    }
    if (random_.one_in(60)) return module_->dims.constant(0);
    return module_->dims.constant(random_.pick(std::vector<int64_t>{1, 2, 3, 4, 8, 15, 16, 17}));
  }

  Shape random_shape() {
    Shape shape;
    int64_t rank = random_.pick(std::vector<int64_t>{0, 1, 2, 2, 3, 3, 4, 4, 4});
    for (int64_t axis = 0; axis < rank; ++axis) shape.push_back(random_extent());
    if (rank == 4) shape[1] = module_->dims.constant(random_.pick(std::vector<int64_t>{1, 3, 16, 17, 32}));
    return shape;
  }

  static std::optional<std::vector<int64_t>> known(const Shape& shape) {
    std::vector<int64_t> extents;
    for (Dim dim : shape) {
      if (!value_of(dim)) return std::nullopt;
      extents.push_back(*value_of(dim));
    }
    return extents;
  }

  // --- values
  Value* value_() {
    size_t recent = std::min<size_t>(values_.size(), random_.one_in(3) ? values_.size() : 3);
    return values_[values_.size() - 1 - static_cast<size_t>(random_.below(static_cast<int64_t>(recent)))];
  }

  Value* constant(std::vector<int64_t> shape) {
    int64_t count = 1;
    for (int64_t extent : shape) count *= extent;
    if (random_.one_in(8))
      return b_->constant(module_->constants.add_splat(DType::F32, shape, Scalar::of_float(DType::F32, 0.5)));
    std::vector<Scalar> numbers;
    for (int64_t i = 0; i < count; ++i)
      numbers.push_back(Scalar::of_float(DType::F32, round_to(DType::F32, random_.number())));
    return b_->constant(module_->constants.add_scalars(DType::F32, shape, numbers));
  }

  Value* number() {
    return b_->scalar(DType::F32, random_.pick(std::vector<double>{0, 1, -1, 2, 0.5, 8, random_.number()}));
  }

  // --- ops
  Value* random_op(Value* x) {
    switch (random_.below(15)) {
      case 14:
        return other_arithmetic(x);
      case 0:
      case 1:
        return unary(x);
      case 2:
      case 3:
        return binary(x);
      case 4:
        return reduce(x);
      case 5:
        return product(x);
      case 6:
        return image_op(x);
      case 7:
        return transpose(x);
      case 8:
        return reshape(x);
      case 9:
        return slice(x);
      case 10:
        return join(x);
      case 11:
        return composite(x);
      case 12:
        return picked(x);
      case 13:
        return normalise_by_hand(x);
    }
    return nullptr;
  }

  Value* unary(Value* x) {
    switch (random_.below(8)) {
      case 0:
        return b_->scalar_op(ScalarOp::Max, {x, b_->like(x, 0)});
      case 1:
        return b_->scalar_op(ScalarOp::Tanh, {x});
      case 2:
        return b_->mul(x, b_->scalar_op(ScalarOp::Sigmoid, {x}));
      case 3:
        return b_->scalar_op(ScalarOp::Min, {b_->scalar_op(ScalarOp::Max, {x, b_->like(x, -1)}), b_->like(x, 6)});
      case 4:
        return b_->neg(x);
      case 5:
        return b_->select(b_->scalar_op(ScalarOp::Less, {x, b_->like(x, 0)}), b_->mul(x, b_->like(x, 0.125)), x);
      case 6:
        return b_->scalar_op(ScalarOp::Pow, {b_->scalar_op(ScalarOp::Tanh, {x}), b_->like(x, 2)});
      default:
        return b_->convert(b_->convert(x, DType::F64), DType::F32);
    }
  }

  // A new argument of this shape, or one that broadcasts to it: extents of 1, or 1 and N known at run time.
  Value* other_argument(const Shape& to) {
    Shape shape = to;
    for (Dim& extent : shape) {
      if (extent == module_->dims.symbol("N") && random_.one_in(3)) {
        extent = module_->dims.symbol(kUnitOrN, {1, 1 << 20});
        graph_.symbols.try_emplace(kUnitOrN, random_.one_in(2) ? 1 : graph_.symbols.at("N"));
      } else if (random_.one_in(6)) {
        extent = module_->dims.constant(1);
      }
    }
    Function& function = *module_->function("run");
    function.argument_names.push_back("x" + std::to_string(function.argument_names.size()));
    return add_argument(*module_, *region_, Type::tensor(DType::F32, shape));
  }

  Value* partner(Value* x) {
    if (random_.one_in(4)) return number();
    if (random_.one_in(4)) return other_argument(x->type.shape);
    for (int tries = 0; tries < 6; ++tries)
      if (Value* y = value_(); y->type.shape == x->type.shape) return y;
    auto extents = known(x->type.shape);
    if (x->type.rank() > 0)
      if (auto last = value_of(x->type.shape.back()); last && random_.one_in(2)) return constant({*last});
    if (x->type.rank() == 4 && extents) return constant({(*extents)[1], 1, 1});
    return x;
  }

  Value* binary(Value* x) {
    Value* y = partner(x);
    switch (random_.below(6)) {
      case 0:
        return b_->add(x, y);
      case 1:
        return b_->sub(x, y);
      case 2:
        return b_->mul(b_->scalar_op(ScalarOp::Tanh, {x}), y);
      case 3:
        return b_->add(y, x);
      case 4:
        return b_->div(x, b_->add(b_->scalar_op(ScalarOp::Abs, {y}), b_->like(x, 1)));
      default:
        return b_->scalar_op(ScalarOp::Max, {y, x});
    }
  }

  // Sums and products of two arguments in another type: computed values may round to either side of a whole number.
  Value* other_arithmetic(Value* x) {
    const DType dtype = random_.pick(std::vector<DType>{DType::F64, DType::F16, DType::BF16, DType::I64, DType::I32,
                                                        DType::I16, DType::I8, DType::U8});
    const auto small = [&](Value* value) {
      Value* bounded = b_->scalar_op(ScalarOp::Min,
                                     {b_->scalar_op(ScalarOp::Max, {value, b_->like(value, -4)}), b_->like(value, 9)});
      return b_->convert(b_->scalar_op(ScalarOp::Floor, {bounded}), dtype);
    };
    Value *a = small(other_argument(x->type.shape)), *c = small(other_argument(x->type.shape));
    Value* sum = random_.one_in(2) ? b_->add(a, c) : b_->sub(c, a);
    Value* y = random_.one_in(2) ? b_->mul(sum, a) : b_->scalar_op(ScalarOp::Max, {sum, b_->mul(a, a)});
    if (a->type.rank() > 0 && random_.one_in(3))
      y = b_->reduce(random_.one_in(2) ? OpKind::ReduceSum : OpKind::ReduceMax, y, {a->type.rank() - 1}, false);
    y = b_->convert(y, DType::F32);
    return random_.one_in(2) ? y : b_->add(b_->neg(y), b_->like(y, 1));
  }

  Value* reduce(Value* x) {
    std::vector<int64_t> axes;
    for (int axis = 0; axis < x->type.rank(); ++axis)
      if (random_.one_in(2)) axes.push_back(axis);
    if (axes.empty()) return nullptr;
    OpKind kind =
        random_.pick(std::vector<OpKind>{OpKind::ReduceSum, OpKind::ReduceMean, OpKind::ReduceMax, OpKind::ReduceMin});
    Value* reduced = b_->reduce(kind, x, axes, random_.one_in(2));
    bool kept = reduced->type.rank() == x->type.rank();
    return kept && random_.one_in(2) ? b_->sub(x, reduced) : reduced;
  }

  Value* product(Value* x) {
    if (x->type.rank() < 2) return nullptr;
    auto depth = value_of(x->type.shape.back());
    if (random_.one_in(3)) {  // x · xᵀ over the batch axes
      std::vector<int64_t> perm(static_cast<size_t>(x->type.rank()));
      for (size_t i = 0; i < perm.size(); ++i) perm[i] = static_cast<int64_t>(i);
      std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
      Value* bounded = b_->scalar_op(ScalarOp::Tanh, {x});
      return b_->matmul(bounded, b_->transpose(bounded, perm));
    }
    if (!depth) return nullptr;
    Value* y = b_->matmul(b_->scalar_op(ScalarOp::Tanh, {x}),
                          constant({*depth, random_.pick(std::vector<int64_t>{1, 15, 16, 17, 32})}));
    return random_.one_in(2) ? b_->add(y, constant({*value_of(y->type.shape.back())})) : y;
  }

  Value* image_op(Value* x) {
    if (x->type.rank() != 4) return nullptr;
    auto channels = value_of(x->type.shape[1]), height = value_of(x->type.shape[2]), width = value_of(x->type.shape[3]);
    if (!channels || !height || !width || *channels == 0 || *height < 3 || *width < 3) return nullptr;
    int64_t stride = 1 + random_.below(2), pad = random_.below(2);
    Shape pads(4, b_->dim(pad));
    if (random_.one_in(4)) {
      auto out = [&](int64_t extent) { return b_->dim((extent + 2 * pad - 2) / stride + 1); };
      Params params{{"kernel", std::vector<int64_t>{2, 2}},
                    {"strides", std::vector<int64_t>{stride, stride}},
                    {"dilations", std::vector<int64_t>{1, 1}},
                    {"pads", pads},
                    {"sizes", Shape{out(*height), out(*width)}}};
      if (random_.one_in(2)) return b_->create(OpKind::MaxPool, {x}, params).result();
      params.set("include_pad", random_.below(2));
      return b_->create(OpKind::AveragePool, {x}, params).result();
    }
    bool depthwise = random_.one_in(3);
    int64_t outputs = depthwise ? *channels : random_.pick(std::vector<int64_t>{1, 16, 17, 32});
    int64_t kernel = random_.one_in(2) ? 1 : 3;
    Value* weights = constant({outputs, depthwise ? 1 : *channels, kernel, kernel});
    Value* bias = random_.one_in(2) ? constant({outputs}) : nullptr;
    Value* bounded = b_->scalar_op(ScalarOp::Tanh, {x});
    if (random_.one_in(4)) bounded = b_->pad(bounded, b_->shape({0, 0, 1, 0}), b_->shape({0, 0, 1, 2}));
    Value* y = b_->conv(bounded, weights, bias, depthwise ? *channels : 1, {stride, stride}, {1, 1}, pads);
    if (random_.one_in(2)) y = b_->add(b_->mul(y, constant({outputs, 1, 1})), constant({outputs, 1, 1}));
    return random_.one_in(2) ? b_->scalar_op(ScalarOp::Max, {y, b_->like(y, 0)}) : y;
  }

  Value* transpose(Value* x) {
    std::vector<int64_t> perm(static_cast<size_t>(x->type.rank()));
    for (size_t i = 0; i < perm.size(); ++i) {
      perm[i] = static_cast<int64_t>(i);
      std::swap(perm[i], perm[static_cast<size_t>(random_.below(static_cast<int64_t>(i) + 1))]);
    }
    return b_->transpose(x, perm);
  }

  Value* reshape(Value* x) {
    Shape shape = x->type.shape;
    if (shape.size() >= 2 && random_.one_in(2)) {  // merge two axes
      size_t axis = static_cast<size_t>(random_.below(static_cast<int64_t>(shape.size()) - 1));
      shape[axis] = module_->dims.mul(shape[axis], shape[axis + 1]);
      shape.erase(shape.begin() + static_cast<ptrdiff_t>(axis) + 1);
      return b_->reshape(x, shape);
    }
    for (size_t axis = 0; axis < shape.size() && shape.size() < 4; ++axis)  // split one
      if (value_of(shape[axis]).value_or(0) == 16) {
        shape[axis] = b_->dim(4);
        shape.insert(shape.begin() + static_cast<ptrdiff_t>(axis), b_->dim(4));
        return b_->reshape(x, shape);
      }
    return shape.size() < 4 ? b_->expand_axes(x, {random_.below(static_cast<int64_t>(shape.size()) + 1)}) : nullptr;
  }

  Value* slice(Value* x) {
    for (int axis = 0; axis < x->type.rank(); ++axis) {
      auto extent = value_of(x->type.shape[static_cast<size_t>(axis)]);
      if (!extent || *extent < 2 || random_.one_in(2)) continue;
      int64_t half = *extent / 2;
      if (random_.one_in(2)) return b_->slice_axis(x, axis, b_->dim(1), b_->dim(half));
      Value *low = b_->slice_axis(x, axis, b_->dim(0), b_->dim(half)),
            *high = b_->slice_axis(x, axis, b_->dim(half), b_->dim(*extent - half));
      return b_->add(b_->mul(x, number()), b_->concat({b_->neg(high), low}, axis));  // as in a rotary embedding
    }
    return nullptr;
  }

  Value* join(Value* x) {
    if (x->type.rank() == 0) return nullptr;
    auto axis = static_cast<size_t>(random_.below(x->type.rank()));
    if (random_.one_in(3)) {
      Shape lo(x->type.shape.size(), b_->dim(0)), hi = lo;
      lo[axis] = b_->dim(1);
      hi[axis] = b_->dim(2);
      return b_->pad(x, lo, hi, "constant", random_.one_in(2) ? number() : nullptr);
    }
    Value* y = x;
    for (int tries = 0; tries < 4; ++tries)
      if (Value* other = value_(); other->type.shape == x->type.shape) y = other;
    return b_->concat({x, y}, static_cast<int>(axis));
  }

  Value* composite(Value* x) {
    if (x->type.rank() == 0) return nullptr;
    int last = x->type.rank() - 1;
    auto extent = value_of(x->type.shape.back());
    switch (random_.below(5)) {
      case 0:
        return composites::softmax(*b_, x, static_cast<int>(random_.below(x->type.rank())));
      case 1:
        return extent ? composites::layer_norm(*b_, x, constant({*extent}), constant({*extent}), last, 1e-5)[0]
                      : nullptr;
      case 2:
        return extent ? composites::rms_norm(*b_, x, constant({*extent}), last, 1e-5) : nullptr;
      case 3:
        return composites::gelu(*b_, x, random_.one_in(2));
      default:
        return attention(x);
    }
  }

  // softmax(x·xᵀ·c)·x, spelled out
  Value* attention(Value* x) {
    if (x->type.rank() < 3) return nullptr;
    std::vector<int64_t> perm(static_cast<size_t>(x->type.rank()));
    for (size_t i = 0; i < perm.size(); ++i) perm[i] = static_cast<int64_t>(i);
    std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
    Value* bounded = b_->scalar_op(ScalarOp::Tanh, {x});
    Value* scores = b_->mul(b_->matmul(bounded, b_->transpose(bounded, perm)), b_->like(x, 0.25));
    return b_->matmul(composites::softmax(*b_, scores, x->type.rank() - 1), bounded);
  }

  Value* picked(Value* x) {
    if (x->type.rank() == 0 || range(x->type.shape[0]).lo < 1) return nullptr;
    std::vector<Scalar> indices{Scalar::of_integer(DType::I64, 0), Scalar::of_integer(DType::I64, -1),
                                Scalar::of_integer(DType::I64, 0)};
    std::vector<int64_t> shape{3};
    if (random_.one_in(2)) {
      indices.resize(1);
      shape.clear();
    }
    return b_->gather(x, b_->constant(module_->constants.add_scalars(DType::I64, shape, indices)), 0);
  }

  // (x - mean) / sqrt(mean((x - mean)²) + ε), spelled out
  Value* normalise_by_hand(Value* x) {
    if (x->type.rank() == 0) return nullptr;
    int64_t last = x->type.rank() - 1;
    Value* centred = b_->sub(x, b_->reduce(OpKind::ReduceMean, x, {last}, true));
    Value* variance = b_->reduce(OpKind::ReduceMean, b_->mul(centred, centred), {last}, true);
    return b_->div(centred, b_->scalar_op(ScalarOp::Sqrt, {b_->add(variance, b_->like(x, 0.0009765625))}));
  }

  Random random_;
  RandomGraph graph_;
  Module* module_ = nullptr;
  Region* region_ = nullptr;
  GraphBuilder* b_ = nullptr;
  std::vector<Value*> values_;
};

}  // namespace

std::vector<int64_t> symbol_values(const std::string& name) {
  if (name == "U") return {1};  // and the value of N
  return name == "Z" ? std::vector<int64_t>{0, 1, 5, 16, 17} : std::vector<int64_t>{1, 2, 15, 16, 17};
}

RandomGraph random_graph(uint64_t seed) { return Generator(seed).run(); }

std::vector<Tensor> random_inputs(const Module& module, const std::map<std::string, int64_t>& symbols, uint64_t seed) {
  Random random(seed);
  std::vector<Tensor> inputs;
  for (const auto& argument : module.function("run")->body->arguments) {
    std::vector<int64_t> shape;
    for (Dim dim : argument->type.shape)
      shape.push_back(
          evaluate(dim, [&](Dim leaf) -> std::optional<int64_t> { return symbols.at(leaf->name); }).value());
    Tensor tensor = Tensor::zeros(argument->type.dtype, shape);
    const bool with_nans = random.one_in(6);
    for (double& number : tensor.numbers)
      number = with_nans && random.one_in(32) ? NAN : round_to(tensor.dtype, random.number());
    for (int64_t& integer : tensor.integers) integer = random.below(2);
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

std::string RandomInputs::text() const {
  std::string text;
  for (const auto& [name, value] : symbols) text += " " + name + "=" + std::to_string(value);
  return text;
}

std::vector<RandomInputs> random_input_sets(const RandomGraph& graph, uint64_t seed) {
  std::vector<RandomInputs> sets;
  for (uint64_t rebinding = 0; rebinding < (graph.symbols.empty() ? 1 : 3); ++rebinding) {
    RandomInputs set;
    for (const auto& [name, value] : graph.symbols) {
      const std::vector<int64_t> values = symbol_values(name);
      set.symbols[name] =
          rebinding == 0 ? value : values[(seed / 3 + rebinding * 2 + static_cast<uint64_t>(name[0])) % values.size()];
    }
    set.inputs = random_inputs(*graph.module, set.symbols, seed + rebinding);
    if (set.symbols.contains("U") && rebinding % 2 == 1) set.symbols["U"] = set.symbols.at("N");
    try {
      set.expected = interpret(*graph.module, *graph.module->function("run"), set.inputs);
    } catch (const Error& error) {
      if (error.fault != Fault::Input || rebinding == 0) throw;
      continue;
    }
    sets.push_back(std::move(set));
  }
  return sets;
}

}  // namespace lapidary::testing
