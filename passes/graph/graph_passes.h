// The passes over the Graph level. Each is a free function in the file of its name, listed in pipeline.cpp in the
// order they run and with the reason why; each says true when it changed something.
#pragma once

#include "passes/pipeline.h"

namespace lapidary::passes {

bool canonicalise(Module&, const Options&);
bool fold_quantization(Module&, const Options&);
bool fold_constants(Module&, const Options&);
bool merge_equal(Module&, const Options&);
bool drop_dead(Module&, const Options&);
bool recognise_composites(Module&, const Options&);
bool recognise_attention(Module&, const Options&);
bool narrow_attention(Module&, const Options&);
bool open_attention(Module&, const Options&);
bool split_top_k(Module&, const Options&);
bool fold_batch_norms(Module&, const Options&);
bool merge_products(Module&, const Options&);
bool intern_strings(Module&, const Options&);
bool widen_subbytes(Module&, const Options&);
bool widen_halves(Module&, const Options&);
bool nest_concats(Module&, const Options&);
bool form_groups(Module&, const Options&);
bool choose_layouts(Module&, const Options&);
bool postpone_host_reads(Module&, const Options&);
bool recompute(Module&, const Options&);
bool place_concats(Module&, const Options&);
bool order_states(Module&, const Options&);

}  // namespace lapidary::passes
