// NVRTC compiles on several threads of one process as fast as in several processes: 64 elementwise kernels in units of
// 16 take two threads 1.0 s, two processes 1.0 s, one thread 1.9 s. What a unit begins with costs it 35 ms: elementwise
// kernels alone in their units take 65 ms each, by fours 36, by sixteens 31, all 64 together 28. A product of matrices
// takes 300 to 600 ms. So units are small enough to share out and to be found in the cache again, and large enough that
// their beginnings do not matter.
#include "codegen/cuda/compile.h"

#include <chrono>
#include <optional>

#include "codegen/cpu/compile.h"
#include "codegen/cuda/emitter.h"
#include "codegen/cuda/image_cache.h"
#include "codegen/cuda/nvrtc.h"
#include "codegen/cuda/register_bounds.h"
#include "codegen/cuda/unit.h"
#include "codegen/parallel.h"
#include "codegen/sha256.h"
#include "ir/error.h"

namespace lapidary::codegen::cuda {
namespace {

// What a kernel costs to compile, in bytes of the text of an elementwise one (30 ms each kilobyte); a unit has enough
// of it for eight of those or one or two products.
constexpr size_t kUnitCost = 16 << 10, kProductCost = 12 << 10;
size_t cost_of(std::string_view kernel) {
  size_t cost = kernel.size();
  for (const char* product :
       {"product_fma<", "product_mma<", "product_wgmma<", "attend_fma<", "attend_mma<", "attend_wgmma<"})
    if (kernel.find(product) != std::string_view::npos) cost += kProductCost;
  return cost;
}

struct Unit {
  std::string text;
  std::vector<KernelResources> kernels;  // what is chosen at launch
};

KernelResources launch_of(const loops::Kernel& kernel, const std::string& name) {
  return {.kernel = name,
          .threads = kernel.threads ? kernel.threads : kThreadsPerBlock,
          .shared_bytes = shared_bytes(kernel)};
}

// What no device of the level has, a tile must not ask for.
void check_shared(const KernelResources& launch, const Target& target) {
  LPD_CHECK(launch.shared_bytes <= target.shared_bytes, "kernel '{}' takes {} bytes of shared memory, {} has {}",
            launch.kernel, launch.shared_bytes, target.name, target.shared_bytes);
}

std::vector<Unit> units_of(const Level& of, uint32_t level, bool strict_math) {
  const Program& program = of.program;
  std::vector<Unit> units;
  size_t cost = 0;  // of the last one
  for (uint32_t i = 0; i < program.kernels.size(); ++i) {
    if (loops::is_on_host(program.kernels[i])) continue;
    const std::string name = cpu::kernel_symbol(i, level), text = kernel_text(program.kernels[i], name, strict_math);
    cost += cost_of(text);
    if (units.empty() || cost > kUnitCost) {
      units.emplace_back();
      cost = cost_of(text);
    }
    units.back().text += text + "\n";
    units.back().kernels.push_back(launch_of(program.kernels[i], name));
    check_shared(units.back().kernels.back(), of.target);
  }
  for (Unit& unit : units) unit.text = unit_text(unit.text);
  return units;
}

// Of the unit's kernels, in its order, with what NVRTC tells of them.
std::vector<KernelResources> resources_of(const Unit& unit, const Image& image, const std::string& log) {
  std::vector<KernelResources> all = unit.kernels;
  if (!is_cubin(image.arch)) return all;
  const std::vector<KernelResources> told = parse_resources(log);
  for (KernelResources& kernel : all) {
    const auto found = std::ranges::find(told, kernel.kernel, &KernelResources::kernel);
    LPD_CHECK(found != told.end(), "NVRTC's log has no '{}':\n{}", kernel.kernel, log);
    const KernelResources launch = kernel;
    kernel = *found;
    kernel.threads = launch.threads;
    kernel.shared_bytes += launch.shared_bytes;
  }
  return all;
}

// An image to make; another may be the PTX that it is made of.
struct Task {
  const Unit* unit;
  size_t image;
  std::optional<size_t> ptx;
};

// Compiles, or finds what was compiled before.
class Compiler {
 public:
  explicit Compiler(const std::string& cache_folder) : cache_(cache_folder) {}

  void make(const Unit& unit, Image& image, Image* ptx) {
    image.made_by = nvrtc_.version();
    if (ptx) ptx->made_by = image.made_by, ptx->kernels = unit.kernels;
    for (std::string text = unit.text, next;; text = std::move(next)) {
      Nvrtc::Result result = compiled(text, image.arch, ptx != nullptr);
      image.bytes = std::move(result.bytes);
      image.kernels = resources_of(unit, image, result.log);
      if (ptx) ptx->bytes = std::move(result.ptx);
      next = with_more_registers(text, image.kernels);
      if (next == text) return;
    }
  }
  void done() const {
    if (compiled_) cache_.evict();
  }
  size_t compiled() const { return compiled_; }

 private:
  Nvrtc::Result compiled(const std::string& text, const std::string& architecture, bool keeps_ptx) {
    const std::string key =
        sha256(fmt::format("{}\n{}{}\n{}", nvrtc_.identity(), architecture, keeps_ptx ? " and its PTX" : "", text));
    if (std::optional<Nvrtc::Result> known = cache_.find(key)) return *std::move(known);
    Nvrtc::Result result = nvrtc_.compile(text, architecture, keeps_ptx);
    cache_.keep(key, result);
    ++compiled_;
    return result;
  }

  const Nvrtc& nvrtc_ = Nvrtc::get();
  const ImageCache cache_;
  std::atomic<size_t> compiled_{0};
};

// compute_80 of sm_80, and the other way round.
std::string other_form(const std::string& architecture) {
  return (is_cubin(architecture) ? "compute" : "sm") + architecture.substr(architecture.find('_'));
}

// The level's images as they will stand in the product, and how they come to be: PTX beside the cubin of the same
// architecture is what that was made of, which saves compiling twice; anything else is compiled by itself.
void plan_level(const std::vector<std::string>& architectures, uint32_t level, const std::vector<Unit>& units,
                std::vector<Image>& images, std::vector<Task>& tasks) {
  const size_t first = images.size();
  const auto place_of = [&](const std::string& architecture) -> std::optional<size_t> {
    const auto found = std::ranges::find(architectures, architecture);
    if (found == architectures.end()) return std::nullopt;
    return first + static_cast<size_t>(found - architectures.begin()) * units.size();
  };
  for (const std::string& architecture : architectures) {
    const bool comes_along = !is_cubin(architecture) && place_of(other_form(architecture));
    const std::optional<size_t> ptx = is_cubin(architecture) ? place_of(other_form(architecture)) : std::nullopt;
    for (size_t i = 0; i < units.size(); ++i) {
      if (!comes_along) tasks.push_back({&units[i], images.size(), ptx ? std::optional(*ptx + i) : std::nullopt});
      images.push_back({.arch = architecture, .level = level});
    }
  }
}

// One line for all kernels that spill whatever they were offered, or nothing.
void warn_of_spills(const std::vector<Image>& images, const ArtifactOptions& options) {
  int64_t count = 0, most = 0;
  std::string worst;
  for (const Image& image : images)
    for (const KernelResources& kernel : image.kernels) {
      if (kernel.spill_store_bytes == 0) continue;
      ++count;
      if (kernel.spill_store_bytes <= most) continue;
      most = kernel.spill_store_bytes;
      worst = fmt::format("{} for {}", kernel.kernel, image.arch);
    }
  if (count > 0 && options.on_warning)
    options.on_warning(
        fmt::format("CUDA kernels that spill registers: {}, the most {}: {} bytes of a thread; inspect tells of each",
                    count, worst, most));
}

}  // namespace

bool is_cubin(const std::string& architecture) { return architecture.starts_with("sm_"); }

std::vector<Image> compile_images(const std::vector<Level>& levels, const ArtifactOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::vector<Unit>> units;
  for (uint32_t level = 0; level < levels.size(); ++level) {
    Nvrtc::get().must_support(levels[level].target.images);
    units.push_back(units_of(levels[level], level, options.strict_math));
  }
  std::vector<Image> images;
  std::vector<Task> tasks;
  for (uint32_t level = 0; level < levels.size(); ++level)
    plan_level(levels[level].target.images, level, units[level], images, tasks);
  Compiler compiler(options.image_cache);
  const auto no_state = [] { return 0; };
  on_threads(options.jobs, tasks.size(), no_state, [&](int, size_t i) {
    compiler.make(*tasks[i].unit, images[tasks[i].image], tasks[i].ptx ? &images[*tasks[i].ptx] : nullptr);
  });
  compiler.done();
  warn_of_spills(images, options);
  if (options.on_stage)
    options.on_stage(fmt::format("NVRTC: {} images, {} compiled now", images.size(), compiler.compiled()),
                     std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return images;
}

std::string cuda_text(const Program& program, uint32_t level, bool strict_math) {
  std::string kernels;
  for (uint32_t i = 0; i < program.kernels.size(); ++i)
    if (!loops::is_on_host(program.kernels[i]))
      kernels += kernel_text(program.kernels[i], cpu::kernel_symbol(i, level), strict_math) + "\n";
  return unit_text(kernels);
}

}  // namespace lapidary::codegen::cuda
