// One block at a time: its threads in a ring, each running until it has to wait.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "test/cuda/emulator/async.h"
#include "test/cuda/emulator/fiber.h"

namespace emulator __attribute__((visibility("hidden"))) {

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
    Thread *next, *previous;  // of the ring of threads that have not ended
    unsigned number = 0, lane = 0;
    dim3 position;
    State state = State::New;
    char* stack = nullptr;
    Site waits{};  // at what, if it waits
    std::vector<Copy> copies;
    unsigned group = 0;  // of copies that are being issued
  };

  constexpr int kNamedBarriers = 16;

  struct Block {
    dim3 position, threads_in_block, blocks;
    char* shared = nullptr;
    size_t shared_bytes = 0;
    Thread* running = nullptr;
    Context caller;  // of launch()
    std::vector<Thread> threads;
    std::vector<Meeting> warps, warpgroups;
    Meeting barriers[kNamedBarriers];
    unsigned unfinished = 0;
    uint64_t progress = 0, seen = 0, idle = 0;  // idle: switches since something last changed
    bool failed = false;
    void (*body)(const void*) = nullptr;
    const void* body_data = nullptr;
    Async async;
    uint64_t bank_conflicts = 0;  // cycles that matrix loads lost to them
  };
  // A plain pointer, so that looking at it costs no guard.
  inline thread_local Block* current_block = nullptr;
  inline thread_local std::string first_error;
  inline Stacks& stacks() {
    static thread_local Stacks stacks;
    return stacks;
  }

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
          std::find_if(places.begin(), places.end(), [&](const auto& p) { return p.first == thread.waits; });
      if (found == places.end())
        places.push_back({thread.waits, 1});
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

  void run_threads();

  inline void resume(Thread & thread) {
    Block& block = *current_block;
    if (thread.state == State::New) {
      thread.stack = stacks().take();
      thread.state = State::Started;
      const size_t colour = thread.number * 448 % 8192;  // tops of stacks would share sets of the cache
      prepare_context(thread.context, thread.stack, kStackBytes - 64 - colour, run_threads);
    }
    block.running = &thread;
  }

  // Lets the next thread run. Comes back when all others had their turn.
  __attribute__((noinline)) inline void yield() {
    Block& block = *current_block;
    if (block.progress != block.seen) {
      block.seen = block.progress;
      block.idle = 0;
    } else if (++block.idle > 2 * block.unfinished + 2) {
      fail_deadlock();
    }
    Thread& from = *block.running;
    if (from.next == &from) return;
    resume(*from.next);
    switch_context(from.context, from.next->context);
  }

  inline void end_thread(Thread & thread) {
    Block& block = *current_block;
    if (!thread.copies.empty()) fail("ends while its copies to shared memory are under way");
    if (const char* left = block.async.left_by(thread.number, block.unfinished == 1)) fail(left);
    thread.state = State::Ended;
    thread.previous->next = thread.next;
    thread.next->previous = thread.previous;
    ++block.progress;
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
      block.body(block.body_data);
      end_thread(thread);
      Thread& next = *thread.next;
      if (block.unfinished && next.state == State::New) {
        next.stack = thread.stack;
        next.state = State::Started;
        block.running = &next;
        continue;
      }
      stacks().give(thread.stack);
      if (block.unfinished) resume(next);
      switch_context(thread.context, block.unfinished ? next.context : block.caller);
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

  inline void run_block(Block & block, dim3 position, unsigned order) {
    const unsigned count = unsigned(block.threads.size());
    block.position = position;
    block.unfinished = count;
    block.idle = 0;
    if (block.shared_bytes) std::memset(block.shared, 0xff, block.shared_bytes);  // NaN
    const std::vector<unsigned> ring = permutation(count, order, position.x + 1009 * position.y + 9176 * position.z);
    for (unsigned i = 0; i < count; ++i) {
      Thread& thread = block.threads[ring[i]];
      thread.state = State::New;
      thread.group = 0;
      thread.next = &block.threads[ring[(i + 1) % count]];
      thread.next->previous = &thread;
    }
    block.async.used = false;
    resume(block.threads[ring[0]]);
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
      if (block.failed) break;
    }
    for (const Thread& thread : block.threads)
      if (thread.state == State::Started) stacks().give(thread.stack);  // of a launch that failed
    std::free(memory);
    current_block = outer;
  }

}  // namespace )

// What went wrong in this host thread's launches since it was last asked; null if nothing did.
extern "C" __attribute__((used)) inline const char* emulator_error() {
  static thread_local std::string read;
  read = std::move(emulator::first_error);
  emulator::first_error.clear();
  return read.empty() ? nullptr : read.c_str();
}
