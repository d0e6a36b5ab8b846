// lld is given files only, so what it links lies in a folder of its own beside the result for as long as it takes. The
// weights get their place by a linker script that moves the location counter: lld leaves a hole of zeros there, and no
// input of that size exists anywhere.
#include "codegen/cpu/link.h"

#include <fmt/format.h>
#include <lld/Common/CommonLinkerContext.h>
#include <lld/Common/Driver.h>
#include <llvm/Object/ELFObjectFile.h>
#include <llvm/Support/raw_ostream.h>

#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>

#include "codegen/cpu/embedded.h"
#include "ir/error.h"

LLD_HAS_DRIVER(elf)

namespace lapidary::codegen::cpu {

const char kWeightsSymbol[] = "lpd_weights";

namespace {

constexpr char kWeightsSection[] = ".lpd_weights";
constexpr int64_t kMostWeights = INT64_C(1) << 30;  // beyond, code and data of the small code model lose each other

class LinkFolder {
 public:
  explicit LinkFolder(const std::string& library) : path_(library + ".link") {
    std::error_code error;
    std::filesystem::create_directory(path_, error);
    if (error) throw Error(Fault::File, fmt::format("{}: cannot be written: {}", printable(library), error.message()));
  }
  ~LinkFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  LinkFolder(const LinkFolder&) = delete;
  LinkFolder& operator=(const LinkFolder&) = delete;

  std::string write(const std::string& name, std::string_view bytes) const {
    std::string file = path_ + "/" + name;
    std::ofstream stream(file, std::ios::binary);
    stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    stream.close();
    if (!stream) throw Error(Fault::File, fmt::format("{}: cannot be written", printable(file)));
    return file;
  }

 private:
  std::string path_;
};

std::string version_script(const LinkInputs& inputs) {
  std::string script = "{ global:";
  for (const auto& [name, function] : inputs.exports) script += " " + name + ";";
  return script + " local: *; };\n";
}

std::string weights_script(int64_t bytes) {
  return fmt::format("SECTIONS {{ {} : ALIGN(4096) {{ {} = .; . += {}; BYTE(0) }} }} INSERT AFTER .rodata;\n",
                     kWeightsSection, kWeightsSymbol, bytes);
}

void run_lld(const std::vector<std::string>& arguments) {
  static std::mutex one_at_a_time;  // lld keeps its state in globals
  std::lock_guard lock(one_at_a_time);
  std::vector<const char*> pointers;
  for (const std::string& argument : arguments) pointers.push_back(argument.c_str());
  std::string output;
  llvm::raw_string_ostream stream(output);
  lld::Result result = lld::lldMain(pointers, stream, stream, {{lld::Gnu, &lld::elf::link}});
  LPD_CHECK(result.retCode == 0, "the linker failed: {}", output);
}

int64_t section_offset(const std::string& library, const char* name) {
  auto file = llvm::object::ObjectFile::createObjectFile(library);
  LPD_CHECK(static_cast<bool>(file), "the linked library cannot be read back");
  auto* elf = llvm::dyn_cast<llvm::object::ELF64LEObjectFile>(file->getBinary());
  for (const llvm::object::ELFSectionRef section : elf->sections()) {
    if (llvm::cantFail(section.getName()) == name)
      return static_cast<int64_t>(elf->getSection(section.getRawDataRefImpl())->sh_offset);
  }
  LPD_UNREACHABLE("the linked library has no section {}", name);
}

}  // namespace

int64_t link_library(const LinkInputs& inputs, const std::string& library) {
  if (inputs.weights_bytes > kMostWeights) {
    throw Error(Fault::Unsupported,
                fmt::format("{} bytes of weights: a library holds at most {}", inputs.weights_bytes, kMostWeights));
  }
  LinkFolder folder(library);
  std::vector<std::string> arguments = {"ld.lld",
                                        "-shared",
                                        "--gc-sections",
                                        "-z",
                                        "relro",
                                        "-z",
                                        "now",
                                        "-z",
                                        "noexecstack",
                                        "--build-id=none",
                                        "--hash-style=gnu",
                                        "--threads=1",
                                        "-O1",
                                        "-soname",
                                        std::filesystem::path(library).filename().string(),
                                        "-o",
                                        library,
                                        "--version-script",
                                        folder.write("exports", version_script(inputs))};
  for (const auto& [name, function] : inputs.exports)
    arguments.push_back(fmt::format("--defsym={}={}", name, function));
  for (size_t i = 0; i < inputs.objects.size(); ++i) {
    arguments.push_back(folder.write(fmt::format("{}.o", i), {inputs.objects[i].data(), inputs.objects[i].size()}));
  }
  arguments.push_back(folder.write("runtime.a", embedded_runtime()));
  arguments.push_back(folder.write("libm.so", embedded_libm()));
  arguments.push_back(folder.write("libc.so", embedded_libc()));
  if (inputs.weights_bytes > 0) {
    arguments.push_back("-T");
    arguments.push_back(folder.write("weights.ld", weights_script(inputs.weights_bytes)));
  }
  run_lld(arguments);
  return inputs.weights_bytes > 0 ? section_offset(library, kWeightsSection) : 0;
}

std::vector<std::string> required_features(const Target& target) {
  std::vector<std::string> features;
  if (target.vector_bytes >= 32) {
    features = {"sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "cx16", "movbe",
                "avx",  "avx2",  "fma",    "f16c",   "bmi",    "bmi2"};
  }
  if (target.vector_bytes >= 64)
    features.insert(features.end(), {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"});
  std::stringstream parts(target.features);  // a native CPU's own: "+avx512f,-amx-tile,…"
  for (std::string part; std::getline(parts, part, ',');) {
    bool beyond = part.starts_with("+avx") || part == "+gfni" || part == "+vaes" || part == "+vpclmulqdq";
    if (beyond && std::find(features.begin(), features.end(), part.substr(1)) == features.end())
      features.push_back(part.substr(1));
  }
  return features;
}

}  // namespace lapidary::codegen::cpu
