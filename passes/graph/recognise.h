// The recognisers, one for each family of composites: given an op, the value that says the same by name, or null.
// They meet canonical form only (canonicalise.cpp), and the last op of an expression first.
#pragma once

#include "ir/graph_builder.h"
#include "passes/pipeline.h"

namespace lapidary::passes {

Value* recognise_gelu(GraphBuilder&, Op&, const Options&);  // recognise_gelu.cpp
// recognise_normalisation.cpp: layer_norm, rms_norm, softmax.
Value* recognise_normalisation(GraphBuilder&, Op&, const Options&);

}  // namespace lapidary::passes
