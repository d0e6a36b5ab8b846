// Prints modules; the grammar is sketched in text.h and read back by parse_graph.cpp. Values are numbered densely in
// order of definition, constants by their place among those that are used, so equal modules print equally.
//
// The normal form of Dims depends on the order in which their parts were made. So that reading makes the same ones, a
// module begins with its symbols, and the compound parts of the Dims in its text, in that order:
//
//   symbols N, S in 1..512
//   dims {(S + 3) floordiv 4, max(N, 4)}        // of (S + 3) floordiv 4 + max(N, 4)
#include <bit>
#include <cstring>
#include <map>
#include <unordered_map>

#include "ir/error.h"
#include "ir/lexer.h"
#include "ir/text.h"
#include "ir/text_constants.h"

namespace lapidary {

namespace {

std::string scalar_text(const Scalar& scalar) {
  if (scalar.dtype == DType::F64) return float_text(scalar.number);
  if (is_float(scalar.dtype)) return float_text(static_cast<float>(scalar.number));
  if (scalar.dtype == DType::U64) return std::to_string(static_cast<uint64_t>(scalar.integer));
  return std::to_string(scalar.integer);
}

// FNV-1a by words: tells large constants apart in dumps.
class Hash {
 public:
  void mix(uint64_t word) { value_ = (value_ ^ word) * 0x100000001b3u; }
  void mix(std::span<const std::byte> bytes) {
    size_t at = 0;
    for (uint64_t word; at + sizeof word <= bytes.size(); at += sizeof word) {
      std::memcpy(&word, bytes.data() + at, sizeof word);
      mix(word);
    }
    for (; at < bytes.size(); at++) mix(static_cast<uint64_t>(bytes[at]));
  }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xcbf29ce484222325u;
};

uint64_t content_hash(const ConstantTable&, ConstantId);

void mix_source(Hash& hash, const Constant& constant, const ConstantTable& constants) {
  if (const auto* bytes = std::get_if<ByteSource>(&constant.source)) hash.mix(bytes->bytes);
  if (const auto* splat = std::get_if<Splat>(&constant.source)) {
    hash.mix(std::bit_cast<uint64_t>(splat->value.number));
    hash.mix(static_cast<uint64_t>(splat->value.integer));
  }
  if (const auto* seeded = std::get_if<Seeded>(&constant.source)) {
    hash.mix(seeded->seed);
    hash.mix(std::bit_cast<uint64_t>(seeded->mean));
    hash.mix(std::bit_cast<uint64_t>(seeded->deviation));
  }
  if (const auto* joined = std::get_if<Joined>(&constant.source)) {
    hash.mix(static_cast<uint64_t>(joined->axis));
    for (ConstantId part : joined->parts) hash.mix(content_hash(constants, part));
  }
}

uint64_t content_hash(const ConstantTable& constants, ConstantId id) {
  const Constant& constant = constants[id];
  const auto* seeded = std::get_if<Seeded>(&constant.source);
  bool stands_in = seeded && seeded->mean == 0 && seeded->deviation == kStandInDeviation;
  if (stands_in && constant.transforms.empty()) return seeded->seed;  // read from a hash before
  Hash hash;
  mix_source(hash, constant, constants);
  for (const Transform& transform : constant.transforms) {
    hash.mix(static_cast<uint64_t>(transform.kind));
    hash.mix(static_cast<uint64_t>(transform.dtype));
    hash.mix(static_cast<uint64_t>(transform.block));
    hash.mix(std::as_bytes(std::span(transform.axes)));
    hash.mix(std::as_bytes(std::span(transform.shape)));
    if (transform.kind == Transform::Kind::Scale) hash.mix(content_hash(constants, transform.other));
  }
  return hash.value();
}

// The compound Dims for the first lines of a text: the operands of those whose normal form orders its operands.
class DimCollector {
 public:
  void add(Dim dim) {
    if (!seen_.insert({dim->id, dim}).second) return;
    for (Dim operand : dim->operands) {
      add(operand);
      if (has_order(dim->kind) && !is_leaf(operand) && (is_extremum(dim->kind) || !is_sum(operand))) {
        kept_.insert({operand->id, operand});
      }
    }
  }
  void add(const Type& type) {
    for (Dim extent : type.shape) add(extent);
    if (type.layout.leading) add(type.layout.leading);
    if (type.element) add(*type.element);
  }
  void add(const Params& params) {
    for (const auto& [name, value] : params.entries()) {
      if (const Dim* dim = std::get_if<Dim>(&value)) add(*dim);
      if (const auto* dims = std::get_if<std::vector<Dim>>(&value)) {
        for (Dim dim : *dims) add(dim);
      }
    }
  }
  void add(const Region& region) {
    for (const auto& argument : region.arguments) add(argument->type);
    for (const Op& op : region.ops) {
      add(op.params);
      for (const auto& result : op.results) add(result->type);
      for (const auto& inner : op.regions) add(*inner);
    }
  }
  std::vector<std::string> texts() const {  // in order of creation
    std::vector<std::string> result;
    for (const auto& [id, dim] : kept_) result.push_back(to_string(dim));
    return result;
  }

 private:
  static bool is_extremum(DimKind kind) { return kind == DimKind::Min || kind == DimKind::Max; }
  static bool has_order(DimKind kind) {
    return is_extremum(kind) || kind == DimKind::Sum || kind == DimKind::Product || kind == DimKind::Equal ||
           kind == DimKind::Less;
  }
  static bool is_sum(Dim dim) { return dim->kind == DimKind::Sum || dim->kind == DimKind::Product; }
  static bool is_leaf(Dim dim) { return dim->operands.empty(); }

  std::map<uint32_t, Dim> seen_, kept_;
};

std::string symbol_text(Dim symbol) {
  Interval interval = range(symbol);
  if (interval == kSymbolInterval) return to_string(symbol);
  return fmt::format("{} in {}..{}", to_string(symbol), interval.lo, interval.hi);
}

// The elements that to_host ops within some interval name, as texts, in order.
void collect_elements(const Region& region, std::vector<std::string>& texts, bool& any) {
  for (const Op& op : region.ops) {
    any |= op.is(OpKind::ToHost);
    if (op.is(OpKind::ToHost) && (op.params.has("lo") || op.params.has("hi")))
      for (Dim element : op.result()->elements)
        texts.push_back(fmt::format("{} in {}..{}", to_string(element), range(element).lo, range(element).hi));
    for (const auto& inner : op.regions) collect_elements(*inner, texts, any);
  }
}

class Printer {
 public:
  Printer(const Module* module, const PrintOptions& options) : module_(module), options_(options) {}

  std::string module() {
    const std::string dims = this->dims();
    std::string functions;
    for (const auto& function : module_->functions) functions += this->function(*function);
    std::string states, constants;
    for (const State& state : module_->states)
      states +=
          fmt::format("  state {} {} = @{}\n", name_of(state.kind), quote(state.name), constant_number(state.initial));
    for (uint32_t number = 0; number < order_.size(); ++number) constants += constant(number, order_[number]);
    return fmt::format("module {} {{\n{}{}{}{}{}}}\n", quote(module_->name), dims, constants, states, checks(),
                       functions);
  }

  std::string op(const Op& op, const std::string& indent, bool bodies) {
    std::string line = indent;
    for (size_t i = 0; i < op.results.size(); ++i)
      line += (i ? ", %" : "%") + std::to_string(number(op.results[i].get()));
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
  std::string dims() {
    DimCollector collector;
    for (const Check& check : module_->checks) collector.add(check.must_hold);
    for (const auto& function : module_->functions) collector.add(*function->body);
    std::vector<std::string> symbols, compound = collector.texts();
    for (Dim symbol : module_->dims.symbols()) symbols.push_back(symbol_text(symbol));
    std::string text;
    if (!symbols.empty()) text += fmt::format("  symbols {}\n", fmt::join(symbols, ", "));
    std::vector<std::string> elements;
    for (const auto& function : module_->functions) collect_elements(*function->body, elements, keeps_ids_);
    if (!elements.empty()) text += fmt::format("  elements {}\n", fmt::join(elements, ", "));
    if (!compound.empty()) text += fmt::format("  dims {{{}}}\n", fmt::join(compound, ", "));
    return text;
  }

  std::string checks() {
    std::string text;
    for (const Check& check : module_->checks) {
      text += fmt::format("  check {}: {}\n", quote(check.message), to_string(check.must_hold));
    }
    return text;
  }

  std::string function(const Function& function) {
    std::string arguments, results;
    for (size_t i = 0; i < function.body->arguments.size(); ++i) {
      const Value& value = *function.body->arguments[i];
      arguments += fmt::format("{}%{} {}{}: {}", i ? ", " : "", number(&value), quote(function.argument_names[i]),
                               function.state_of_argument(i) < 0 ? "" : " state", to_string(value.type));
    }
    for (size_t i = 0; i < function.result_names.size(); ++i)
      results += fmt::format("{}{}{}", i ? ", " : "", quote(function.result_names[i]),
                             function.state_of_result(i) < 0 ? "" : " state");
    return fmt::format("  func {}({}) -> ({}) {{\n{}  }}\n", function.name, arguments, results,
                       ops(*function.body, "    "));
  }

  std::string body(const Region& region, const std::string& indent) {
    std::string arguments;
    for (size_t i = 0; i < region.arguments.size(); ++i) {
      arguments += fmt::format("{}%{}: {}", i ? ", " : "", number(region.arguments[i].get()),
                               to_string(region.arguments[i]->type));
    }
    return indent + "(" + arguments + ")\n" + ops(region, indent);
  }

  std::string ops(const Region& region, const std::string& indent) {
    std::string text;
    for (const Op& op : region.ops) text += this->op(op, indent, true) + "\n";
    return text;
  }

  // Values are numbered as they come, but where Dims speak of them by their ids.
  uint32_t number(const Value* value) {
    if (!module_ || keeps_ids_) return value ? value->id : UINT32_MAX;  // a message may be about a missing operand
    return numbers_.try_emplace(value, static_cast<uint32_t>(numbers_.size())).first->second;
  }

  std::string param(const ParamValue& value) {
    struct Visitor {
      Printer& printer;
      std::string operator()(int64_t v) { return std::to_string(v); }
      std::string operator()(double v) { return float_text(v); }
      std::string operator()(const std::string& v) { return quote(v); }
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
    return fmt::format("  @{} = {} {}\n", number, type, constant_value(constant, id));
  }

  std::string constant_value(const Constant& constant, ConstantId id) {
    if (constant.dtype == DType::String) {
      std::vector<std::string> texts = module_->constants.strings_of(id);
      for (std::string& text : texts) text = quote(text);
      return fmt::format("{{{}}}", fmt::join(texts, ", "));
    }
    Scalar splat;
    if (module_->constants.is_splat(id, &splat)) return "splat " + scalar_text(splat);
    bool plain = is_float(constant.dtype) || is_integer(constant.dtype) || constant.dtype == DType::Bool;
    if (!plain || constant.elements() > options_.max_constant_elements) {
      return fmt::format("bytes {} #{:016x}", constant.bytes(), content_hash(module_->constants, id));
    }
    std::vector<std::string> elements;
    for (const Scalar& scalar : module_->constants.scalars_of(id)) elements.push_back(scalar_text(scalar));
    return fmt::format("{{{}}}", fmt::join(elements, ", "));
  }

  const Module* module_;
  bool keeps_ids_ = false;
  PrintOptions options_;
  std::unordered_map<const Value*, uint32_t> numbers_;
  std::map<ConstantId, uint32_t> constants_;
  std::vector<ConstantId> order_;
};

}  // namespace

std::string print_module(const Module& module, const PrintOptions& options) {
  return Printer(&module, options).module();
}

std::string print_op(const Op& op) { return Printer(nullptr, {}).op(op, "", false); }

}  // namespace lapidary
