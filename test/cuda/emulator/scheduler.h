// One block at a time: a thread runs until it has to wait, then another of its warp, and when the whole warp waits, the
// next warp. So warps run as far apart as barriers let them, and who forgot one is seen.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "test/cuda/emulator/async.h"
#include "test/cuda/emulator/fiber.h"

#pragma GCC visibility push(hidden)  // each shared object of kernels has its own
namespace emulator {

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  unsigned count() const { return x * y * z; }
  dim3 at(unsigned number) const { return {number % x, number / x % y, number / x / y}; }
};

// Where in a kernel's text a thread stands.
struct Site {
  const char* file;
  int line;
  bool operator==(const Site& other) const {
    return line == other.line && (file == other.file || std::strcmp(file, other.file) == 0);
  }
};
// The last parameters of what threads call together: where they call it.
#define EMULATOR_CALLED_AT const char *file = __builtin_FILE(), int line = __builtin_LINE()

// Threads meet, the last to arrive acts. A meeting is used over and over: the generation says which time it is.
struct Meeting {
  void* arguments[32];
  unsigned arrived = 0;
  uint64_t generation = 0;
  Site site{};
};

struct Copy {
  void* to;
  const void* from;
  unsigned bytes, bytes_of_zero, group;
};

enum class State { New, Started, Ended };

struct Thread {
  Context context;
  unsigned number = 0, lane = 0;
  unsigned place = 0, first_of_warp = 0, lanes_of_warp = 0;  // in the order in which threads run
  dim3 position;
  State state = State::New;
  char* stack = nullptr;
  const Meeting* waits_for = nullptr;  // if it waits: until that generation of it is over
  uint64_t generation = 0;
  Site waits_at{};
  std::vector<Copy> copies;
  unsigned group = 0;    // of copies that are being issued
  bool awaited = false;  // its turn

  bool can_run() const {
    return state == State::New || (state == State::Started && (!waits_for || waits_for->generation != generation));
  }
};

constexpr int kNamedBarriers = 16;

struct Block {
  dim3 position, threads_in_block, blocks;
  char* shared = nullptr;
  size_t shared_bytes = 0;
  Thread* running = nullptr;
  Context caller;  // of launch()
  std::vector<Thread> threads;
  std::vector<Thread*> order;  // warp by warp
  std::vector<Meeting> warps, warpgroups;
  Meeting barriers[kNamedBarriers];
  unsigned unfinished = 0;
  bool failed = false;
  void (*body)(const void*) = nullptr;
  const void* body_data = nullptr;
  bool is_first = true;
  Async async;
  std::map<uint32_t, Meeting> phases;  // of its barriers, by address: a generation each
};
// A plain pointer, so that looking at it costs no guard.
inline thread_local Block* current_block = nullptr;
inline thread_local std::string first_error;
// Cycles that loads of matrices lost because rows lay in the same banks; counts up over launches.
inline thread_local uint64_t bank_conflicts = 0;
inline Stacks& stacks() {
  static thread_local Stacks stacks;
  return stacks;
}

// Of a launch that starts early. It hides the device's memory from a thread that begins until that awaits its turn; in
// the first block alone, for it takes long.
inline thread_local void (*hide_memory)(bool) = nullptr;

// Ends the launch: does not return, and no thread goes on. (Not marked so: AddressSanitizer would look at the stack.)
inline void fail(const char* message) {
  Block& block = *current_block;
  char text[512];
  std::snprintf(text, sizeof text, "block (%u, %u, %u), thread %u: %s", block.position.x, block.position.y,
                block.position.z, block.running->number, message);
  if (first_error.empty()) first_error = text;
  block.failed = true;
  switch_context(block.running->context, block.caller);
}

inline void fail_deadlock() {
  const Block& block = *current_block;
  char text[384];
  int used = std::snprintf(text, sizeof text, "deadlock:");
  std::vector<std::pair<Site, unsigned>> places;
  for (const Thread& thread : block.threads) {
    if (thread.state != State::Started) continue;
    const auto found =
        std::find_if(places.begin(), places.end(), [&](const auto& p) { return p.first == thread.waits_at; });
    if (found == places.end())
      places.push_back({thread.waits_at, 1});
    else
      ++found->second;
  }
  for (const auto& [site, count] : places)
    if (used < int(sizeof text))
      used += std::snprintf(text + used, sizeof text - size_t(used), " %u threads wait at %s:%d,", count, site.file,
                            site.line);
  places = {};
  used = std::min(used, int(sizeof text) - 16);
  std::snprintf(text + used, sizeof text - size_t(used), " %u ended",
                unsigned(block.threads.size()) - block.unfinished);
  fail(text);
}

inline void begin_early(Thread& thread) {
  thread.awaited = !hide_memory;
  if (hide_memory && current_block->is_first) hide_memory(true);
}

inline void await_turn() {
  Thread& thread = *current_block->running;
  if (hide_memory && current_block->is_first && !thread.awaited) hide_memory(false);
  thread.awaited = true;
}

void run_threads();

inline void resume(Thread& thread) {
  Block& block = *current_block;
  if (thread.state == State::New) {
    thread.stack = stacks().take();
    thread.state = State::Started;
    const size_t colour = thread.number * 448 % 8192;  // tops of stacks would share sets of the cache
    prepare_context(thread.context, thread.stack, kStackBytes - 64 - colour, run_threads);
  }
  block.running = &thread;
}

// The thread that runs after one that waits or has ended: of its warp, else of the next ones. Null if all wait.
inline Thread* next_thread(const Thread& thread) {
  const Block& block = *current_block;
  const unsigned count = unsigned(block.order.size()), first = thread.first_of_warp, size = thread.lanes_of_warp;
  for (unsigned i = 1; i <= size; ++i) {
    Thread& other = *block.order[first + (thread.place - first + i) % size];
    if (other.can_run()) return &other;
  }
  for (unsigned i = size; i < count; ++i) {
    Thread& other = *block.order[(first + i) % count];
    if (other.can_run()) return &other;
  }
  return nullptr;
}

// Lets others run until the meeting is over.
__attribute__((noinline)) inline void wait_for(const Meeting& meeting, Site site) {
  Thread& thread = *current_block->running;
  if (!thread.awaited) fail("meets others before it awaits its turn");
  thread.waits_for = &meeting;
  thread.generation = meeting.generation;
  thread.waits_at = site;
  Thread* next = next_thread(thread);
  if (!next) return fail_deadlock();
  resume(*next);
  switch_context(thread.context, next->context);
  thread.waits_for = nullptr;
}

// After a meeting: those who waited for it run first, this thread goes on when it is its turn again.
inline void let_waiting_run(const Meeting& meeting) {
  Thread& thread = *current_block->running;
  for (Thread& other : current_block->threads)
    if (other.waits_for == &meeting && other.can_run()) {
      resume(other);
      return switch_context(thread.context, other.context);
    }
}

inline void end_thread(Thread& thread) {
  Block& block = *current_block;
  if (!thread.awaited) fail("started early and does not await its turn");
  if (!thread.copies.empty()) fail("ends while its copies to shared memory are under way");
  if (const char* left = block.async.left_by(thread.number, block.unfinished == 1)) fail(left);
  thread.state = State::Ended;
  --block.unfinished;
  Meeting& all = block.barriers[0];  // who has ended is not waited for
  if (all.arrived && all.arrived == block.unfinished) {
    all.arrived = 0;
    ++all.generation;
  }
}

// What a fiber runs: a thread, then on the same stack those after it that have not begun.
inline void run_threads() {
  for (;;) {
    Block& block = *current_block;
    Thread& thread = *block.running;
    begin_early(thread);
    block.body(block.body_data);
    end_thread(thread);
    Thread* next = next_thread(thread);
    if (next && next->state == State::New) {
      next->stack = thread.stack;
      next->state = State::Started;
      block.running = next;
      continue;
    }
    stacks().give(thread.stack);
    if (!next && block.unfinished) fail_deadlock();
    if (next) resume(*next);
    switch_context(thread.context, next ? next->context : block.caller);
  }
}

// A permutation: 0 forward, 1 backward, else shuffled by it.
inline std::vector<unsigned> permutation(unsigned count, unsigned order, unsigned salt) {
  std::vector<unsigned> result(count);
  for (unsigned i = 0; i < count; ++i) result[i] = order == 1 ? count - 1 - i : i;
  uint64_t state = (uint64_t(order) << 32) ^ salt;
  for (unsigned i = count; order > 1 && i > 1; --i) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    std::swap(result[i - 1], result[unsigned(state >> 33) % i]);
  }
  return result;
}

// Warps in one permutation, the threads of each in another.
inline void put_in_order(Block& block, unsigned order, unsigned salt) {
  const unsigned count = unsigned(block.threads.size());
  block.order.clear();
  for (unsigned warp : permutation(unsigned(block.warps.size()), order, salt)) {
    const unsigned first = unsigned(block.order.size()), lanes = std::min(32u, count - 32 * warp);
    for (unsigned lane : permutation(lanes, order, salt + warp + 1)) {
      Thread& thread = block.threads[32 * warp + lane];
      thread.place = unsigned(block.order.size());
      thread.first_of_warp = first;
      thread.lanes_of_warp = lanes;
      block.order.push_back(&thread);
    }
  }
}

inline void run_block(Block& block, dim3 position, unsigned order) {
  block.position = position;
  block.unfinished = unsigned(block.threads.size());
  if (block.shared_bytes) std::memset(block.shared, 0xff, block.shared_bytes);  // NaN
  for (Thread& thread : block.threads) {
    thread.state = State::New;
    thread.group = 0;
  }
  if (order > 1 || block.order.empty()) put_in_order(block, order, position.x + 1009 * position.y + 9176 * position.z);
  block.async.used = false;
  block.phases.clear();
  resume(*block.order[0]);
  switch_context(block.caller, block.running->context);
}

// Every thread of every block calls `kernel`. An error ends the launch and is kept for emulator_error().
template <class Kernel>
void launch(dim3 grid, dim3 threads, size_t shared_bytes, unsigned order, const Kernel& kernel) {
  if (!grid.count() || !threads.count()) return;
  Block block;
  Block* const outer = current_block;
  current_block = &block;
  block.blocks = grid, block.threads_in_block = threads;
  block.shared_bytes = shared_bytes;
  void* memory = nullptr;
  if (shared_bytes && posix_memalign(&memory, 1024, shared_bytes) != 0) std::abort();
  block.shared = static_cast<char*>(memory);
  block.body = [](const void* data) { (*static_cast<const Kernel*>(data))(); };
  block.body_data = &kernel;
  block.threads.resize(threads.count());
  block.warps.resize((threads.count() + 31) / 32);
  block.warpgroups.resize(threads.count() / 128);
  for (unsigned i = 0; i < threads.count(); ++i) {
    block.threads[i].number = i;
    block.threads[i].lane = i % 32;
    block.threads[i].position = threads.at(i);
  }
  for (unsigned i : permutation(grid.count(), order, 0)) {
    run_block(block, grid.at(i), order);
    block.is_first = false;
    if (block.failed) break;
  }
  for (const Thread& thread : block.threads)
    if (thread.state == State::Started) stacks().give(thread.stack);  // of a launch that failed
  if (hide_memory) hide_memory(false);
  std::free(memory);
  current_block = outer;
}

}  // namespace emulator
#pragma GCC visibility pop

// What went wrong in this host thread's launches since it was last asked; null if nothing did.
extern "C" __attribute__((used)) inline const char* emulator_error() {
  static thread_local std::string read;
  read = std::move(emulator::first_error);
  emulator::first_error.clear();
  return read.empty() ? nullptr : read.c_str();
}

// Launches from here on start early, before what they read is written: `hide` hides the device's memory and shows it
// again. Null: they do not.
extern "C" __attribute__((used)) inline void emulator_starts_early(void (*hide)(bool)) { emulator::hide_memory = hide; }
