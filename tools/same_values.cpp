#include "tools/same_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "ir/check_tensors.h"
#include "ir/error.h"
#include "ir/program_interpreter.h"

namespace lapidary::tools {

namespace {

// Values of the first, second, … symbol of a module.
constexpr int64_t kSymbolValues[][4] = {{1, 1, 1, 1}, {2, 3, 5, 7}, {17, 17, 17, 17}, {33, 4, 21, 6}, {0, 0, 0, 0}};
constexpr double kTolerance = 1e-5;         // of passes, in float64: constants they compute are rounded
constexpr double kLoweredTolerance = 1e-4;  // of kernels in float32
const InterpreterOptions kExact{.round = false, .on_op = {}};

using Symbols = std::map<Dim, int64_t>;

Symbols symbol_values(const DimPool& dims, const int64_t (&values)[4]) {
  Symbols symbols;
  for (Dim symbol : dims.symbols()) {
    const Interval allowed = range(symbol);
    symbols.emplace(symbol, std::clamp(values[symbols.size() % 4], allowed.lo, allowed.hi));
  }
  return symbols;
}

std::string text_of(const DimPool& dims, const Symbols& symbols) {
  std::string text;
  for (Dim symbol : dims.symbols())
    text += fmt::format("{}{}={}", text.empty() ? "" : ", ", to_string(symbol), symbols.at(symbol));
  return text.empty() ? "" : " with " + text;
}

std::vector<Tensor> random_inputs(const Function& function, const Symbols& symbols) {
  std::vector<Tensor> inputs;
  for (const auto& argument : function.body->arguments) {
    std::vector<int64_t> shape;
    for (Dim dim : argument->type.shape) {
      const auto extent = evaluate(dim, [&](Dim leaf) -> std::optional<int64_t> { return symbols.at(leaf); });
      if (!extent || *extent < 0) throw Error(Fault::Input, fmt::format("an input has extent {}", to_string(dim)));
      shape.push_back(*extent);
    }
    inputs.push_back(random_tensor(argument->type.dtype, shape, inputs.size() + 1, 2));
  }
  return inputs;
}

}  // namespace

SameValues::SameValues(const Module& module) {
  for (const auto& function : module.functions) add_runs(module, *function);
}

void SameValues::add_runs(const Module& module, const Function& function) {
  const size_t before = runs_.size();
  std::string refusal;
  for (const auto& values : kSymbolValues) {
    const Symbols symbols = symbol_values(module.dims, values);
    try {
      std::vector<Tensor> inputs = random_inputs(function, symbols);
      std::vector<Tensor> exact = interpret(module, function, inputs, kExact),
                          rounded = interpret(module, function, inputs);
      runs_.push_back(
          {function.name, text_of(module.dims, symbols), std::move(inputs), std::move(exact), std::move(rounded)});
    } catch (const Error& error) {
      if (error.fault != Fault::Input) throw;
      refusal = error.what();
    }
    if (symbols.empty()) break;
  }
  if (runs_.size() == before)
    throw Error(Fault::Input, fmt::format("function '{}' does not run: {}", function.name, refusal));
}

void SameValues::expect(const Module& module, const std::string& when) const {
  for (const Run& run : runs_) {
    const std::string found =
        difference(run.exact, interpret(module, *module.function(run.function), run.inputs, kExact), kTolerance);
    if (!found.empty())
      throw Error(Fault::Internal, fmt::format("{}, function '{}'{}: {}", when, run.function, run.symbols, found));
  }
}

void SameValues::expect(const Program& program) const {
  for (const Run& run : runs_) {
    const auto entry = std::ranges::find(program.entries, run.function, &EntryPoint::name);
    const std::string found = difference(run.rounded, interpret(program, *entry, run.inputs), kLoweredTolerance);
    if (!found.empty())
      throw Error(Fault::Internal, fmt::format("lowered, function '{}'{}: {}", run.function, run.symbols, found));
  }
}

}  // namespace lapidary::tools
