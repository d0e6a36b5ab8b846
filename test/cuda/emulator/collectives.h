// Barriers, shuffles, votes.
#pragma once

#include "test/cuda/emulator/scheduler.h"

#pragma GCC visibility push(hidden)  // each shared object of kernels has its own
namespace emulator {

// The last of `expected` threads to arrive calls act(), and all go on.
template <class Act>
void meet(Meeting& meeting, unsigned expected, Site site, bool one_place, const Act& act) {
  if (meeting.arrived == 0) meeting.site = site;
  if (one_place && !(meeting.site == site)) {
    char text[384];
    std::snprintf(text, sizeof text, "meets at %s:%d while others are at %s:%d", site.file, site.line,
                  meeting.site.file, meeting.site.line);
    fail(text);
  }
  if (++meeting.arrived < expected) return wait_for(meeting, site);
  act();
  meeting.arrived = 0;
  ++meeting.generation;
}

// All lanes of a warp: act(arguments) sees what each of them brought, lane by lane.
template <class Argument, class Act>
void meet_warp(Argument& argument, unsigned expected, Site site, const Act& act) {
  Block& block = *current_block;
  const Thread& thread = *block.running;
  Meeting& warp = block.warps[thread.number / 32];
  warp.arguments[thread.lane] = &argument;
  meet(warp, expected, site, true, [&] { act(reinterpret_cast<Argument**>(warp.arguments)); });
}

inline unsigned lanes_of_warp() {
  const Block& block = *current_block;
  return std::min<unsigned>(32, unsigned(block.threads.size()) - block.running->number / 32 * 32);
}

template <class T>
T shuffle(T value, unsigned from, Site site) {
  struct Argument {
    T given, taken;
    unsigned from;
  } argument{value, value, from};
  const unsigned lanes = lanes_of_warp();
  if (from >= lanes) fail("takes a value from a lane that its warp does not have");
  meet_warp(argument, lanes, site, [&](Argument** all) {
    for (unsigned i = 0; i < lanes; ++i) all[i]->taken = all[all[i]->from]->given;
  });
  return argument.taken;
}

}  // namespace emulator
#pragma GCC visibility pop

inline void barrier(EMULATOR_CALLED_AT) {
  emulator::meet(emulator::current_block->barriers[0], emulator::current_block->unfinished, {file, line}, true, [] {});
}
// Of `threads` threads of the block, whole warps, wherever they stand; `number` is 1 to 15.
inline void barrier(unsigned number, unsigned threads, EMULATOR_CALLED_AT) {
  if (number == 0 || number >= emulator::kNamedBarriers || threads % 32) emulator::fail("no such barrier");
  emulator::meet(emulator::current_block->barriers[number], threads, {file, line}, false, [] {});
}
inline void sync_warp(EMULATOR_CALLED_AT) {
  char nothing = 0;
  emulator::meet_warp(nothing, emulator::lanes_of_warp(), {file, line}, [](char**) {});
}
inline bool any_lane(bool x, EMULATOR_CALLED_AT) {
  struct Argument {
    bool given, any;
  } argument{x, false};
  const unsigned lanes = emulator::lanes_of_warp();
  emulator::meet_warp(argument, lanes, {file, line}, [&](Argument** all) {
    for (unsigned i = 0; i < lanes * lanes; ++i) all[i / lanes]->any |= all[i % lanes]->given;
  });
  return argument.any;
}
template <class T>
T shuffle_xor(T value, unsigned mask, EMULATOR_CALLED_AT) {
  return emulator::shuffle(value, emulator::current_block->running->lane ^ mask, {file, line});
}
template <class T>
T shuffle_from(T value, unsigned lane, EMULATOR_CALLED_AT) {
  return emulator::shuffle(value, lane, {file, line});
}
