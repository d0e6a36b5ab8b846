#include "tools/emit_images.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "codegen/cuda/compile.h"
#include "codegen/output_file.h"
#include "ir/error.h"

namespace lapidary::tools {
namespace {

using codegen::cuda::Image;
using codegen::cuda::is_cubin;

bool has(const std::vector<std::string>& kinds, std::string_view kind) {
  return std::ranges::find(kinds, kind) != kinds.end();
}

void must_have(const Target& target, const std::vector<std::string>& kinds) {
  for (const auto& [kind, entry] : {std::pair("cubin", "sm_"), std::pair("ptx", "compute_")})
    if (has(kinds, kind) &&
        std::ranges::none_of(target.images, [&](const auto& name) { return name.starts_with(entry); }))
      throw Error(Fault::Usage, fmt::format("--emit={}: target '{}' has no {}N", kind, target.name, entry));
}

std::vector<std::string> file_names(const std::vector<Image>& images, const std::string& base) {
  std::map<std::string, int> of_architecture, used;
  for (const Image& image : images) ++of_architecture[image.arch];
  std::vector<std::string> names;
  for (const Image& image : images) {
    const bool several = of_architecture[image.arch] > 1;
    names.push_back(fmt::format("{}.{}{}.{}", base, image.arch,
                                several ? fmt::format(".{}", used[image.arch]++) : std::string(),
                                is_cubin(image.arch) ? "cubin" : "ptx"));
  }
  return names;
}

std::string_view content(const Image& image) {
  const std::string_view bytes(image.bytes.data(), image.bytes.size());
  return is_cubin(image.arch) ? bytes : bytes.substr(0, bytes.find('\0'));  // drivers want PTX's terminator
}

}  // namespace

void emit_images(const CompileOptions& options, const std::vector<std::string>& kinds, const std::string& output) {
  must_have(codegen::resolve_target(options.target), kinds);
  const Compiled compiled = compile(options);
  about_model(options, [&] {
    const auto wanted = [&](const std::string& image) { return has(kinds, is_cubin(image) ? "cubin" : "ptx"); };
    const std::vector<Image> images = compile_images(compiled, artifact_options(options), wanted);
    std::vector<std::string> names = file_names(images, output.empty() ? stem(options.model) : output);
    if (images.size() == 1 && !output.empty()) names = {output};
    must_not_overwrite({options.model}, names);
    std::vector<std::unique_ptr<codegen::OutputFile>> files;
    for (size_t i = 0; i < images.size(); ++i) {
      files.push_back(std::make_unique<codegen::OutputFile>(names[i]));
      files.back()->write(content(images[i]));
    }
    for (const auto& file : files) file->keep();
  });
}

}  // namespace lapidary::tools
