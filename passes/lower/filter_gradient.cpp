// The gradient of a convolution by its weight.
#include "passes/lower/convolution.h"

namespace lapidary::lowering {

LoweredGroup lower_filter_gradient(Context& context, const Op& group) { return lower_plain(context, group); }

}  // namespace lapidary::lowering
