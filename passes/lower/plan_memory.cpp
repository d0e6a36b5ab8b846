#include "passes/lower/plan_memory.h"

#include <algorithm>
#include <map>

#include "passes/lower/iteration_space.h"

namespace lapidary::lowering {

namespace {

constexpr int64_t kAlignment = 64;

bool lives_meet(const ArenaBuffer& a, const ArenaBuffer& b) {
  return a.first_step <= b.last_step && b.first_step <= a.last_step;
}

struct Monomial {
  int64_t coefficient;  // a multiple of the alignment
  Dim atoms;            // 1 for constants
};

// bytes <= coefficient · atoms, or nothing when bytes is a sum, may be negative, or rounding its coefficient to whole
// lines would waste more than a sixteenth: 4·N·S would become 64·N·S.
std::optional<Monomial> as_monomial(DimPool& dims, Dim bytes) {
  if (range(bytes).lo < 0 || bytes->kind == DimKind::Sum) return {};
  int64_t coefficient = 1;
  if (auto known = value_of(bytes))
    coefficient = *known;
  else if (bytes->kind == DimKind::Product)
    coefficient = bytes->constant;
  if (coefficient < 0) return {};
  Dim atoms = value_of(bytes) ? dims.constant(1) : dims.floordiv(bytes, dims.constant(coefficient));
  const int64_t rounded = (coefficient + kAlignment - 1) / kAlignment * kAlignment;
  if (!value_of(bytes) && rounded - coefficient > coefficient / 16) return {};
  return Monomial{rounded, atoms};
}

// Offsets of buffers of known sizes; returns the peak.
int64_t pack(const std::vector<ArenaBuffer*>& buffers, const std::vector<int64_t>& sizes,
             std::vector<int64_t>& offsets) {
  std::vector<size_t> order(buffers.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return sizes[a] > sizes[b]; });
  offsets.assign(buffers.size(), 0);
  std::vector<size_t> placed;  // sorted by offset
  int64_t peak = 0;
  for (size_t i : order) {
    int64_t offset = 0;
    for (size_t other : placed) {
      if (!lives_meet(*buffers[i], *buffers[other])) continue;
      if (offset + sizes[i] <= offsets[other]) break;
      offset = std::max(offset, offsets[other] + sizes[other]);
    }
    offsets[i] = offset;
    peak = std::max(peak, offset + sizes[i]);
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), i, [&](size_t a, size_t b) { return offsets[a] < offsets[b]; }),
        i);
  }
  return peak;
}

struct Slot {
  Dim size;
  std::vector<ArenaBuffer*> members;
};

// The free slot whose size is nearest, or a new one.
Slot& choose_slot(DimPool& dims, std::vector<Slot>& slots, const ArenaBuffer& buffer) {
  Slot* best = nullptr;
  const auto distance = [&](const Slot& slot) { return std::abs(guess(slot.size) - guess(buffer.bytes)); };
  for (Slot& slot : slots) {
    const bool free =
        std::ranges::none_of(slot.members, [&](const ArenaBuffer* other) { return lives_meet(*other, buffer); });
    if (free && (!best || distance(slot) < distance(*best))) best = &slot;
  }
  if (best) return *best;
  slots.push_back({dims.constant(0), {}});
  return slots.back();
}

// Registers whose lives do not meet share a slot.
void share_registers(EntryPoint& entry) {
  std::vector<std::vector<const Register*>> slots;
  for (Register& reg : entry.registers) {
    const auto free = std::ranges::find_if(slots, [&](const auto& members) {
      return std::ranges::none_of(members, [&](const Register* other) {
        return reg.first_step <= other->last_step && other->first_step <= reg.last_step;
      });
    });
    reg.slot = static_cast<uint32_t>(free - slots.begin());
    if (free == slots.end()) slots.emplace_back();
    slots[reg.slot].push_back(&reg);
  }
  entry.register_slots = static_cast<uint32_t>(slots.size());
}

}  // namespace

void plan_memory(DimPool& dims, EntryPoint& entry) {
  share_registers(entry);
  struct Class {
    Dim atoms;
    std::vector<ArenaBuffer*> buffers;
    std::vector<int64_t> sizes;
  };
  std::vector<Class> classes;
  std::vector<Slot> slots;
  for (ArenaBuffer& buffer : entry.arena) {
    const auto monomial = as_monomial(dims, buffer.bytes);
    if (!monomial) {
      Slot& slot = choose_slot(dims, slots, buffer);
      slot.members.push_back(&buffer);
      slot.size = dims.max(slot.size, buffer.bytes);
      continue;
    }
    auto found = std::ranges::find(classes, monomial->atoms, &Class::atoms);
    if (found == classes.end()) found = classes.insert(classes.end(), {monomial->atoms, {}, {}});
    found->buffers.push_back(&buffer);
    found->sizes.push_back(monomial->coefficient);
  }
  Dim end = dims.constant(0);
  for (Class& members : classes) {
    std::vector<int64_t> offsets;
    const int64_t peak = pack(members.buffers, members.sizes, offsets);
    for (size_t i = 0; i < offsets.size(); ++i)
      members.buffers[i]->offset = dims.add(end, dims.mul(dims.constant(offsets[i]), members.atoms));
    end = dims.add(end, dims.mul(dims.constant(peak), members.atoms));
  }
  for (Slot& slot : slots) {
    for (ArenaBuffer* buffer : slot.members) buffer->offset = end;
    Dim blocks = dims.ceildiv(slot.size, dims.constant(kAlignment));
    end = dims.add(end, dims.mul(blocks, dims.constant(kAlignment)));
  }
  entry.arena_bytes = end;
}

}  // namespace lapidary::lowering
