// The recognisers, one for each family of composites: given an op, the value that says the same by name, or null.
// They meet canonical form only (canonicalise.cpp), and the last op of an expression first.
#pragma once

#include "ir/graph_builder.h"

namespace lapidary::passes {

Value* recognise_gelu(GraphBuilder&, Op&);           // recognise_gelu.cpp
Value* recognise_normalisation(GraphBuilder&, Op&);  // recognise_normalisation.cpp: layer_norm, rms_norm, softmax

}  // namespace lapidary::passes
