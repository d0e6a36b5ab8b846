// What --train does to a module before the graph passes: the list is in pipeline.cpp.
#pragma once

#include "passes/pipeline.h"
#include "passes/train/train.h"

namespace lapidary::passes {

inline constexpr const char* kDifferentiate =
    "differentiate";  // the last of these, as --dump-after and reports name it

train::TrainNotes run_training_passes(Module&, const train::TrainOptions&, const Options&);

}  // namespace lapidary::passes
