// The buffers of a kernel that is being interpreted, every access checked: bounds, reading what nobody wrote (Local
// and Stage), loading what the kernel stored without saying so, and races: two tasks touching one element, one of them
// writing.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <unordered_map>
#include <vector>

#include "ir/loops_interpreter.h"

namespace lapidary::loops {

class CheckedMemory {
 public:
  CheckedMemory(const Kernel&, const std::vector<BoundBuffer>&);

  void begin_task(int64_t task);      // what is on the stage is forgotten
  void begin_thread(int64_t thread);  // of the block that does the task
  void end_threads();
  void barrier();
  void allocate(const Buffer&);  // nothing in it is written

  // `lane` of an element that holds a vector; 0 otherwise.
  Scalar load(const Buffer&, int64_t index, int lane);
  void store(const Buffer&, int64_t index, int lane, const Scalar&);

 private:
  // Who touched each element of a Global so far. Buffers that overlap share it.
  struct Touched {
    std::vector<int64_t> writer, reader;  // a task, kNobody, or kSeveral
    int element_bits;
  };
  struct Cells {
    void* data = nullptr;        // Global
    std::vector<Scalar> values;  // the others
    std::vector<bool> written;
    int64_t elements = 0;
    std::vector<int64_t> writer, reader;  // Shared: threads since the last barrier
    Touched* touched = nullptr;
    size_t first = 0;  // of its elements, in `touched`
  };

  void bind_global(const BufferNode&, const BoundBuffer&);
  void find_regions(const Kernel&, const std::vector<BoundBuffer>&);
  Cells& cells_of(const Buffer&);
  size_t cell_of(const Buffer&, int64_t index, int lane) const;
  void check_bounds(const char* what, const Buffer&, const Cells&, int64_t index) const;
  void check_read(const Buffer&, const Cells&, int64_t index);
  void check_write(const Buffer&, const Cells&, int64_t index);
  [[noreturn]] void fail(const std::string& message) const;

  int64_t agent() const { return task_ < 0 ? task_ : task_ * std::max(threads_, 1) + std::max<int64_t>(thread_, 0); }
  void check_shared(const Buffer&, Cells&, size_t cell, bool writes);

  std::string kernel_;
  int threads_;  // of a block
  int64_t task_, thread_ = -1;
  std::vector<const BufferNode*> stages_;
  std::unordered_map<const BufferNode*, Cells> cells_;
  std::map<char*, Touched> touched_;  // by where the first of them begins
};

}  // namespace lapidary::loops
