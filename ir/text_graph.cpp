// Prints modules; the grammar is sketched in text.h and read back by parse_graph.cpp. Values are numbered densely in
// order of definition, constants by their place among those that are used, so equal modules print equally.
#include <cmath>
#include <map>
#include <unordered_map>

#include "ir/error.h"
#include "ir/text.h"

namespace lapidary {

namespace {

std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (unsigned char c : text) {
    if (c == '"' || c == '\\') result += fmt::format("\\{}", static_cast<char>(c));
    else if (c < 0x20 || c >= 0x7f) result += fmt::format("\\x{:02x}", c);
    else result += static_cast<char>(c);
  }
  return result + "\"";
}

// A float that reads back to the same value and is never mistaken for an integer.
std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::string text = fmt::format("{}", value);
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

std::string scalar_text(const Scalar& scalar) {
  return is_float(scalar.dtype) ? float_text(scalar.number) : std::to_string(scalar.integer);
}

// FNV-1a of the source bytes: tells large constants apart in dumps.
uint64_t content_hash(const Constant& constant) {
  uint64_t hash = 0xcbf29ce484222325u;
  auto mix = [&](uint64_t word) { hash = (hash ^ word) * 0x100000001b3u; };
  if (const auto* bytes = std::get_if<ByteSource>(&constant.source)) {
    for (std::byte byte : bytes->bytes) mix(static_cast<uint64_t>(byte));
  } else if (const auto* seeded = std::get_if<Seeded>(&constant.source)) {
    mix(seeded->seed);
  }
  for (const Transform& transform : constant.transforms) {
    mix(static_cast<uint64_t>(transform.kind));
    for (int64_t axis : transform.axes) mix(static_cast<uint64_t>(axis));
    for (int64_t extent : transform.shape) mix(static_cast<uint64_t>(extent));
  }
  return hash;
}

class Printer {
 public:
  Printer(const Module* module, const PrintOptions& options) : module_(module), options_(options) {}

  std::string module() {
    std::string functions;
    for (const auto& function : module_->functions) functions += this->function(*function);
    std::string constants;
    for (uint32_t number = 0; number < order_.size(); ++number) constants += constant(number, order_[number]);
    std::string checks;
    for (const Check& check : module_->checks) checks += fmt::format("  check {} {}\n", to_string(check.must_hold), quoted(check.message));
    return fmt::format("module {} {{\n{}{}{}}}\n", quoted(module_->name), constants, checks, functions);
  }

  std::string op(const Op& op, const std::string& indent, bool bodies) {
    std::string line = indent;
    for (size_t i = 0; i < op.results.size(); ++i) line += (i ? ", %" : "%") + std::to_string(number(op.results[i].get()));
    if (!op.results.empty()) line += " = ";
    line += name_of(op.kind);
    for (size_t i = 0; i < op.operands.size(); ++i) line += (i ? ", %" : " %") + std::to_string(number(op.operands[i]));
    for (const auto& [name, value] : op.params.entries()) line += " " + name + "=" + param(value);
    for (size_t i = 0; i < op.results.size(); ++i) line += (i ? ", " : " : ") + to_string(op.results[i]->type);
    if (bodies) {
      for (const auto& region : op.regions) line += " {\n" + body(*region, indent + "  ") + indent + "}";
    }
    if (options_.origins && op.origin && module_) line += "  // " + printable(module_->origins[op.origin].node);
    return line;
  }

 private:
  std::string function(const Function& function) {
    std::string arguments, results;
    for (size_t i = 0; i < function.body->arguments.size(); ++i) {
      const Value& value = *function.body->arguments[i];
      arguments += fmt::format("{}%{} {}: {}", i ? ", " : "", number(&value), quoted(function.argument_names[i]), to_string(value.type));
    }
    for (size_t i = 0; i < function.result_names.size(); ++i) results += (i ? ", " : "") + quoted(function.result_names[i]);
    return fmt::format("  func {}({}) -> ({}) {{\n{}  }}\n", function.name, arguments, results, ops(*function.body, "    "));
  }

  std::string body(const Region& region, const std::string& indent) {
    std::string arguments;
    for (size_t i = 0; i < region.arguments.size(); ++i) {
      arguments += fmt::format("{}%{}: {}", i ? ", " : "", number(region.arguments[i].get()), to_string(region.arguments[i]->type));
    }
    return indent + "(" + arguments + ")\n" + ops(region, indent);
  }

  std::string ops(const Region& region, const std::string& indent) {
    std::string text;
    for (const Op& op : region.ops) text += this->op(op, indent, true) + "\n";
    return text;
  }

  uint32_t number(const Value* value) {
    if (!module_) return value->id;
    return numbers_.try_emplace(value, static_cast<uint32_t>(numbers_.size())).first->second;
  }

  std::string param(const ParamValue& value) {
    struct Visitor {
      Printer& printer;
      std::string operator()(int64_t v) { return std::to_string(v); }
      std::string operator()(double v) { return float_text(v); }
      std::string operator()(const std::string& v) { return quoted(v); }
      std::string operator()(const std::vector<int64_t>& v) { return fmt::format("[{}]", fmt::join(v, ", ")); }
      std::string operator()(Dim v) { return "(" + to_string(v) + ")"; }
      std::string operator()(const std::vector<Dim>& v) {
        std::string text;
        for (Dim dim : v) text += (text.empty() ? "" : ", ") + to_string(dim);
        return "{" + text + "}";
      }
      std::string operator()(DType v) { return std::string(name_of(v)); }
      std::string operator()(ConstantId v) { return "@" + std::to_string(printer.constant_number(v)); }
    };
    return std::visit(Visitor{*this}, value);
  }

  uint32_t constant_number(ConstantId id) {
    if (!module_) return static_cast<uint32_t>(id);
    auto [found, added] = constants_.try_emplace(id, static_cast<uint32_t>(order_.size()));
    if (added) order_.push_back(id);
    return found->second;
  }

  std::string constant(uint32_t number, ConstantId id) {
    const Constant& constant = module_->constants[id];
    std::string type = fmt::format("{}[{}]", name_of(constant.dtype), fmt::join(constant.shape, ", "));
    Scalar splat;
    std::string value;
    if (constant.dtype == DType::String) {
      value = "strings";
    } else if (module_->constants.is_splat(id, &splat)) {
      value = "splat " + scalar_text(splat);
    } else if (constant.elements() <= options_.max_constant_elements) {
      for (const Scalar& scalar : module_->constants.scalars_of(id)) value += (value.empty() ? "" : ", ") + scalar_text(scalar);
      value = "{" + value + "}";
    } else {
      value = fmt::format("bytes {} #{:016x}", constant.bytes(), content_hash(constant));
    }
    return fmt::format("  @{} = {} {}\n", number, type, value);
  }

  const Module* module_;
  PrintOptions options_;
  std::unordered_map<const Value*, uint32_t> numbers_;
  std::map<ConstantId, uint32_t> constants_;
  std::vector<ConstantId> order_;
};

}  // namespace

std::string print_module(const Module& module, const PrintOptions& options) { return Printer(&module, options).module(); }

std::string print_op(const Op& op) { return Printer(nullptr, {}).op(op, "", false); }

}  // namespace lapidary
