// A target without libFuzzer, for the ordinary tests: runs it over files and over mutations of them that are the same
// each time.
//
//   fuzz_NAME ROUNDS FILE...    each file as it is and mutated ROUNDS times; the last line says how many inputs ran
//
// An input that ends the program is named: file, round, and where its bytes were kept.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" __attribute__((weak)) size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed);

namespace {

constexpr size_t kMost = 20000;
constexpr unsigned kSeconds = 20;  // an input that takes longer hangs

std::minstd_rand randomness;
std::string input_name, kept_at;
std::vector<uint8_t> input;

size_t below(size_t bound) { return randomness() % bound; }

// The handler ends the program: that it allocates is no harm that the fault has not done already.
extern "C" void ended(int signal) {
  std::ofstream(kept_at, std::ios::binary)
      .write(reinterpret_cast<const char*>(input.data()), static_cast<long>(input.size()));
  std::fprintf(stderr, "%s: %s; the input is kept in %s\n", input_name.c_str(),
               signal == SIGALRM ? "took too long" : strsignal(signal), kept_at.c_str());
  _exit(1);
}

void run(std::string name, std::vector<uint8_t> bytes) {
  input_name = std::move(name), input = std::move(bytes);
  alarm(kSeconds);
  LLVMFuzzerTestOneInput(input.data(), input.size());
}

}  // namespace

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most) {
  for (size_t edits = 1 + below(4); edits > 0; --edits) {
    const size_t at = size ? below(size) : 0;
    switch (below(4)) {
      case 0:
        if (size) data[at] ^= static_cast<uint8_t>(1u << below(8));
        break;
      case 1:
        if (size) data[at] = static_cast<uint8_t>(below(256));
        break;
      case 2:  // leave some bytes out
        if (const size_t count = size ? 1 + below(std::min<size_t>(size - at, 8)) : 0) {
          std::copy(data + at + count, data + size, data + at);
          size -= count;
        }
        break;
      default:  // say some bytes twice
        if (const size_t count = size ? 1 + below(std::min<size_t>(size - at, 8)) : 0; size + count <= most) {
          std::copy_backward(data + at, data + size, data + size + count);
          size += count;
        }
    }
  }
  return size;
}

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: %s ROUNDS FILE...\n", argv[0]), 2;
  kept_at = std::string(argv[0]) + ".found";
  for (int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM}) ::signal(signal, ended);
  const int rounds = std::atoi(argv[1]);
  size_t inputs = 0;
  for (int i = 2; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    const std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(file), {}};
    for (int round = 0; round <= rounds; ++round, ++inputs) {
      std::vector<uint8_t> changed = bytes;
      if (round > 0) {
        const unsigned seed = static_cast<unsigned>(i) * 1000 + static_cast<unsigned>(round);
        randomness.seed(seed);
        changed.resize(kMost);
        changed.resize(LLVMFuzzerCustomMutator ? LLVMFuzzerCustomMutator(changed.data(), bytes.size(), kMost, seed)
                                               : LLVMFuzzerMutate(changed.data(), bytes.size(), kMost));
      }
      run(std::string(argv[i]) + ", round " + std::to_string(round), std::move(changed));
    }
  }
  std::printf("%zu inputs\n", inputs);
  return inputs == 0;
}
