// Program → products: kernels compiled, tables written, all linked, weights filled in, files renamed.
#include "codegen/codegen.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <memory>

#include "codegen/cpu/compile.h"
#include "codegen/cpu/features.h"
#include "codegen/cpu/link.h"
#include "codegen/cuda/compile.h"
#include "codegen/cuda/packing.h"
#include "codegen/host/archive.h"
#include "codegen/host/device_tables.h"
#include "codegen/host/embedded.h"
#include "codegen/host/exports.h"
#include "codegen/host/tables.h"
#include "codegen/output_file.h"
#include "codegen/weights.h"
#include "ir/error.h"

namespace lapidary::codegen {
namespace {

constexpr int64_t kMostWeightBytes = INT64_C(1) << 30;

// Tells on_stage what each part took.
class StageClock {
 public:
  explicit StageClock(const ArtifactOptions& options) : options_(options) {}
  void done(const char* stage) {
    const Clock::time_point now = Clock::now();
    if (options_.on_stage) options_.on_stage(stage, std::chrono::duration<double>(now - since_).count());
    since_ = now;
  }

 private:
  using Clock = std::chrono::steady_clock;
  const ArtifactOptions& options_;
  Clock::time_point since_ = Clock::now();
};

cpu::LinkInput link_input(const std::string& symbol, Arch arch) {
  cpu::LinkInput input;
  for (const host::Export& e : host::kExports) input.exports.push_back({symbol + "_" + e.name, e.function});
  input.reserved_section = host::kWeightsSection;
  input.arch = arch;
  return input;
}

// The products under way, by their temporary files.
class Writer {
 public:
  Writer(const ConstantTable& constants, const cpu::LinkInput& input, const host::WeightLayout& weights, bool seeded,
         int jobs)
      : constants_(constants), input_(input), weights_(weights), seeded_(seeded), jobs_(jobs) {}

  void text(const std::string& path, const std::string& content) {
    if (!path.empty()) open(path, 0666).write(content);
  }
  void reserve(const std::string& path, unsigned mode) {  // found out before the long work: can it be written?
    if (!path.empty()) open(path, mode);
  }
  void product(const std::string& path, cpu::LinkAs kind) {
    if (path.empty()) return;
    const cpu::Linked linked = cpu::link(kind, input_, jobs_);
    finish(path, linked, {});
  }
  void archive(const std::string& path, const std::string& member) {
    if (path.empty()) return;
    cpu::Linked linked = cpu::link(cpu::LinkAs::Object, input_, jobs_);
    if (linked.bytes.size() % 2) linked.bytes.push_back('\0');
    std::vector<std::string> names;
    for (const auto& [name, symbol] : input_.exports) names.push_back(name);
    const auto bytes = static_cast<int64_t>(linked.bytes.size()) + linked.reserved_bytes;
    finish(path, linked, host::archive_head(member, names, bytes));
  }
  void keep() {
    for (auto& [path, file] : files_) file->keep();
  }

 private:
  OutputFile& open(const std::string& path, unsigned mode) {
    auto& file = files_[path];
    if (!file) file = std::make_unique<OutputFile>(path, mode);
    return *file;
  }
  void finish(const std::string& path, const cpu::Linked& linked, std::vector<char> content) {
    LPD_CHECK(linked.reserved_bytes == (seeded_ ? 0 : weights_.bytes));
    content.insert(content.end(), linked.bytes.begin(), linked.bytes.end());
    const OutputFile& file = *files_.at(path);
    file.write({content.data(), content.size()});
    if (seeded_) return;
    write_weights(constants_, weights_, file, static_cast<int64_t>(content.size()), jobs_);
  }

  const ConstantTable& constants_;
  const cpu::LinkInput& input_;
  const host::WeightLayout& weights_;
  const bool seeded_;  // the product holds none
  const int jobs_;
  std::map<std::string, std::unique_ptr<OutputFile>> files_;
};

}  // namespace

void write_products(const std::vector<Level>& levels, const std::string& symbol, const Products& products,
                    const ArtifactOptions& options) {
  LPD_CHECK(symbol == c_identifier(symbol), "'{}' is no C identifier", symbol);
  host::Needs needs;
  needs.is_gpu = levels[0].target.is_gpu();
  needs.arch = needs.is_gpu ? Arch::X86_64 : levels[0].target.arch;
  std::vector<const Program*> programs;
  for (const Level& level : levels) programs.push_back(&level.program);
  const host::WeightLayout weights = host::lay_out_weights(programs);
  if (weights.bytes > kMostWeightBytes)
    throw Error(Fault::Unsupported,
                fmt::format("weights of {} bytes; a product holds at most {}", weights.bytes, kMostWeightBytes));

  StageClock clock(options);
  cpu::LinkInput input = link_input(symbol, needs.arch);
  Writer writer(levels[0].program.module->constants, input, weights, options.seed.has_value(), options.jobs);
  writer.reserve(products.library, 0777);
  writer.reserve(products.program, 0777);
  writer.reserve(products.object, 0666);
  writer.reserve(products.archive, 0666);
  if (!products.header.empty()) writer.text(products.header, header_text(levels[0].program, symbol));
  if (products.library.empty() && products.object.empty() && products.archive.empty() && products.program.empty())
    return writer.keep();
  if (options.seed) {
    needs.seed = *options.seed;
    needs.seeded.emplace();
    for (ConstantId id : weights.constants)
      needs.seeded->push_back(seeded_weight(levels[0].program.module->constants, id));
  }
  if (needs.is_gpu) {
    needs.images = cuda::pack(cuda::compile_images(levels, options), options.jobs);
    input.objects.push_back(host::image_object(needs.images, needs.arch));
    input.archives.push_back(host::zstd_archive(needs.arch));
  }
  const Target host = resolve_targets("x86-64-v2")[0];  // of registers as wide as a GPU's packets: 16 bytes
  for (uint32_t i = 0; i < levels.size(); ++i) {
    const auto& [program, target] = levels[i];
    std::vector<std::vector<char>> objects = needs.is_gpu ? cpu::compile_host_kernels(program, host, options, i)
                                                          : cpu::compile_kernels(program, target, options, i);
    needs.cpu_features.clear();
    if (!needs.is_gpu || !objects.empty()) needs.cpu_features = cpu::needed_features(needs.is_gpu ? host : target);
    std::ranges::move(objects, std::back_inserter(input.objects));
    input.objects.push_back(host::table_object(program, i, weights, needs));
  }
  input.objects.push_back(host::list_object(static_cast<uint32_t>(levels.size()), needs.arch));
  clock.done("compile kernels");
  writer.product(products.library, cpu::LinkAs::Library);
  writer.product(products.object, cpu::LinkAs::Object);
  writer.product(products.program, cpu::LinkAs::Program);
  writer.archive(products.archive, "model.o");
  clock.done("link and write weights");
  writer.keep();
}

}  // namespace lapidary::codegen
