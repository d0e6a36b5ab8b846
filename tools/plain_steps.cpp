#include "tools/plain_steps.h"

#include <fmt/format.h>

namespace lapidary::tools {
namespace {

// Of "node 'top' (TopK, opset 11)"; steps of the compiler's own have none.
std::string operator_of(const std::string& origin) {
  const size_t begin = origin.rfind("' ("), end = origin.rfind(", opset ");
  if (begin == std::string::npos || end == std::string::npos || end < begin) return "the compiler's own";
  return origin.substr(begin + 3, end - begin - 3);
}

}  // namespace

void PlainSteps::add(bool plain, const std::string& origin) {
  ++steps_;
  if (!plain) return;
  ++plain_;
  ++operators_[operator_of(origin)];
}

std::string PlainSteps::text() const {
  std::string list;
  for (const auto& [name, steps] : operators_) list += fmt::format("{}{} {}", list.empty() ? ": " : ", ", name, steps);
  return fmt::format("plain kernels, a thread for each task, for want of a schedule for GPUs: {} of {} steps{}\n",
                     plain_, steps_, list);
}

}  // namespace lapidary::tools
