// What a block has under way in the asynchronous proxy of Hopper's shared memory (hopper.h): boxes that the copy engine
// moves, products that wgmma works at, and which bytes ordinary writes hold back from both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "test/cuda/emulator/tensor_map.h"

#pragma GCC visibility push(hidden)
namespace emulator {

struct Box {
  emulated_tensor_map map;
  int at[4];
  uint32_t shared, barrier;  // addresses in shared memory
};
struct StoredBox {
  Box box;
  std::vector<char> bytes;  // when it was asked for
  unsigned group;
};

struct Product {
  void (*multiply)(unsigned first_thread, size_t index);
  void* d;
  const void* registers;  // of a, or null
  uint64_t a, b;
  bool accumulate;
  unsigned group;
  // Asked for by another thread of the warpgroup, into registers of its own.
  bool same(const Product& other) const {
    return multiply == other.multiply && !registers == !other.registers && a == other.a && b == other.b &&
           accumulate == other.accumulate && group == other.group;
  }
};

struct Bytes {
  size_t begin, end;
};

struct AsyncThread {
  std::vector<Product> products;
  unsigned group = 0;           // of products that are being issued
  bool fenced = false;          // since it last waited for products
  std::vector<Bytes> unfenced;  // what it wrote since its last proxy fence
  std::vector<StoredBox> stores;
  unsigned store_group = 0;  // of boxes that are being stored
};

// Of a block that uses Hopper's barriers; others pay nothing for it.
struct Async {
  bool used = false;
  std::vector<Box> boxes;
  std::vector<AsyncThread> threads;
  // Of each byte of shared memory: 1 + the number of the thread that wrote it and has not fenced since, or 0.
  std::vector<uint16_t> writers;

  void begin_use(size_t thread_count, size_t shared_bytes) {
    if (used) return;
    used = true;
    boxes.clear();
    threads.assign(thread_count, {});
    writers.assign(shared_bytes, 0);
  }
  void write(size_t begin, size_t end, unsigned thread) {
    if (!used) return;
    for (size_t i = begin; i < end; ++i) writers[i] = uint16_t(1 + thread);
    threads[thread].unfenced.push_back({begin, end});
  }
  void fence(unsigned thread) {
    if (!used) return;
    for (const Bytes& bytes : threads[thread].unfenced)
      for (size_t i = bytes.begin; i < bytes.end; ++i)
        if (writers[i] == 1 + thread) writers[i] = 0;
    threads[thread].unfenced.clear();
  }
  // What a thread that ends, the last of its block or not, should have waited for; null if nothing.
  const char* left_by(unsigned thread, bool last) const {
    if (!used) return nullptr;
    if (!threads[thread].products.empty()) return "ends while its products are under way";
    if (!threads[thread].stores.empty()) return "ends while boxes that it stores are under way";
    return last && !boxes.empty() ? "ends while boxes that nobody waited for are under way" : nullptr;
  }
};

}  // namespace emulator
#pragma GCC visibility pop
