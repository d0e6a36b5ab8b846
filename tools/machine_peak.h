// What this machine can do at most, measured now: the denominators of "share of peak". Of a GPU it is not: 0.
#pragma once

namespace lapidary::tools {

struct MachinePeak {
  double gflops = 0;  // float32 fused multiply-adds of one core, registers only
  double gbytes = 0;  // memory read by `threads` threads together
};
MachinePeak measure_peak(int threads);

}  // namespace lapidary::tools
