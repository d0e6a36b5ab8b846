#include "passes/lower/gather_rooms.h"

#include <algorithm>
#include <numeric>

namespace lapidary::lowering {

namespace {

bool makes_room(const Step& step) { return step.kind == StepKind::Reserve || step.kind == StepKind::Provide; }

// Ends of the runs of kernels and steps that make room, which no jump enters in the middle.
std::vector<uint32_t> ends_of_runs(const EntryPoint& entry) {
  const auto count = static_cast<uint32_t>(entry.steps.size());
  std::vector<bool> ends(count + 1, false);
  ends[count] = true;
  for (uint32_t i = 0; i < count; ++i) {
    const Step& step = entry.steps[i];
    if (jumps(step.kind)) ends[std::min(step.target, count)] = true;
    if (step.kind != StepKind::Kernel && !makes_room(step)) ends[i] = ends[i + 1] = true;
  }
  std::vector<uint32_t> result;
  for (uint32_t i = 1; i <= count; ++i)
    if (ends[i]) result.push_back(i);
  return result;
}

}  // namespace

void gather_rooms(EntryPoint& entry) {
  const auto count = static_cast<uint32_t>(entry.steps.size());
  std::vector<uint32_t> order(count), place(count);
  std::iota(order.begin(), order.end(), 0);
  uint32_t begin = 0;
  for (uint32_t end : ends_of_runs(entry)) {
    std::stable_partition(order.begin() + begin, order.begin() + end,
                          [&](uint32_t i) { return makes_room(entry.steps[i]); });
    begin = end;
  }
  std::vector<Step> steps;
  for (uint32_t i = 0; i < count; ++i) {
    place[order[i]] = i;
    steps.push_back(std::move(entry.steps[order[i]]));
  }
  entry.steps = std::move(steps);
  const auto move = [&](auto& life) {
    if (life.first_step >= count) return;
    const uint32_t last = std::min(life.last_step, count - 1);  // a life may last beyond the steps: to the end
    uint32_t first = life.first_step;
    while (first < last && makes_room(entry.steps[place[first]])) ++first;
    life.first_step = place[first];
    if (life.last_step < count) life.last_step = place[life.last_step];
  };
  std::ranges::for_each(entry.arena, move);
  std::ranges::for_each(entry.registers, move);
}

void keep_what_lives(EntryPoint& entry) {
  for (uint32_t i = 0; i < entry.steps.size(); ++i) {
    Step& step = entry.steps[i];
    if (step.kind != StepKind::Reserve) continue;
    const uint32_t own = step.buffers[0].index;
    for (uint32_t other = 0; other < entry.registers.size(); ++other) {
      const Register& reg = entry.registers[other];
      step.keep |= other != own && reg.slot == entry.registers[own].slot && reg.first_step <= i && reg.last_step >= i;
    }
  }
}

}  // namespace lapidary::lowering
