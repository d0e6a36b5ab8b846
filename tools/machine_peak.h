// What this machine can do at most, measured now: the denominators of "share of peak".
#pragma once

namespace lapidary::tools {

struct MachinePeak {
  double gflops;  // float32 fused multiply-adds of one core, registers only
  double gbytes;  // memory read by `threads` threads together
};
MachinePeak measure_peak(int threads);

}  // namespace lapidary::tools
