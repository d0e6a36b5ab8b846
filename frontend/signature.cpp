#include "frontend/signature.h"

#include <algorithm>
#include <cctype>

#include "frontend/node.h"
#include "frontend/tensors.h"

namespace lapidary::frontend {
namespace {

using Dimension = onnx::TensorShapeProto::Dimension;

// "batch size" → "batch_size": what the text form of Dims can hold. Its own operators are no names.
std::string identifier(const std::string& text) {
  constexpr size_t kLongest = 60;
  std::string name;
  for (char c : text.substr(0, kLongest)) name += isalnum(static_cast<unsigned char>(c)) || c == '_' ? c : '_';
  if (name.empty() || isdigit(static_cast<unsigned char>(name[0]))) name = "d" + name;
  for (const char* reserved : {"floordiv", "mod", "min", "max", "select", "equal", "less", "element"}) {
    if (name == reserved) name += '_';
  }
  return name;
}

std::string shown(const std::string& name) { return "'" + printable(name) + "'"; }

}  // namespace

std::string part_name(const std::string& sequence, size_t index) { return fmt::format("{}[{}]", sequence, index); }

// An axis that a sequence's type names is each part's own.
void Signature::declare_parts(const onnx::TypeProto& type, DeclaredInput& declared) {
  if (!type.has_tensor_type()) unsupported("a sequence whose parts are not tensors");
  const auto dtype = dtype_of(type.tensor_type().elem_type());
  if (!dtype) fail("unknown data_type {}", type.tensor_type().elem_type());
  declared.dtype = *dtype;
  const std::string name(declared.name);
  const auto length = options_.lengths.find(name);
  if (length == options_.lengths.end())
    unsupported("a sequence; say how many parts it has: --length {}=N", printable(name));
  if (length->second > kMostParts)
    throw Error(Fault::Usage, fmt::format("--length gives {}, the most is {}", length->second, kMostParts));
  for (int64_t i = 0; i < length->second; ++i) {
    onnx::ValueInfoProto& part = declared.tensors.emplace_back();
    part.set_name(part_name(name, static_cast<size_t>(i)));
    *part.mutable_type() = type;
    if (type.tensor_type().has_shape())
      for (Dimension& extent : *part.mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim())
        extent.clear_dim_param();
    sequence_of_[part.name()] = name;
  }
}

// A length says that the optional has a sequence.
bool Signature::is_present(const std::string& name) const {
  const auto said = options_.present.find(name);
  if (said != options_.present.end()) return said->second;
  if (options_.lengths.contains(name)) return true;
  unsupported("an optional; say whether it has an element: --optional {0}=present or --optional {0}=absent",
              printable(name));
}

void Signature::declare_type(const onnx::TypeProto& type, DeclaredInput& declared) {
  if (type.has_sequence_type()) {
    declared.sequence = true;
    return declare_parts(type.sequence_type().elem_type(), declared);
  }
  onnx::ValueInfoProto& tensor = declared.tensors.emplace_back();
  tensor.set_name(std::string(declared.name));
  *tensor.mutable_type() = type;
}

void Signature::check_options_of(const onnx::ValueInfoProto& input) const {
  const bool optional = input.type().has_optional_type();
  const onnx::TypeProto& type = optional ? input.type().optional_type().elem_type() : input.type();
  if (options_.lengths.contains(input.name()) && !type.has_sequence_type())
    throw Error(Fault::Usage, "--length gives it parts, it is no sequence");
  if (options_.present.contains(input.name()) && !optional)
    throw Error(Fault::Usage, "--optional names it, it is no optional");
}

DeclaredInput Signature::declare(const onnx::ValueInfoProto& input) {
  DeclaredInput declared{input.name()};
  inputs_.insert(input.name());
  try {
    check_options_of(input);
    declared.optional = input.type().has_optional_type();
    if (!declared.optional)
      declare_type(input.type(), declared);
    else if (is_present(input.name()))
      declare_type(input.type().optional_type().elem_type(), declared);
  } catch (const Error& error) {
    report_.error(fmt::format("input {}: {}", shown(input.name()), error.what()), error.fault);
    declared.failed = true;
  }
  return declared;
}

// A shape given for a sequence is that of each part that has none of its own.
const std::vector<int64_t>* Signature::wanted_shape(const std::string& input) const {
  auto found = options_.shapes.find(input);
  if (found != options_.shapes.end()) return &found->second;
  auto sequence = sequence_of_.find(input);
  return sequence == sequence_of_.end() ? nullptr : wanted_shape(sequence->second);
}

std::string Signature::symbol_name(const std::string& wanted) {
  std::string base = identifier(wanted), name = base;
  for (int& k = last_suffix_[base]; !taken_.insert(name).second;)
    name = fmt::format("{}_{}", base, k = std::max(k, 1) + 1);
  return name;
}

void Signature::collect(const onnx::ValueInfoProto& input) {
  inputs_.insert(input.name());
  const auto& shape = input.type().tensor_type().shape();
  const std::vector<int64_t>* wanted = wanted_shape(input.name());
  for (int i = 0; i < shape.dim_size(); ++i) {
    const std::string& name = shape.dim(i).dim_param();
    if (name.empty()) continue;
    if (!symbols_.contains(name)) symbols_[name] = symbol_name(name);
    if (!wanted || i >= static_cast<int>(wanted->size()) || (*wanted)[i] < 0) continue;
    auto [found, fresh] = fixed_.emplace(name, (*wanted)[i]);
    if (!fresh && found->second != (*wanted)[i]) {
      report_.error(fmt::format("--shape gives {} both {} and {}", shown(name), found->second, (*wanted)[i]),
                    Fault::Usage);
    }
  }
}

void Signature::finish_collecting() {
  const auto check_names = [&](const char* option, const auto& given) {
    for (const auto& [name, wanted] : given)
      if (!inputs_.contains(name))
        report_.error(fmt::format("{} names {}, which is no input of the model", option, shown(name)), Fault::Usage);
  };
  check_names("--shape", options_.shapes);
  check_names("--length", options_.lengths);
  check_names("--optional", options_.present);
}

Dim Signature::extent_of(const onnx::ValueInfoProto& input, int axis) {
  const Dimension& declared = input.type().tensor_type().shape().dim(axis);
  const std::vector<int64_t>* wanted = wanted_shape(input.name());
  int64_t fixed = wanted ? (*wanted)[axis] : -1;
  if (declared.has_dim_value() && declared.dim_value() != -1) {  // -1: some exporters' "unknown"
    if (declared.dim_value() < 0) fail("extent {} of axis {}", declared.dim_value(), axis);
    if (fixed >= 0 && fixed != declared.dim_value()) {
      throw Error(Fault::Usage,
                  fmt::format("--shape gives axis {} extent {}, the model {}", axis, fixed, declared.dim_value()));
    }
    return dims_.constant(declared.dim_value());
  }
  if (fixed >= 0) return dims_.constant(fixed);
  if (declared.dim_param().empty()) return dims_.symbol(symbol_name(fmt::format("{}_{}", input.name(), axis)));
  auto found = fixed_.find(declared.dim_param());
  return found != fixed_.end() ? dims_.constant(found->second) : dims_.symbol(symbols_.at(declared.dim_param()));
}

Type Signature::type_of(const onnx::ValueInfoProto& input) {
  std::string where = fmt::format("input {}: ", shown(input.name()));
  try {
    if (!input.has_type() || input.type().value_case() == onnx::TypeProto::VALUE_NOT_SET) fail("has no type");
    if (!input.type().has_tensor_type()) unsupported("inputs that are not tensors");
    const auto& tensor = input.type().tensor_type();
    std::optional<DType> dtype = dtype_of(tensor.elem_type());
    if (!dtype) fail("unknown data_type {}", tensor.elem_type());
    const std::vector<int64_t>* wanted = wanted_shape(input.name());
    if (!tensor.has_shape()) {
      if (!wanted) unsupported("its rank is not known; give its extents with --shape");
      Shape shape;
      for (size_t i = 0; i < wanted->size(); ++i) {
        int64_t extent = (*wanted)[i];
        shape.push_back(extent >= 0 ? dims_.constant(extent)
                                    : dims_.symbol(symbol_name(fmt::format("{}_{}", input.name(), i))));
      }
      return Type::tensor(*dtype, shape);
    }
    int rank = tensor.shape().dim_size();
    if (rank > kMaxRank) fail("rank {} exceeds {}", rank, kMaxRank);
    if (wanted && static_cast<int>(wanted->size()) != rank)
      throw Error(Fault::Usage, fmt::format("--shape gives {}, it has rank {}",
                                            counted(static_cast<int64_t>(wanted->size()), "extent"), rank));
    Shape shape;
    int64_t elements = 1;
    bool overflow = false;
    for (int i = 0; i < rank; ++i) {
      shape.push_back(extent_of(input, i));
      overflow |= __builtin_mul_overflow(elements, std::max<int64_t>(value_of(shape.back()).value_or(1), 1), &elements);
    }
    if (overflow || elements > kDimMax / 16) fail("element count overflows int64");
    return Type::tensor(*dtype, shape);
  } catch (const Error& error) {
    report_.error(where + error.what(), error.fault);
    return Type::error();
  }
}

void Signature::compare(const onnx::ValueInfoProto& declared, const Type& computed) {
  if (!declared.type().has_tensor_type() || computed.kind != Type::Kind::Tensor) return;
  const auto& tensor = declared.type().tensor_type();
  auto complain = [&](const std::string& what) {
    report_.error(
        fmt::format("value {} is declared {}, computed {}", shown(declared.name()), what, to_string(computed)));
  };
  if (tensor.elem_type() != 0 && tensor.elem_type() != static_cast<int>(computed.dtype)) {
    std::optional<DType> dtype = dtype_of(tensor.elem_type());
    return complain(dtype ? std::string(name_of(*dtype))
                          : fmt::format("with unknown data_type {}", tensor.elem_type()));
  }
  if (!tensor.has_shape()) return;
  if (tensor.shape().dim_size() != computed.rank())
    return complain(fmt::format("with rank {}", tensor.shape().dim_size()));
  for (int i = 0; i < computed.rank(); ++i) {
    const Dimension& extent = tensor.shape().dim(i);
    if (!extent.has_dim_value() || extent.dim_value() < 0) continue;
    std::optional<int64_t> known = value_of(computed.shape[i]);
    if (known && *known != extent.dim_value())
      return complain(fmt::format("with extent {} of axis {}", extent.dim_value(), i));
    if (!known)
      report_.warning(fmt::format("value {} is declared with extent {} of axis {}, computed {}", shown(declared.name()),
                                  extent.dim_value(), i, to_string(computed.shape[i])));
  }
}

}  // namespace lapidary::frontend
