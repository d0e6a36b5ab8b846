#include "passes/lower/barriers.h"

namespace lapidary::lowering {

namespace {

struct Access {
  BufferRef buffer;
  bool written;
};

bool may_share_memory(const EntryPoint& entry, const BufferRef& a, const BufferRef& b) {
  if (a.base != b.base) return false;
  if (a.base == BufferRef::Base::None || a.base == BufferRef::Base::Weights || a.base == BufferRef::Base::Flag)
    return false;
  if (a.base == BufferRef::Base::Register && entry.registers[a.index].slot == entry.registers[b.index].slot)
    return true;
  if (a.index == b.index) return true;
  if (a.base != BufferRef::Base::Arena) return false;
  const ArenaBuffer &x = entry.arena[a.index], &y = entry.arena[b.index];
  const bool live_together = x.first_step <= y.last_step && y.first_step <= x.last_step;
  return !live_together;
}

std::vector<Access> accesses_of(const Program& program, const Step& step) {
  std::vector<Access> accesses;
  for (size_t i = 0; i < step.buffers.size(); ++i) {
    bool written = false;
    for (const Variant& variant : step.variants)
      written = written || program.kernels[variant.kernel].buffers[i]->written;
    accesses.push_back({step.buffers[i], written});
  }
  return accesses;
}

}  // namespace

void place_barriers(const Program& program, EntryPoint& entry) {
  std::vector<Access> since_barrier;
  const std::vector<bool> begins = region_begins(entry);
  for (size_t i = 0; i < entry.steps.size(); ++i) {
    Step& step = entry.steps[i];
    if (begins[i]) since_barrier.clear();  // nobody works between regions
    if (step.kind != StepKind::Kernel) continue;
    const std::vector<Access> accesses = accesses_of(program, step);
    bool conflict = false;
    for (const Access& before : since_barrier)
      for (const Access& now : accesses)
        conflict = conflict || ((before.written || now.written) && may_share_memory(entry, before.buffer, now.buffer));
    step.barrier_before = step.barrier_before && conflict;
    if (step.barrier_before) since_barrier.clear();
    since_barrier.insert(since_barrier.end(), accesses.begin(), accesses.end());
  }
}

}  // namespace lapidary::lowering
