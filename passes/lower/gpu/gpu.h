// How a GPU does what groups compute: the same families, other loops. Where a family has nothing here its kernel for a
// CPU serves, a task for a thread.
#pragma once

#include <functional>

#include "passes/lower/family.h"
#include "passes/lower/group_emitter.h"

namespace lapidary::lowering {
struct ConvForm;
}

namespace lapidary::lowering::gpu {

// As lowering::map_step: a thread for each four neighbouring elements, or for each.
LoweredStep map_step(Context&, const Op& group, const std::string& family, const Type& type,
                     const std::function<void(GroupEmitter&, const Coords&)>& element);

LoweredGroup lower_contraction(Context&, const Op& group);
LoweredGroup lower_convolution(Context&, const Op& group);
LoweredGroup lower_depthwise(Context&, const Op& group, const ConvForm&);  // and other groups
LoweredGroup lower_grouped_convolution(Context&, const Op& group, const ConvForm&);
LoweredGroup lower_pool(Context&, const Op& group);
LoweredGroup lower_pool_gradient(Context&, const Op& group);
LoweredGroup lower_reduction(Context&, const Op& group);
LoweredGroup lower_attention(Context&, const Op& group);
LoweredGroup lower_filter_gradient(Context&, const Op& group);
LoweredGroup lower_recurrent(Context&, const Op& group);
LoweredGroup lower_recurrent_gradient(Context&, const Op& group);
LoweredGroup lower_scan(Context&, const Op& group);
LoweredGroup lower_scatter(Context&, const Op& group);
LoweredGroup lower_top_k(Context&, const Op& group);
LoweredGroup lower_packed(Context&, const Op& group);
LoweredGroup lower_positions(Context&, const Op& group);

}  // namespace lapidary::lowering::gpu
