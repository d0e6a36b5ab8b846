// libFuzzer's own mutations of bytes, and seven times in eight mutate_model's of what the bytes say. For targets whose
// input is a model.
#include <string>

#include "test/fuzz/mutate_model.h"

using namespace lapidary;

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
  if (seed % 8 != 0) {
    const std::string mutated = fuzz::mutate_model({reinterpret_cast<const char*>(data), size}, {}, seed);
    if (!mutated.empty() && mutated.size() <= most) return mutated.copy(reinterpret_cast<char*>(data), most);
  }
  return LLVMFuzzerMutate(data, size, most);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* one, size_t one_size, const uint8_t* two, size_t two_size,
                                            uint8_t* out, size_t most, unsigned seed) {
  const std::string mutated = fuzz::mutate_model({reinterpret_cast<const char*>(one), one_size},
                                                 {reinterpret_cast<const char*>(two), two_size}, seed);
  return mutated.size() <= most ? mutated.copy(reinterpret_cast<char*>(out), most) : 0;
}
