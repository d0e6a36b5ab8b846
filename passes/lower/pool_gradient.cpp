// Which taps max_pool took, and its gradient.
#include "passes/lower/convolution.h"

namespace lapidary::lowering {

LoweredGroup lower_pool_gradient(Context& context, const Op& group) { return lower_plain(context, group); }

}  // namespace lapidary::lowering
