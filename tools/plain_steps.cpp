#include "tools/plain_steps.h"

#include <fmt/format.h>

#include <string_view>

#include "ir/loops.h"

namespace lapidary::tools {
namespace {

// TopK of "node 'top' (TopK, opset 11)"; steps of the compiler's own have none.
std::string operator_of(const std::string& origin) {
  const size_t begin = origin.rfind("' ("), end = origin.rfind(", opset ");
  if (begin == std::string::npos || end == std::string::npos || end < begin) return "the compiler's own";
  return origin.substr(begin + 3, end - begin - 3);
}

// attention of "node 'y' (Attention, opset 23), attention opened", or nothing.
std::string opened_composite_of(const std::string& origin) {
  constexpr std::string_view kBefore = "), ", kOpened = " opened";
  const size_t begin = origin.rfind(kBefore);
  if (begin == std::string::npos || !origin.ends_with(kOpened)) return "";
  const std::string made = origin.substr(begin + kBefore.size());
  return made.substr(0, made.size() - kOpened.size());
}

}  // namespace

void PlainSteps::add(const std::string& kernel, const std::string& origin) {
  ++steps_;
  if (const std::string name = opened_composite_of(origin); !name.empty()) opened_[name].insert(origin);
  if (loops::is_plain(kernel)) ++plain_, ++operators_[operator_of(origin)];
  if (loops::is_on_host(kernel)) ++on_host_, ++host_operators_[operator_of(origin)];
}

std::map<std::string, int> PlainSteps::opened_composites() const {
  std::map<std::string, int> counts;
  for (const auto& [name, origins] : opened_) counts[name] = static_cast<int>(origins.size());
  return counts;
}

std::string PlainSteps::text() const {
  const auto listed = [](const std::map<std::string, int>& operators) {
    std::string list;
    for (const auto& [name, steps] : operators) list += fmt::format("{}{} {}", list.empty() ? ": " : ", ", name, steps);
    return list;
  };
  std::string text =
      fmt::format("plain kernels, a thread for each task, for want of a schedule for GPUs: {} of {} steps{}\n", plain_,
                  steps_, listed(operators_));
  if (on_host_ > 0)
    text += fmt::format("kernels that the host runs, with copies of what they read and write: {} of {} steps{}\n",
                        on_host_, steps_, listed(host_operators_));
  if (!opened_.empty())
    text +=
        fmt::format("composites opened into steps that store what is between, for want of a tile that holds them{}\n",
                    listed(opened_composites()));
  return text;
}

}  // namespace lapidary::tools
