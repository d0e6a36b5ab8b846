#pragma once

#include <optional>

#include "passes/lower/family.h"

namespace lapidary::lowering {

// For any number of queries, best for few. Nothing where keys and values are not in rows of whole vectors.
std::optional<LoweredVariant> lower_attention_row(Context&, const Op& group, Dim when);

}  // namespace lapidary::lowering
