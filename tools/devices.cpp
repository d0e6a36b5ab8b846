// Memory, peak, bandwidth and board power: the vendors' data sheets and architecture white papers (NVIDIA's of Turing,
// GA102, A100, H100 SXM and H200 SXM; AMD's of the Radeon VII), reference boards at boost clock. Prices: RunPod's list
// of March 2026, the lower of its tiers; the A100's is that of the model with 80 GB. Cards it does not list have none.
#include "tools/devices.h"

namespace lapidary::tools {

std::span<const Device> device_table() {
  static constexpr Device kDevices[] = {
      // name           GB  TFLOP/s  GB/s   W  $/h
      {"RTX 2080 Ti", 11, 13.4, 616, 250, 0},         //
      {"RTX 3070", 8, 20.3, 448, 220, 0},             //
      {"RTX 3090", 24, 35.6, 936, 350, 0.22},         //
      {"Radeon VII", 16, 13.8, 1024, 300, 0},         //
      {"A100 40 GB SXM", 40, 19.5, 1555, 400, 1.39},  //
      {"H100 SXM", 80, 67, 3350, 700, 2.69},          //
      {"H200 SXM", 141, 67, 4800, 700, 3.59},
  };
  return kDevices;
}

}  // namespace lapidary::tools
