// What a product exports: its model's name in front, and the function of runtime/ behind it. Those of the model as a
// whole are bound to it, so that a user never holds the model itself.
#pragma once

#include <array>

namespace lapidary::codegen::host {

struct Export {
  const char *name, *function;  // NAME_<name>
};
inline constexpr std::array kExports = {
    Export{"abi_version", "lpd_abi_version"},
    Export{"missing_cpu_feature", "lpd_product_missing_cpu_feature"},
    Export{"input_count", "lpd_product_input_count"},
    Export{"output_count", "lpd_product_output_count"},
    Export{"describe", "lpd_product_describe"},
    Export{"symbols", "lpd_product_symbols"},
    Export{"arena_bytes", "lpd_product_arena_bytes"},
    Export{"workspace_bytes", "lpd_product_workspace_bytes"},
    Export{"create", "lpd_product_create"},
    Export{"destroy", "lpd_destroy"},
    Export{"error", "lpd_error"},
    Export{"bind", "lpd_bind"},
    Export{"entry_index", "lpd_product_entry_index"},
    Export{"run", "lpd_run"},
    Export{"wait", "lpd_wait"},
    Export{"output", "lpd_output"},
    Export{"state_count", "lpd_product_state_count"},
    Export{"state_describe", "lpd_product_state_describe"},
    Export{"state_get", "lpd_state_get"},
    Export{"state_set", "lpd_state_set"},
    Export{"save", "lpd_save"},
    Export{"load", "lpd_load"},
    Export{"profile", "lpd_profile"},
    Export{"profile_enable", "lpd_profile_enable"},
    Export{"profile_count", "lpd_profile_count"},
};

}  // namespace lapidary::codegen::host
