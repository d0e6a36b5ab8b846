// ONNX file → Module. All problems of a model are found in one go and collected; the module is usable only when
// nothing was. libonnx and protobuf are reached by this folder alone, and no header of theirs appears here.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "ir/error.h"
#include "ir/graph.h"

namespace lapidary::frontend {

struct ImportOptions {
  std::map<std::string, std::vector<int64_t>> shapes;  // --shape: fixes an input's extents (-1 keeps one symbolic)
  std::map<std::string, int64_t> lengths;              // --length: how many parts an input has that is a sequence
  std::map<std::string, bool> present;                 // --optional: whether an optional input has an element
  // Two functions instead of one: `run`, the model as it infers, and `train_step`, as it is while it trains, whose
  // results are the model's and the new values of its statistics. Parameters, the floating-point initializers but for
  // single numbers and what no operator takes a gradient of (scales of a Resize), are states of the module; so is the
  // number of the step, which `train_step` reads.
  bool training = false;
  // With training: a model that has training_info brings its own instead. `train_step` is its first algorithm together
  // with the model, `initialize` its first initialization, where that binds anything; of further ones `train_step_2` …
  // States are the initializers that those update.
  bool training_info = false;
  uint64_t seed = 0;  // with training: with another one, other random numbers while it trains
  int max_nesting = 100;
};

// Diagnostics' messages start with the file's name. Returns null exactly when diagnostics.failed().
std::unique_ptr<Module> import_model(const std::string& path, const ImportOptions&, Diagnostics&);

// Of a module as it was imported: did `train_step` come of training_info, so that it moves the parameters itself?
bool trains_itself(const Module&);

// The same for ONNX's text format (tests).
std::unique_ptr<Module> import_text(std::string_view text, const ImportOptions&, Diagnostics&);

}  // namespace lapidary::frontend
