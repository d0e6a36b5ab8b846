// The file's pages are mapped and each constant is materialised in place: what is read once from the model's mapped
// file is written once here. Space is claimed first, so that a full disk is an error and not a signal.
#include "codegen/weights.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <exception>
#include <mutex>
#include <thread>

#include "ir/error.h"

namespace lapidary::codegen {
namespace {

constexpr int64_t kPartBytes = 4 << 20;

class MappedRange {
 public:
  MappedRange(const OutputFile& output, int64_t offset, int64_t bytes) : bytes_(bytes) {
    const int file = open(output.temporary_path().c_str(), O_RDWR | O_CLOEXEC);
    if (file < 0) output.fail(errno);
    int error_number = posix_fallocate(file, offset, bytes);
    if (error_number == 0) {
      memory_ = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, file, offset);
      if (memory_ == MAP_FAILED) error_number = errno;
    }
    close(file);
    if (error_number != 0) output.fail(error_number);
  }
  ~MappedRange() { munmap(memory_, static_cast<size_t>(bytes_)); }
  MappedRange(const MappedRange&) = delete;
  MappedRange& operator=(const MappedRange&) = delete;
  std::byte* begin() const { return static_cast<std::byte*>(memory_); }

 private:
  void* memory_ = MAP_FAILED;
  int64_t bytes_;
};

struct Piece {
  uint32_t weight;
  int part, parts;
};

std::vector<Piece> pieces_of(const ConstantTable& constants, const host::WeightLayout& layout) {
  std::vector<Piece> pieces;
  for (uint32_t weight = 0; weight < layout.constants.size(); ++weight) {
    const int parts = static_cast<int>(constants[layout.constants[weight]].bytes() / kPartBytes) + 1;
    for (int part = 0; part < parts; ++part) pieces.push_back({weight, part, parts});
  }
  return pieces;
}

// Runs work(i) for every i below count; the first exception is thrown again when all threads are done.
template <class Work>
void in_parallel(int jobs, size_t count, const Work& work) {
  std::atomic<size_t> next = 0;
  std::exception_ptr failure;
  std::mutex failure_lock;
  auto loop = [&] {
    try {
      for (size_t i = next++; i < count; i = next++) work(i);
    } catch (...) {
      const std::lock_guard lock(failure_lock);
      if (!failure) failure = std::current_exception();
      next = count;
    }
  };
  std::vector<std::thread> threads;
  for (int job = 1; job < jobs; ++job) threads.emplace_back(loop);
  loop();
  for (std::thread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

void write_weights(const ConstantTable& constants, const host::WeightLayout& layout, const OutputFile& output,
                   int64_t file_offset, int jobs) {
  if (layout.bytes == 0) return;
  const MappedRange range(output, file_offset, layout.bytes);
  const std::vector<Piece> pieces = pieces_of(constants, layout);
  in_parallel(jobs, pieces.size(), [&](size_t i) {
    const Piece& piece = pieces[i];
    const ConstantId id = layout.constants[piece.weight];
    const auto bytes = static_cast<size_t>(constants[id].bytes());
    constants.materialize(id, {range.begin() + layout.starts[piece.weight], bytes}, piece.part, piece.parts);
  });
}

}  // namespace lapidary::codegen
