// Independent pieces of work, handed out to threads one by one.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <thread>
#include <vector>

namespace lapidary::codegen {

// work(state, i) for i below count, on `jobs` threads, each with make_state()'s result for its own; the first failure,
// by index, is thrown again here.
template <typename MakeState, typename Work>
void on_threads(int jobs, size_t count, MakeState make_state, Work work) {
  std::atomic<size_t> next{0};
  std::vector<std::exception_ptr> failures(count);
  const auto loop = [&] {
    const auto state = make_state();
    for (size_t i = next++; i < count; i = next++) {
      try {
        work(state, i);
      } catch (...) { failures[i] = std::current_exception(); }
    }
  };
  std::vector<std::jthread> helpers;
  for (size_t i = 1; i < std::min<size_t>(static_cast<size_t>(std::max(jobs, 1)), count); i++)
    helpers.emplace_back(loop);
  loop();
  helpers.clear();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace lapidary::codegen
