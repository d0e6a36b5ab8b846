// Program → library and header: kernels compiled, tables written, all linked, weights filled in, files renamed.
#include "codegen/codegen.h"

#include <chrono>

#include "codegen/cpu/compile.h"
#include "codegen/cpu/features.h"
#include "codegen/cpu/link.h"
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

cpu::LinkInput link_input(const std::string& symbol) {
  cpu::LinkInput input;
  for (const host::Export& e : host::kExports) input.exports.push_back({symbol + "_" + e.name, e.function});
  input.reserved_section = host::kWeightsSection;
  return input;
}

}  // namespace

void write_library(const Program& program, const Target& target, const std::string& symbol,
                   const std::string& library_path, const std::string& header_path, const ArtifactOptions& options) {
  LPD_CHECK(symbol == c_identifier(symbol), "'{}' is no C identifier", symbol);
  const host::WeightLayout weights = host::lay_out_weights(program);
  if (weights.bytes > kMostWeightBytes)
    throw Error(Fault::Unsupported,
                fmt::format("weights of {} bytes; a library holds at most {}", weights.bytes, kMostWeightBytes));

  StageClock clock(options);
  OutputFile library(library_path, 0777), header(header_path);
  header.write(header_text(program, symbol));
  cpu::LinkInput input = link_input(symbol);
  input.objects = cpu::compile_kernels(program, target, options);
  clock.done("compile kernels");
  input.objects.push_back(host::table_object(program, cpu::needed_features(target)));
  const cpu::LinkedLibrary linked = cpu::link_shared_library(input, options.jobs);
  LPD_CHECK(linked.reserved_bytes == weights.bytes);
  clock.done("link");
  library.write({linked.bytes.data(), linked.bytes.size()});
  write_weights(program, weights, library, static_cast<int64_t>(linked.bytes.size()), options.jobs);
  clock.done("write weights");
  header.keep();
  library.keep();
}

}  // namespace lapidary::codegen
