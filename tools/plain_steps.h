// Kernels that a GPU runs without a schedule of its own: as a CPU's task for a thread each (loops::is_plain). Nothing
// falls back to them in silence: a line says how many steps do, and for which operators.
#pragma once

#include <map>
#include <string>

namespace lapidary::tools {

class PlainSteps {
 public:
  void add(bool plain, const std::string& origin);  // "node 'top' (TopK, opset 11)"
  // "plain kernels, a thread for each task, for want of a schedule for GPUs: 3 of 57 steps: NonZero 2, TopK 1\n"
  std::string text() const;
  const std::map<std::string, int>& operators() const { return operators_; }  // steps of each

 private:
  int steps_ = 0, plain_ = 0;
  std::map<std::string, int> operators_;
};

}  // namespace lapidary::tools
