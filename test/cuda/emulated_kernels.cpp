#include "test/cuda/emulated_kernels.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "codegen/cuda/emitter.h"
#include "codegen/cuda/expressions.h"
#include "codegen/cuda/tensor_maps.h"
#include "codegen/cuda/unit.h"
#include "ir/error.h"

namespace lapidary::test {
namespace {

std::string number_text(const codegen::cuda::MapNumber& number, int64_t bytes) {
  const std::string factor = fmt::format("{}ll", number.factor * bytes);
  return number.integer < 0 ? factor : fmt::format("{} * frame->integers[{}]", factor, number.integer);
}

// A map made for the buffers as they are.
std::string map_text(const codegen::cuda::TensorMap& map) {
  const int64_t bytes = bit_width(map.dtype) / 8;
  std::string extents, strides, box;
  for (size_t i = 0; i < map.extents.size(); ++i) {
    extents += fmt::format("{}, ", number_text(map.extents[i], 1));
    box += fmt::format("{}, ", map.box[i]);
    if (i > 0) strides += fmt::format("{}, ", number_text(map.strides[i - 1], bytes));
  }
  return fmt::format("made_map(sizeof({}), {}, (char*)frame->buffers[{}] + {}, {{{}}}, {{{}}}, {{{}}})",
                     codegen::cuda::memory_type(map.dtype),
                     map.dtype == DType::F32 && map.is_rounded ? "kTensorMapTf32" : "0", map.buffer,
                     number_text(map.offset, bytes), extents, strides, box);
}

constexpr const char* kMakeMap = R"(
#ifdef __grid_constant__
#include <vector>
static tensor_map made_map(size_t bytes, uint32_t tf32, void* address, std::vector<int64_t> extents,
                           std::vector<int64_t> strides, std::vector<uint32_t> box) {
  tensor_map made;
  const uint32_t steps[] = {1, 1, 1, 1}, type = tf32 ? tf32 : bytes == 4 ? 2 : bytes == 2 ? 1 : 0;
  std::vector<uint64_t> sizes;
  for (int64_t extent : extents) sizes.push_back(extent > 1 ? extent : 1);
  const char* broken = encode_tensor_map(&made.map, type, box.size(), address, sizes.data(), (uint64_t*)strides.data(),
                                         box.data(), steps, 0, 3, 0);
  if (broken) std::fprintf(stderr, "a tensor map: %s\n", broken), std::abort();
  return made;
}
#endif
)";

// Frame → parameters, and a grid of few threads: three blocks of four, of which each thread does a task, or two blocks
// of the kernel's own size. One thread alone has a stage.
std::string entry_text(const loops::Kernel& kernel, uint32_t number) {
  std::string arguments;
  bool staged = false;
  for (size_t i = 0; i < kernel.buffers.size(); ++i) {
    const loops::BufferNode& buffer = *kernel.buffers[i];
    const bool stage = buffer.space == loops::Space::Stage;
    staged |= stage;
    arguments += stage ? fmt::format("(i64)frame->buffers[{}], ", i)
                       : fmt::format("({}*)frame->buffers[{}], ", codegen::cuda::memory_type(buffer.element.dtype), i);
  }
  arguments += "begin, end, (char*)stage, 0";
  for (size_t i = 0; i < kernel.integers.size(); ++i) arguments += fmt::format(", frame->integers[{}]", i);
  for (const codegen::cuda::TensorMap& map : codegen::cuda::tensor_maps(kernel)) arguments += ", " + map_text(map);
  const int blocks = kernel.threads ? 2
                     : staged       ? 1
                                    : 3,
            threads = kernel.threads ? codegen::cuda::block_threads(kernel)
                      : staged       ? 1
                                     : 4;
  return fmt::format(
      "extern \"C\" void entry_{0}(const frame* frame, i64 begin, i64 end, void* stage) {{\n"
      "  emulator::launch({{{1}}}, {{{2}}}, {3}, {4}, [&] {{ k{0}({5}); }});\n"
      "  if (const char* error = emulator_error()) std::fprintf(stderr, \"k{0}: %s\\n\", error), std::abort();\n}}\n",
      number, blocks, threads, codegen::cuda::shared_bytes(kernel), number % 3, arguments);
}

std::string unit_text(const Program& program) {
  std::string kernels, entries;
  for (uint32_t i = 0; i < program.kernels.size(); ++i) {
    kernels += codegen::cuda::kernel_text(program.kernels[i], fmt::format("k{}", i));
    entries += entry_text(program.kernels[i], i);
  }
  return "#include \"test/cuda/emulator.h\"\n" + codegen::cuda::unit_text(kernels) +
         "struct frame { void* const* buffers; const int64_t* integers; };\n" + kMakeMap + entries;
}

}  // namespace

namespace {

// As this program itself.
#if defined(__SANITIZE_ADDRESS__)
constexpr const char* kSanitizer = "-g1 -fsanitize=address";
#else
constexpr const char* kSanitizer = "";
#endif

}  // namespace

EmulatedKernels::EmulatedKernels(const Program& program) {
  static std::atomic<int> number = 0;
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / fmt::format("lapidary-emulated-{}-{}", getpid(), number++);
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "kernels.cpp") << unit_text(program);
  const std::string command = fmt::format(
      "{} -std=c++17 -O1 -mf16c -mfma -ffp-contract=off -w -fPIC -shared {} -I{} {}/kernels.cpp -o {}/kernels.so "
      "2>{}/log",
      LAPIDARY_HOST_COMPILER, kSanitizer, LAPIDARY_SOURCE_DIR, folder.string(), folder.string(), folder.string());
  if (std::system(command.c_str()) != 0) {
    std::ostringstream log;
    log << std::ifstream(folder / "log").rdbuf();
    throw Error(Fault::Internal, fmt::format("{}: {}", folder.string(), log.str().substr(0, 3000)));
  }
  library_ = dlopen((folder / "kernels.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library_) throw Error(Fault::Internal, dlerror());
  std::filesystem::remove_all(folder);
}

EmulatedKernels::~EmulatedKernels() {
  if (library_) dlclose(library_);
}

lpd_kernel EmulatedKernels::operator[](uint32_t kernel) const {
  void* entry = dlsym(library_, fmt::format("entry_{}", kernel).c_str());
  LPD_CHECK(entry, "no kernel {}", kernel);
  return reinterpret_cast<lpd_kernel>(entry);
}

}  // namespace lapidary::test
