// Operators of ai.onnx.ml that prepare features and map labels.
#include <algorithm>
#include <cmath>
#include <map>

#include "frontend/ops/ml_scores.h"
#include "frontend/ops/strings.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

void check_rank(Node& node) {
  if (node.rank() != 1 && node.rank() != 2) fail("input has rank {}, expected 1 or 2", node.rank());
}

// One number for each feature, or one for all.
Value* of_features(Node& node, const char* name, DType dtype, const std::vector<double>& values, Dim features) {
  const auto count = static_cast<int64_t>(values.size());
  if (count == 1) return numbers(node, dtype, {}, values);
  if (known_unequal(features, node.dims().constant(count)))
    fail("{} has {} elements, expected 1 or {}", name, count, to_string(features));
  return numbers(node, dtype, {count}, values);
}

// (x - offset) · scale
Values scaler(Node& node) {
  check_rank(node);
  const DType dtype = node.type(0).dtype == DType::F64 ? DType::F64 : DType::F32;
  Value* x = node.build.convert(node.input(0), dtype);
  auto attribute = [&](const char* name) {
    const std::vector<double> values = node.numbers(name);
    return values.empty() ? nullptr : of_features(node, name, dtype, values, x->type.shape.back());
  };
  if (Value* offset = attribute("offset")) x = node.build.sub(x, offset);
  if (Value* scale = attribute("scale")) x = node.build.mul(x, scale);
  return {node.build.convert(x, DType::F32)};
}

// Each row divided by its norm, unless that is 0. MAX is the greatest element, not the greatest magnitude.
Values normalizer(Node& node) {
  check_rank(node);
  GraphBuilder& b = node.build;
  Value* x = b.convert(node.input(0), DType::F32);
  const std::string norm = node.text("norm");
  const int64_t last = x->type.rank() - 1;
  Value* size;
  if (norm == "MAX") {
    size = b.reduce(OpKind::ReduceMax, x, {last}, true);
  } else if (norm == "L1") {
    size = b.reduce(OpKind::ReduceSum, b.scalar_op(ScalarOp::Abs, {x}), {last}, true);
  } else if (norm == "L2") {
    size = b.scalar_op(ScalarOp::Sqrt, {b.reduce(OpKind::ReduceSum, b.mul(x, x), {last}, true)});
  } else {
    fail("norm '{}' is unknown", printable(norm));
  }
  return {b.div(x, b.select(b.scalar_op(ScalarOp::Equal, {size, b.like(x, 0)}), b.like(x, 1), size))};
}

// The imputed value in place of what equals the replaced one; NaN equals NaN.
Values imputer(Node& node) {
  Value* x = node.input(0);
  const DType dtype = x->type.dtype;
  const bool floats = is_float(dtype);
  const char* name = floats ? "imputed_value_floats" : "imputed_value_int64s";
  if (node.rank() < 1) fail("input has rank 0");
  Value* imputed;
  if (floats) {
    const std::vector<double> values = node.numbers(name);
    if (values.empty()) fail("attribute '{}' is missing", name);
    imputed = of_features(node, name, dtype, values, x->type.shape.back());
    const double replaced = node.number("replaced_value_float");
    Value* equal = std::isnan(replaced) ? node.build.scalar_op(ScalarOp::IsNan, {x})
                                        : node.build.scalar_op(ScalarOp::Equal, {x, node.build.like(x, replaced)});
    return {node.build.select(equal, imputed, x)};
  }
  const std::vector<int64_t> values = node.integers(name);
  if (values.empty()) fail("attribute '{}' is missing", name);
  const auto count = static_cast<int64_t>(values.size());
  if (count > 1 && known_unequal(x->type.shape.back(), node.dims().constant(count)))
    fail("{} has {} elements, expected 1 or {}", name, count, to_string(x->type.shape.back()));
  imputed = node.build.convert(
      whole_numbers(node, count == 1 ? std::vector<int64_t>{} : std::vector<int64_t>{count}, values), dtype);
  Value* replaced = node.build.scalar(Scalar::of_integer(dtype, node.integer("replaced_value_int64")));
  return {node.build.select(node.build.scalar_op(ScalarOp::Equal, {x, replaced}), imputed, x)};
}

Values binarizer(Node& node) {
  Value* x = node.input(0);
  const DType dtype = x->type.dtype;
  Value* compared = is_float(dtype) ? x : node.build.convert(x, DType::F64);
  Value* above = node.build.scalar_op(ScalarOp::Less, {node.build.like(compared, node.number("threshold")), compared});
  return {node.build.convert(above, dtype)};
}

// Columns of the last axis; of a vector the one row they make.
Values array_feature_extractor(Node& node) {
  Value *x = node.input(0), *indices = node.input(1);
  if (node.rank() < 1) fail("input has rank 0");
  Dim count = node.dims().product(indices->type.shape);
  if (node.rank() == 1) x = node.build.expand_axes(x, {0});
  return {node.build.gather(x, node.build.reshape(indices, {count}), x->type.rank() - 1)};
}

// All inputs side by side as float, each cut or filled with zeros to the width the attribute gives it.
Values feature_vectorizer(Node& node) {
  const std::vector<int64_t> widths = node.integers("inputdimensions");
  if (!widths.empty() && static_cast<int>(widths.size()) != node.input_count())
    fail("inputdimensions has {} elements for {} inputs", widths.size(), node.input_count());
  std::vector<Value*> parts;
  for (int i = 0; i < node.input_count(); ++i) {
    Value* x = node.build.convert(node.input(i), DType::F32);
    if (x->type.rank() < 1) fail("input {} has rank 0", i);
    x = x->type.rank() == 1 ? node.build.expand_axes(x, {0}) : flattened(node, x, 1);
    if (!widths.empty()) {
      if (widths[i] < 0) fail("inputdimensions has {}", widths[i]);
      Dim missing = node.dims().sub(node.dims().constant(widths[i]), x->type.shape[1]), none = node.dims().constant(0);
      x = node.build.pad(x, {none, none}, {none, missing});  // negative: cut
    }
    parts.push_back(x);
  }
  return {node.build.concat(parts, 1)};
}

template <typename T>
std::vector<T> categories_of(std::vector<T> categories, const char* name) {
  if (categories.empty()) fail("attribute '{}' is missing", name);
  std::vector<T> sorted = categories;
  std::sort(sorted.begin(), sorted.end());
  if (std::ranges::adjacent_find(sorted) != sorted.end()) fail("a category is there twice");
  return categories;
}

Values one_hot_encoder(Node& node) {
  if (node.integer("zeros") == 0) unsupported("zeros = 0, which makes an unknown category an error");
  const bool texts = node.type(0).dtype == DType::String;
  Value *x = node.input(0), *all;
  if (texts) {
    const std::vector<std::string> categories = categories_of(node.texts("cats_strings"), "cats_strings");
    all = strings(node, {static_cast<int64_t>(categories.size())}, categories);
  } else {
    const std::vector<int64_t> categories = categories_of(node.integers("cats_int64s"), "cats_int64s");
    x = node.build.convert(x, DType::I64);
    all = whole_numbers(node, {static_cast<int64_t>(categories.size())}, categories);
  }
  Value* equal = node.build.scalar_op(ScalarOp::Equal, {node.build.expand_axes(x, {x->type.rank()}), all});
  return {node.build.convert(equal, DType::F32)};
}

// --- LabelEncoder --------------------------------------------------------------------------------------------------

// The attribute of keys (values) that is given, as a tensor.
ConstantId table_of(Node& node, const std::string& what) {
  ConstantTable& constants = node.build.module.constants;
  if (const std::vector<std::string> texts = node.texts(what + "_strings"); !texts.empty())
    return constants.add_strings({static_cast<int64_t>(texts.size())}, texts);
  if (node.has(what + "_tensor")) return node.tensor(what + "_tensor");
  std::vector<Scalar> scalars;
  DType dtype = DType::I64;
  if (node.has(what + "_floats")) {
    dtype = DType::F32;
    for (double value : node.numbers(what + "_floats")) scalars.push_back(Scalar::of_float(dtype, value));
  } else {
    for (int64_t value : node.integers(what + "_int64s")) scalars.push_back(Scalar::of_integer(dtype, value));
  }
  if (scalars.empty()) fail("there are no {}", what);
  return constants.add_scalars(dtype, {static_cast<int64_t>(scalars.size())}, scalars);
}

Scalar text_scalar(Node& node, const std::string& text) {
  return Scalar::of_integer(DType::String, node.build.module.constants.strings->number_of(text));
}

Scalar default_value(Node& node, DType dtype) {
  if (node.has("default_tensor")) {
    const ConstantId id = node.tensor("default_tensor");
    const ConstantTable& constants = node.build.module.constants;
    if (constants[id].elements() != 1 || constants[id].dtype != dtype)
      fail("default_tensor is no {} of one element", name_of(dtype));
    return constants.scalars_of(id)[0];
  }
  if (dtype == DType::String) return text_scalar(node, node.text("default_string"));
  return is_float(dtype) ? Scalar::of_float(dtype, node.number("default_float"))
                         : Scalar::of_integer(dtype, node.integer("default_int64"));
}

// The place of the last key that equals x, from opset 4 on NaN too; the number of keys when there is none.
Value* key_place(Node& node, Value* x, ConstantId keys, int64_t count) {
  GraphBuilder& b = node.build;
  if (x->type.dtype == DType::String) return place_among(node, x, b.module.constants.strings_of(keys));
  Value *each = b.expand_axes(x, {x->type.rank()}), *all = b.constant(keys);
  Value* equal = b.scalar_op(ScalarOp::Equal, {each, all});
  if (is_float(x->type.dtype) && node.version >= 4) {
    Value* both_nan =
        b.scalar_op(ScalarOp::And, {b.scalar_op(ScalarOp::IsNan, {each}), b.scalar_op(ScalarOp::IsNan, {all})});
    equal = b.scalar_op(ScalarOp::Or, {equal, both_nan});
  }
  Value* places = b.iota(DType::I64, equal->type.shape, x->type.rank());
  Value* none = b.scalar(Scalar::of_integer(DType::I64, -1));
  Value* last = b.reduce(OpKind::ReduceMax, b.select(equal, places, none), {x->type.rank()});
  Value* missing = b.scalar_op(ScalarOp::Equal, {last, none});
  return b.select(missing, b.scalar(Scalar::of_integer(DType::I64, count)), last);
}

// The texts in place of indices; in place of any other index the default.
Value* texts_at(Node& node, Value* index, std::vector<std::string> texts) {
  GraphBuilder& b = node.build;
  const auto count = static_cast<int64_t>(texts.size());
  texts.push_back(node.text("default_string"));
  Value *none = whole_numbers(node, {}, {count}), *zero = whole_numbers(node, {}, {0});
  Value* place = b.select(b.scalar_op(ScalarOp::Less, {index, zero}), none, b.scalar_op(ScalarOp::Min, {index, none}));
  return b.gather(strings(node, {count + 1}, texts), place, 0, true);
}

// Opset 1: a list of classes that are strings, to their places and back.
Values label_encoder_of_classes(Node& node) {
  GraphBuilder& b = node.build;
  const std::vector<std::string> classes = node.texts("classes_strings");
  if (node.type(0).dtype != DType::String) return {texts_at(node, node.input(0), classes)};
  const auto count = static_cast<int64_t>(classes.size());
  Value* place = place_among(node, node.input(0), classes);
  Value* missing = b.scalar_op(ScalarOp::Equal, {place, whole_numbers(node, {}, {count})});
  return {b.select(missing, whole_numbers(node, {}, {node.integer("default_int64")}), place)};
}

// Two lists side by side, from strings to integers or back.
Values category_mapper(Node& node) {
  GraphBuilder& b = node.build;
  const std::vector<std::string> texts = node.texts("cats_strings");
  std::vector<int64_t> numbers = node.integers("cats_int64s");
  const auto count = static_cast<int64_t>(texts.size());
  if (texts.empty() || numbers.size() != texts.size())
    fail("{} cats_int64s and {} cats_strings", numbers.size(), texts.size());
  if (node.type(0).dtype == DType::String) {
    numbers.push_back(node.integer("default_int64"));
    return {b.gather(whole_numbers(node, {count + 1}, numbers), place_among(node, node.input(0), texts), 0, true)};
  }
  std::vector<Scalar> keys;
  for (int64_t number : numbers) keys.push_back(Scalar::of_integer(DType::I64, number));
  const ConstantId table = b.module.constants.add_scalars(DType::I64, {count}, keys);
  return {texts_at(node, key_place(node, node.input(0), table, count), texts)};
}

Values label_encoder(Node& node) {
  if (node.version < 2) return label_encoder_of_classes(node);
  ConstantTable& constants = node.build.module.constants;
  const ConstantId keys = table_of(node, "keys"), values = table_of(node, "values");
  const int64_t count = constants[keys].elements();
  if (constants[values].elements() != count) fail("{} keys and {} values", count, constants[values].elements());
  if (constants[keys].shape.size() != 1) fail("keys have rank {}, expected 1", constants[keys].shape.size());
  if (constants[keys].dtype != node.type(0).dtype)
    fail("keys are {}, the input is {}", name_of(constants[keys].dtype), name_of(node.type(0).dtype));
  const DType dtype = constants[values].dtype;
  std::vector<Scalar> table = constants.scalars_of(values);
  table.push_back(default_value(node, dtype));
  Value* all = node.build.constant(constants.add_scalars(dtype, {count + 1}, table));
  return {node.build.gather(all, key_place(node, node.input(0), keys, count), 0)};
}

// A map for each row, from labels to scores: we have no maps, so the scores stay the tensor they are.
Values zip_map(Node& node) {
  const size_t labels = std::max(node.integers("classlabels_int64s").size(), node.texts("classlabels_strings").size());
  if (labels > 0 && node.rank() > 0 &&
      known_unequal(node.type(0).shape.back(), node.dims().constant(static_cast<int64_t>(labels))))
    fail("{} labels for rows of {}", labels, to_string(node.type(0).shape.back()));
  node.warnings.push_back("maps are not supported: the result is the tensor of scores, a column for each label");
  return {node.input(0)};
}

constexpr OpEntry kOps[] = {{"ArrayFeatureExtractor", array_feature_extractor},
                            {"Binarizer", binarizer},
                            {"CategoryMapper", category_mapper},
                            {"FeatureVectorizer", feature_vectorizer},
                            {"Imputer", imputer},
                            {"LabelEncoder", label_encoder},
                            {"Normalizer", normalizer},
                            {"OneHotEncoder", one_hot_encoder},
                            {"Scaler", scaler},
                            {"ZipMap", zip_map}};

}  // namespace

std::span<const OpEntry> ml_ops() { return kOps; }

}  // namespace lapidary::frontend
