// NVRTC compiles on several threads of one process as fast as in several processes: 64 elementwise kernels in units of
// 16 take two threads 1.0 s, two processes 1.0 s, one thread 1.9 s. A kernel alone in its unit costs 65 ms, in one of 4
// 36 ms, of 16 31 ms, of 64 28 ms: a unit's beginning costs 35 ms. So units are small enough to share out and to be
// found in the cache again, and large enough that their beginnings do not matter.
#include "codegen/cuda/compile.h"

#include <chrono>

#include "codegen/cpu/compile.h"
#include "codegen/cuda/emitter.h"
#include "codegen/cuda/image_cache.h"
#include "codegen/cuda/nvrtc.h"
#include "codegen/cuda/unit.h"
#include "codegen/parallel.h"
#include "codegen/sha256.h"
#include "ir/error.h"

namespace lapidary::codegen::cuda {
namespace {

// Of the text of a unit's kernels: some 16 elementwise ones, one or two large products.
constexpr size_t kUnitBytes = 16 << 10;

struct Unit {
  std::string text;
  std::vector<std::string> kernels;
};

std::vector<Unit> units_of(const Program& program, uint32_t level) {
  std::vector<Unit> units;
  for (uint32_t i = 0; i < program.kernels.size(); ++i) {
    const std::string name = cpu::kernel_symbol(i, level), text = kernel_text(program.kernels[i], name);
    if (units.empty() || units.back().text.size() + text.size() > kUnitBytes) units.emplace_back();
    units.back().text += text + "\n";
    units.back().kernels.push_back(name);
  }
  for (Unit& unit : units) unit.text = unit_text(unit.text);
  return units;
}

// Of the kernels of the unit, in its order.
std::vector<KernelResources> resources_of(const Unit& unit, const Image& image, const std::string& log) {
  std::vector<KernelResources> all;
  const std::vector<KernelResources> told = parse_resources(log);
  for (const std::string& kernel : unit.kernels) {
    const auto found = std::ranges::find(told, kernel, &KernelResources::kernel);
    LPD_CHECK(found != told.end() || !is_cubin(image), "NVRTC's log has no '{}':\n{}", kernel, log);
    all.push_back(found == told.end() ? KernelResources{.kernel = kernel} : *found);
  }
  return all;
}

// Compiles, or finds what was compiled before.
class Compiler {
 public:
  explicit Compiler(const std::string& cache_folder) : cache_(cache_folder) {}

  Image image(const Unit& unit, const std::string& architecture) {
    const std::string key = sha256(fmt::format("{}\n{}\n{}", nvrtc_.identity(), architecture, unit.text));
    std::optional<Nvrtc::Result> result = cache_.find(key);
    if (!result) {
      result = nvrtc_.compile(unit.text, architecture);
      cache_.keep(key, *result);
      ++compiled_;
    }
    Image image{.arch = architecture, .bytes = std::move(result->bytes)};
    image.kernels = resources_of(unit, image, result->log);
    return image;
  }
  void done() const {
    if (compiled_) cache_.evict();
  }
  size_t compiled() const { return compiled_; }

 private:
  const Nvrtc& nvrtc_ = Nvrtc::get();
  const ImageCache cache_;
  std::atomic<size_t> compiled_{0};
};

}  // namespace

bool is_cubin(const Image& image) { return image.arch.starts_with("sm_"); }

std::vector<Image> compile_images(const std::vector<const Program*>& levels, const Target& target,
                                  const ArtifactOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  Nvrtc::get().must_support(target.images);
  std::vector<Unit> units;
  for (uint32_t level = 0; level < levels.size(); ++level)
    for (Unit& unit : units_of(*levels[level], level)) units.push_back(std::move(unit));
  std::vector<Image> images(target.images.size() * units.size());
  Compiler compiler(options.image_cache);
  const auto no_state = [] { return 0; };
  on_threads(options.jobs, images.size(), no_state, [&](int, size_t i) {
    images[i] = compiler.image(units[i % units.size()], target.images[i / units.size()]);
  });
  compiler.done();
  if (options.on_stage)
    options.on_stage(fmt::format("NVRTC: {} images, {} of them compiled now", images.size(), compiler.compiled()),
                     std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return images;
}

std::string cuda_text(const Program& program, uint32_t level) {
  std::string kernels;
  for (uint32_t i = 0; i < program.kernels.size(); ++i)
    kernels += kernel_text(program.kernels[i], cpu::kernel_symbol(i, level)) + "\n";
  return unit_text(kernels);
}

}  // namespace lapidary::codegen::cuda
