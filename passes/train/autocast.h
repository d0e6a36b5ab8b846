// Products in 16 bits: operands of contractions and convolutions are rounded to bf16 or f16 and their results widened
// again, so that gradients' products are as narrow, while parameters, sums and everything else stay f32.
#pragma once

#include "ir/graph.h"

namespace lapidary::train {

void narrow_products(Module&, Region&, DType);

}  // namespace lapidary::train
