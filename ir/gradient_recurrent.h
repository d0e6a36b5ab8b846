// The gradient of recurrent layers whose cells have a closed form: back through time, with all that does not recur
// done for all steps at once. (Hochreiter and Schmidhuber 1997; Graves and Schmidhuber 2005.)
#pragma once

#include "ir/differentiate.h"

namespace lapidary {

// Of a composite `recurrent`: null where its body's own gradient must do, for cells other than lstm and told lengths.
GradientRule recurrent_rule(const Op&);

}  // namespace lapidary
