// The whole compile between importer and code generator, as one list: what runs, in which order, and why there.
// Passes are free functions (passes/graph, passes/lower); the runner below is the only place that calls them, so that
// skipping by name, timing, verifying and reporting are the same for all. Test: test/tools/dump_after.test.
#include "passes/pipeline.h"

#include <algorithm>
#include <chrono>

#include "ir/error.h"
#include "ir/verifier.h"
#include "passes/graph/graph_passes.h"
#include "passes/training.h"

namespace lapidary::passes {

const std::vector<Pass>& graph_passes() {
  static const std::vector<Pass> passes = {
      {"canonicalise", canonicalise, "one spelling of each expression, so that later passes match one form"},
      {"fold-quantization", fold_quantization,
       "products of quantised numbers on their codes; before weights and scales are folded into each other"},
      {"fold-constants", fold_constants, "small results are computed now, large ones become transforms of constants"},
      {"merge-equal", merge_equal, "equal ops on equal operands are computed once"},
      {"drop-dead", drop_dead, "what no result needs goes"},
      {"recognise-composites", recognise_composites,
       "GELU and normalisations get their names back from what exporters made of them"},
      {"recognise-attention", recognise_attention,
       "a product, a softmax and a product are one kernel that never stores the scores"},
      {"narrow-attention", narrow_attention,
       "tensor cores take 16-bit numbers as they are, before they were widened; once attention has its name"},
      {"open-attention", open_attention,
       "heads too wide for a GPU's tiles; once they are of 16 bits, before halves are widened"},
      {"split-top-k", split_top_k, "long lines are sorted by many blocks of a GPU; what reads the order is as it was"},
      {"fold-batch-norms", fold_batch_norms, "a scale and a shift of channels vanish into weights and bias"},
      {"merge-products", merge_products,
       "what is multiplied with several weights is, once, with all; scales are in the weights, biases still apart"},
      {"intern-strings", intern_strings, "strings are numbers of texts: kernels do not know them"},
      {"widen-subbytes", widen_subbytes, "2- and 4-bit numbers are computed in bytes: kernels do not know them"},
      {"widen-halves", widen_halves, "f16 and bf16 are computed in f32 and rounded: kernels know f32 alone"},
      {"drop-dead", drop_dead, "what those left behind goes"},
      {"nest-concats", nest_concats, "what a dense block has gathered so far begins what it gathers next"},
      {"form-groups", form_groups, "each group becomes one kernel: what can share a pass over memory does"},
      {"choose-layouts", choose_layouts,
       "images in channel blocks with halos, so that kernels load whole vectors and have no borders"},
      {"postpone-host-reads", postpone_host_reads,
       "what the host reads between kernels, all at once where it can; layouts may have added groups"},
      {"recompute", recompute, "a value that waits long is made again where memory is short; groups are what is made"},
      {"place-concats", place_concats, "parts of a concatenation are written where they belong"},
      {"order-states", order_states,
       "a state's new value is written over the old one; last, when groups stay as they are"},
  };
  return passes;
}

// With --train these of them run before all, and then the gradient is made: of a graph in which normalisations and the
// like have their names, whose gradients are better than their bodies'.
constexpr const char* kBeforeGradient[] = {"canonicalise", "fold-constants", "merge-equal", "drop-dead",
                                           "recognise-composites"};

const char* name_of(F32Products products) {
  return std::ranges::find(kF32Products, products, &F32ProductsName::products)->name;
}

namespace {

void check_well_formed(const Module& module, const std::string& pass) {
  std::vector<std::string> violations = verify(module);
  if (violations.empty()) return;
  std::string message = fmt::format("after pass '{}' the module is malformed:", pass);
  for (const std::string& line : violations) message += "\n  " + line;
  throw Error(Fault::Internal, message);
}

// `body` is true when it changed something.
template <typename Body>
void run_named(const char* name, Module& module, const Options& options, const Body& body) {
  auto start = std::chrono::steady_clock::now();
  const bool changed = body();
  std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  if (changed && options.verify) check_well_formed(module, name);
  if (options.after_pass) options.after_pass(name, seconds.count(), module);
}

void run_pass(const Pass& pass, Module& module, const Options& options) {
  run_named(pass.name, module, options, [&] { return pass.run(module, options); });
}

}  // namespace

const Pass& pass_named(const std::string& name) {
  std::string known;
  for (const Pass& pass : graph_passes()) {
    if (pass.name == name) return pass;
    if (known.find(pass.name) == std::string::npos) known += (known.empty() ? "" : ", ") + std::string(pass.name);
  }
  throw Error(Fault::Usage, fmt::format("no pass '{}'; there are {}", printable(name), known));
}

void run_passes(Module& module, const std::vector<std::string>& names, const Options& options) {
  for (const std::string& name : names) run_pass(pass_named(name), module, options);
}

train::TrainNotes run_training_passes(Module& module, const train::TrainOptions& train, const Options& options) {
  for (const char* name : kBeforeGradient) run_pass(pass_named(name), module, options);
  train::TrainNotes notes;
  run_named(kDifferentiate, module, options, [&] {
    notes = train::add_training(module, train);
    return true;
  });
  return notes;
}

void run_graph_passes(Module& module, const Options& options) {
  for (const std::string& name : options.skip) pass_named(name);
  for (const Pass& pass : graph_passes())
    if (std::ranges::find(options.skip, pass.name) == options.skip.end()) run_pass(pass, module, options);
}

namespace {

std::string outside_of_groups(const Region& body) {
  for (const Op& op : body.ops) {
    for (const auto& region : op.regions)
      if (std::string found = op.is_control() ? outside_of_groups(*region) : ""; !found.empty()) return found;
    if (!op.is(OpKind::Group) && !op.is(OpKind::Constant) && !op.is(OpKind::Yield) && !op.is(OpKind::ToHost) &&
        !op.is(OpKind::HostCall) && !op.is_control())
      return std::string(name_of(op.kind));
  }
  for (const Value* result : body.results())
    if (!result->producer || (!result->producer->is(OpKind::Group) && !result->producer->is(OpKind::HostCall)))
      return "result";
  return "";
}

}  // namespace

std::string outside_of_groups(const Module& module) {
  for (const auto& function : module.functions)
    if (std::string found = outside_of_groups(*function->body); !found.empty()) return found;
  return "";
}

}  // namespace lapidary::passes
