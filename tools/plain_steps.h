// Kernels that a GPU runs without a schedule of its own: as a CPU's task for a thread each (loops::is_plain). Nothing
// falls back to them in silence: a line says how many steps do, and for which operators; another, which kernels the
// host runs instead (loops::is_on_host); and one, which composites became steps of their parts, as no tile holds them.
#pragma once

#include <map>
#include <set>
#include <string>

namespace lapidary::tools {

class PlainSteps {
 public:
  void add(const std::string& kernel, const std::string& origin);  // "top_k plain", "node 'top' (TopK, opset 11)"
  // "plain kernels, a thread for each task, for want of a schedule for GPUs: 3 of 57 steps: NonZero 2, TopK 1\n"
  std::string text() const;
  const std::map<std::string, int>& operators() const { return operators_; }  // steps of each
  const std::map<std::string, int>& host_operators() const { return host_operators_; }
  std::map<std::string, int> opened_composites() const;  // how many of each

 private:
  int steps_ = 0, plain_ = 0, on_host_ = 0;
  std::map<std::string, int> operators_, host_operators_;
  std::map<std::string, std::set<std::string>> opened_;  // the origins of each composite's steps
};

}  // namespace lapidary::tools
