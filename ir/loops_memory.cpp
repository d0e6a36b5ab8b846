// Checked buffers; see loops_memory.h.
#include "ir/loops_memory.h"

#include <algorithm>

#include "ir/error.h"

namespace lapidary::loops {
namespace {

constexpr int64_t kNobody = -1, kSeveral = -2, kNoTask = -3;  // kNoTask: in front of the task loop

int64_t bytes_of(const BufferNode& buffer, const BoundBuffer& bound) {
  auto bytes = byte_size(buffer.element.dtype, bound.elements);
  LPD_CHECK(bytes, "%{} has {} elements", buffer.name, bound.elements);
  return *bytes;
}

}  // namespace

CheckedMemory::CheckedMemory(const Kernel& kernel, const std::vector<BoundBuffer>& bound)
    : kernel_(kernel.family), threads_(kernel.threads), task_(kNoTask) {
  LPD_CHECK(bound.size() == kernel.buffers.size(), "kernel '{}' takes {} buffers, given {}", kernel_,
            kernel.buffers.size(), bound.size());
  find_regions(kernel, bound);
  for (size_t i = 0; i < bound.size(); i++) {
    const BufferNode& buffer = *kernel.buffers[i];
    if (buffer.space == Space::Global) {
      bind_global(buffer, bound[i]);
    } else {
      Cells& cells = cells_[&buffer];
      cells.elements = bound[i].elements;
      cells.values.resize(static_cast<size_t>(cells.elements));
      stages_.push_back(&buffer);
    }
  }
}

// Buffers that share memory share who touched it: they start in the region that the ones before reach into.
void CheckedMemory::find_regions(const Kernel& kernel, const std::vector<BoundBuffer>& bound) {
  std::vector<std::pair<char*, char*>> ranges;
  for (size_t i = 0; i < bound.size(); i++) {
    if (kernel.buffers[i]->space != Space::Global) continue;
    auto* begin = static_cast<char*>(bound[i].data);
    ranges.push_back({begin, begin + bytes_of(*kernel.buffers[i], bound[i])});
  }
  std::sort(ranges.begin(), ranges.end());
  char* reached = nullptr;
  for (const auto& [begin, end] : ranges) {
    if (touched_.empty() || (begin >= reached && begin != touched_.rbegin()->first)) touched_[begin];
    reached = std::max(reached, end);
  }
}

void CheckedMemory::bind_global(const BufferNode& buffer, const BoundBuffer& bound) {
  auto& [region, touched] = *std::prev(touched_.upper_bound(static_cast<char*>(bound.data)));
  const int64_t bits = bit_width(buffer.element.dtype), ahead = (static_cast<char*>(bound.data) - region) * 8;
  if (touched.writer.empty()) touched.element_bits = static_cast<int>(bits);
  if ((touched.element_bits != bits || ahead % bits != 0) && bound.elements > 0)
    fail(fmt::format("%{} lies on a buffer of another element size", buffer.name));
  Cells& cells = cells_[&buffer];
  cells.data = bound.data;
  cells.elements = bound.elements;
  cells.touched = &touched;
  cells.first = static_cast<size_t>(ahead / bits);
  touched.writer.resize(std::max(touched.writer.size(), cells.first + static_cast<size_t>(bound.elements)), kNobody);
  touched.reader.resize(touched.writer.size(), kNobody);
}

void CheckedMemory::begin_task(int64_t task) {
  task_ = task;
  for (const BufferNode* stage : stages_) {
    Cells& cells = cells_[stage];
    cells.written.assign(cells.values.size(), false);
  }
}

void CheckedMemory::begin_thread(int64_t thread) { thread_ = thread; }
void CheckedMemory::end_threads() { thread_ = -1; }

void CheckedMemory::barrier() {
  for (auto& [buffer, cells] : cells_) {
    std::ranges::fill(cells.writer, kNobody);
    std::ranges::fill(cells.reader, kNobody);
  }
}

void CheckedMemory::allocate(const Buffer& buffer) {
  Cells& cells = cells_[buffer.get()];
  const int copies = buffer->space == Space::Fragment ? threads_ : 1;
  cells.elements = buffer->size;
  cells.values.resize(static_cast<size_t>(buffer->size) * buffer->element.lanes * static_cast<size_t>(copies));
  cells.written.assign(cells.values.size(), false);
  if (buffer->space != Space::Shared) return;
  cells.writer.assign(cells.values.size(), kNobody);
  cells.reader.assign(cells.values.size(), kNobody);
}

// Two threads touch one element between two barriers, one of them writing.
void CheckedMemory::check_shared(const Buffer& buffer, Cells& cells, size_t cell, bool writes) {
  int64_t &writer = cells.writer[cell], &reader = cells.reader[cell];
  const bool written = writer != kNobody && writer != thread_;
  const bool read = reader != kNobody && reader != thread_;
  if (written || (writes && read))
    fail(fmt::format("race: thread {} {} %{}[{}], which another {} with no barrier between", thread_,
                     writes ? "writes" : "reads", buffer->name, cell, written ? "wrote" : "read"));
  if (writes)
    writer = thread_;
  else
    reader = reader == kNobody || reader == thread_ ? thread_ : kSeveral;
}

Scalar CheckedMemory::load(const Buffer& buffer, int64_t index, int lane) {
  Cells& cells = cells_of(buffer);
  check_bounds("load of", buffer, cells, index);
  if (cells.touched) {
    check_read(buffer, cells, index);
    return load_scalar(buffer->element.dtype, cells.data, index);
  }
  const size_t cell = cell_of(buffer, index, lane);
  if (cell >= cells.written.size() || !cells.written[cell])
    fail(fmt::format("load of %{}[{}], which nobody wrote", buffer->name, index));
  if (buffer->space == Space::Shared) check_shared(buffer, cells, cell, false);
  return cells.values[cell];
}

void CheckedMemory::store(const Buffer& buffer, int64_t index, int lane, const Scalar& value) {
  Cells& cells = cells_of(buffer);
  check_bounds("store to", buffer, cells, index);
  if (cells.touched) {
    check_write(buffer, cells, index);
    return store_scalar(value, cells.data, index);
  }
  const size_t cell = cell_of(buffer, index, lane);
  if (cell >= cells.written.size()) fail(fmt::format("store to %{} in front of the task loop", buffer->name));
  if (buffer->space == Space::Shared) check_shared(buffer, cells, cell, true);
  cells.values[cell] = value;
  cells.written[cell] = true;
}

// Of a Fragment, the current thread's.
size_t CheckedMemory::cell_of(const Buffer& buffer, int64_t index, int lane) const {
  const int64_t own = buffer->space == Space::Fragment ? std::max<int64_t>(thread_, 0) * buffer->size : 0;
  return static_cast<size_t>(own + index) * buffer->element.lanes + static_cast<size_t>(lane);
}

CheckedMemory::Cells& CheckedMemory::cells_of(const Buffer& buffer) {
  auto found = cells_.find(buffer.get());
  if (found == cells_.end()) fail(fmt::format("%{} is neither a parameter nor allocated", buffer->name));
  return found->second;
}

void CheckedMemory::check_bounds(const char* what, const Buffer& buffer, const Cells& cells, int64_t index) const {
  if (index >= 0 && index < cells.elements) return;
  fail(fmt::format("{} %{}[{}], which has {} elements", what, buffer->name, index, cells.elements));
}

void CheckedMemory::check_read(const Buffer& buffer, const Cells& cells, int64_t index) {
  const size_t at = cells.first + static_cast<size_t>(index);
  int64_t writer = cells.touched->writer[at];
  int64_t& reader = cells.touched->reader[at];
  if (writer != kNobody && writer != agent())
    fail(
        fmt::format("race: load of %{}[{}], which task {} wrote", buffer->name, index, writer / std::max(threads_, 1)));
  if (writer == agent() && !buffer->reads_own_writes) {
    fail(fmt::format("load of %{}[{}], which the kernel stored: it is not marked reads_own_writes", buffer->name,
                     index));
  }
  reader = reader == kNobody || reader == agent() ? agent() : kSeveral;
}

void CheckedMemory::check_write(const Buffer& buffer, const Cells& cells, int64_t index) {
  const size_t at = cells.first + static_cast<size_t>(index);
  int64_t &writer = cells.touched->writer[at], reader = cells.touched->reader[at];
  if (!buffer->written) fail(fmt::format("store to %{}, which is not written", buffer->name));
  if (buffer->flag) return;
  if (writer != kNobody && writer != agent())
    fail(fmt::format("race: store to %{}[{}], which task {} wrote", buffer->name, index,
                     writer / std::max(threads_, 1)));
  if (reader == kSeveral) fail(fmt::format("race: store to %{}[{}], which several tasks read", buffer->name, index));
  if (reader != kNobody && reader != agent())
    fail(
        fmt::format("race: store to %{}[{}], which task {} read", buffer->name, index, reader / std::max(threads_, 1)));
  writer = agent();
}

void CheckedMemory::fail(const std::string& message) const {
  std::string where = task_ == kNoTask ? "" : fmt::format(", in task {}", task_);
  throw Error(Fault::Internal, fmt::format("kernel '{}': {}{}", kernel_, message, where));
}

}  // namespace lapidary::loops
