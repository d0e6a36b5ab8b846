// Program → library and header, each written under a temporary name and renamed when whole.
#include "codegen/codegen.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <fstream>
#include <thread>

#include "codegen/cpu/compile.h"
#include "codegen/cpu/link.h"
#include "codegen/host/tables.h"
#include "ir/error.h"

namespace lapidary::codegen {

std::string c_identifier(const std::string& text) {
  std::string name;
  for (char c : text) name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0]))) name = "model_" + name;
  return name;
}

namespace {

// A file that is removed unless it is kept under its final name.
class Unfinished {
 public:
  explicit Unfinished(std::string final_name) : final_(std::move(final_name)), path_(fmt::format("{}.{}.tmp", final_, getpid())) {}
  ~Unfinished() {
    if (!kept_) unlink(path_.c_str());
  }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;

  const std::string& path() const { return path_; }
  void keep() {
    if (std::rename(path_.c_str(), final_.c_str()) != 0) fail(strerror(errno));
    kept_ = true;
  }
  [[noreturn]] void fail(const char* why) const { throw Error(Fault::File, fmt::format("{}: cannot be written: {}", printable(final_), why)); }

 private:
  std::string final_, path_;
  bool kept_ = false;
};

// The weights' part of the file, mapped. Its blocks are allocated first: a full disk is an error, not a SIGBUS.
class MappedWeights {
 public:
  MappedWeights(const Unfinished& file, int64_t offset, int64_t bytes) : bytes_(bytes) {
    int descriptor = open(file.path().c_str(), O_RDWR | O_CLOEXEC);
    if (descriptor < 0) file.fail(strerror(errno));
    int allocated = posix_fallocate(descriptor, offset, bytes);
    memory_ = allocated ? MAP_FAILED : mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, offset);
    int problem = allocated ? allocated : errno;
    close(descriptor);
    if (memory_ == MAP_FAILED) file.fail(strerror(problem));
  }
  ~MappedWeights() { munmap(memory_, static_cast<size_t>(bytes_)); }
  MappedWeights(const MappedWeights&) = delete;
  MappedWeights& operator=(const MappedWeights&) = delete;

  std::span<std::byte> part(int64_t offset, int64_t bytes) const { return {static_cast<std::byte*>(memory_) + offset, static_cast<size_t>(bytes)}; }

 private:
  void* memory_;
  int64_t bytes_;
};

// Weights larger than this are produced in parts, so that threads share them evenly.
constexpr int64_t kPartBytes = 4 << 20;

void write_weights(const Program& program, const WeightsPlan& plan, const MappedWeights& target, int jobs) {
  struct Part { size_t weight; int part, parts; };
  std::vector<Part> parts;
  const ConstantTable& constants = program.module->constants;
  for (size_t i = 0; i < program.weights.size(); ++i) {
    int count = static_cast<int>(std::clamp<int64_t>(constants[program.weights[i]].bytes() / kPartBytes, 1, 64));
    for (int part = 0; part < count; ++part) parts.push_back({i, part, count});
  }
  std::atomic<size_t> next{0};
  std::vector<std::exception_ptr> failures(static_cast<size_t>(std::max(1, jobs)));
  auto work = [&](size_t thread) {
    try {
      for (size_t i = next++; i < parts.size(); i = next++) {
        const Part& part = parts[i];
        ConstantId id = program.weights[part.weight];
        constants.materialize(id, target.part(plan.offsets[part.weight], constants[id].bytes()), part.part, part.parts);
      }
    } catch (...) {
      failures[thread] = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (size_t thread = 1; thread < failures.size(); ++thread) helpers.emplace_back(work, thread);
    work(0);
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

// What the library exports, and the runtime's function behind each name.
std::vector<std::pair<std::string, std::string>> exports(const std::string& symbol) {
  constexpr std::pair<const char*, const char*> kCalls[] = {
      {"model", "lpd_product"}, {"create", "lpd_product_create"}, {"input_count", "lpd_product_input_count"},
      {"output_count", "lpd_product_output_count"}, {"describe", "lpd_product_describe"}, {"symbols", "lpd_product_symbols"},
      {"arena_bytes", "lpd_product_arena_bytes"}, {"destroy", "lpd_destroy"}, {"error", "lpd_error"}, {"bind", "lpd_bind"},
      {"run", "lpd_run"}, {"output", "lpd_output"}, {"profile_enable", "lpd_profile_enable"}, {"profile_count", "lpd_profile_count"},
      {"profile", "lpd_profile"}};
  std::vector<std::pair<std::string, std::string>> names;
  for (auto [name, function] : kCalls) names.push_back({symbol + "_" + name, function});
  return names;
}

void write_header(const Program& program, const std::string& symbol, Unfinished& file) {
  std::ofstream stream(file.path(), std::ios::binary);
  stream << header_text(program, symbol);
  stream.close();
  if (!stream) file.fail("not all of it could be written");
}

class Stopwatch {
 public:
  explicit Stopwatch(const ArtifactOptions& options) : options_(options) {}
  void lap(const char* stage) {
    auto now = std::chrono::steady_clock::now();
    if (options_.on_stage) options_.on_stage(stage, std::chrono::duration<double>(now - start_).count());
    start_ = now;
  }

 private:
  const ArtifactOptions& options_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

void write_library(const Program& program, const Target& target, const std::string& symbol, const std::string& library_path,
                   const std::string& header_path, const ArtifactOptions& options) {
  Stopwatch watch(options);
  cpu::LinkInputs inputs;
  inputs.objects = cpu::compile_kernels(program, target, options);
  watch.lap("compile kernels");
  WeightsPlan weights = plan_weights(program);
  std::vector<std::string> kernel_symbols;
  for (uint32_t i = 0; i < program.kernels.size(); ++i) kernel_symbols.push_back(cpu::kernel_symbol(i));
  DataImage image = build_tables(program, weights, cpu::required_features(target), kernel_symbols, cpu::kWeightsSymbol);
  inputs.objects.push_back(cpu::image_object(image, target));
  inputs.exports = exports(symbol);
  inputs.weights_bytes = weights.bytes;
  Unfinished library(library_path), header(header_path);
  int64_t offset = cpu::link_library(inputs, library.path());
  watch.lap("link");
  if (weights.bytes > 0) write_weights(program, weights, MappedWeights(library, offset, weights.bytes), options.jobs);
  watch.lap("weights");
  write_header(program, symbol, header);
  header.keep();
  library.keep();
}

}  // namespace lapidary::codegen
