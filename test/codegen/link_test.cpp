// Products as files: they load, compute, export nothing but their own names, do not depend on the number of jobs, and
// a failure leaves nothing behind. Headers compile as C and as C++.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "codegen/codegen.h"
#include "codegen/cpu/features.h"
#include "codegen/host/exports.h"
#include "ir/error.h"
#include "runtime/lapidary.h"
#include "test/codegen/small_program.h"

namespace lapidary::test {
namespace {

namespace fs = std::filesystem;

struct Folder {
  fs::path path;
  Folder() {
    std::string name = (fs::temp_directory_path() / "lapidary-test-XXXXXX").string();
    path = mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return path / name; }
  size_t files() const { return std::distance(fs::directory_iterator(path), fs::directory_iterator()); }
};

std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  for (int c; (c = fgetc(pipe)) != EOF;) text += static_cast<char>(c);
  const int status = pclose(pipe);
  return status == 0 ? text : text + "\nexit status " + std::to_string(status);
}

void build(const SmallProgram& small, const std::string& symbol, const std::string& library, int jobs = 1) {
  codegen::ArtifactOptions options;
  options.jobs = jobs;
  codegen::write_library(small.program, codegen::resolve_target("native"), symbol, library, library + ".h", options);
}

struct Library {
  void* handle;
  std::string symbol;
  Library(const std::string& path, const std::string& symbol) : handle(dlopen(path.c_str(), RTLD_NOW)), symbol(symbol) {
    EXPECT_TRUE(handle) << dlerror();
  }
  ~Library() { dlclose(handle); }
  template <class Function>
  Function get(const char* name) const {
    return reinterpret_cast<Function>(dlsym(handle, (symbol + "_" + name).c_str()));
  }
};

void run_and_check(const Library& library, int threads, int64_t n, int64_t period = 8) {
  lpd_options options{};
  options.size = sizeof options;
  options.threads = threads;
  lpd_instance* instance = nullptr;
  ASSERT_EQ(library.get<lpd_status (*)(const lpd_options*, lpd_instance**)>("create")(&options, &instance), LPD_OK);
  std::vector<float> a(n), b(n);
  for (int64_t i = 0; i < n; ++i) a[i] = static_cast<float>(i), b[i] = static_cast<float>(2 * i);
  const int64_t dims[] = {n};
  lpd_tensor tensor{sizeof(lpd_tensor), 0, a.data(), 4 * n, 1, 1, dims, nullptr};
  const auto bind = library.get<decltype(&lpd_bind)>("bind");
  ASSERT_EQ(bind(instance, 0, &tensor), LPD_OK);
  tensor.data = b.data();
  ASSERT_EQ(bind(instance, 1, &tensor), LPD_OK);
  ASSERT_EQ(library.get<decltype(&lpd_run)>("run")(instance, 0, nullptr), LPD_OK);
  lpd_tensor y{};
  y.size = sizeof y;
  ASSERT_EQ(library.get<decltype(&lpd_output)>("output")(instance, 2, &y), LPD_OK);
  for (int64_t i = 0; i < n; ++i)
    ASSERT_EQ(static_cast<const float*>(y.data)[i], a[i] + b[i] + SmallProgram::weight_at(i % period)) << i;
  library.get<decltype(&lpd_destroy)>("destroy")(instance);
}

TEST(Library, Computes) {
  const Folder folder;
  build(SmallProgram(), "small", folder / "small.so");
  const Library library(folder / "small.so", "small");
  for (int threads : {1, 2})
    for (int64_t n : {0, 1, 15, 16, 17, 1000}) run_and_check(library, threads, n);
}

TEST(Library, DescribesItself) {
  const Folder folder;
  build(SmallProgram(), "small", folder / "small.so");
  const Library library(folder / "small.so", "small");
  EXPECT_EQ(library.get<int32_t (*)()>("input_count")(), 2);
  EXPECT_EQ(library.get<int32_t (*)()>("output_count")(), 1);
  lpd_tensor_info info{.size = sizeof info};
  ASSERT_EQ(library.get<lpd_status (*)(int, lpd_tensor_info*)>("describe")(2, &info), LPD_OK);
  EXPECT_STREQ(info.name, "y");
  EXPECT_EQ(info.dims[0], -1);
  EXPECT_STREQ(info.dim_names[0], "N");
  int32_t count = 0;
  EXPECT_STREQ(library.get<const char* const* (*)(int32_t*)>("symbols")(&count)[0], "N");
  EXPECT_EQ(count, 1);
  const int64_t n = 17, beyond = INT64_MAX;
  EXPECT_EQ(library.get<int64_t (*)(const int64_t*)>("arena_bytes")(&n), 4096);
  EXPECT_EQ(library.get<int64_t (*)(const int64_t*)>("arena_bytes")(&beyond), -1);
}

TEST(Library, ExportsOnlyItsOwnNames) {
  const Folder folder;
  build(SmallProgram(), "small", folder / "small.so");
  std::istringstream names(output_of("nm -D --defined-only " + (folder / "small.so")));
  std::set<std::string> found;
  for (std::string address, kind, name; names >> address >> kind >> name;) found.insert(name);
  EXPECT_EQ(found.size(), codegen::host::kExports.size());
  for (const std::string& name : found) EXPECT_EQ(name.rfind("small_", 0), 0u) << name;
}

TEST(Library, NeedsLibcAlone) {
  const Folder folder;
  build(SmallProgram(), "small", folder / "small.so");
  const std::string dynamic = output_of("readelf -d " + (folder / "small.so"));
  EXPECT_NE(dynamic.find("[libc.so.6]"), dynamic.npos);
  EXPECT_EQ(dynamic.find("(NEEDED)"), dynamic.rfind("(NEEDED)")) << dynamic;
}

TEST(Library, SameBytesForAnyNumberOfJobs) {
  const Folder folder;
  const SmallProgram small("small", 5 << 20);
  build(small, "small", folder / "one.so", 1);
  build(small, "small", folder / "two.so", 2);
  EXPECT_TRUE(read_file(folder / "one.so") == read_file(folder / "two.so"));
  EXPECT_EQ(read_file(folder / "one.so.h"), read_file(folder / "two.so.h"));
}

TEST(Library, LargeWeightsAreWhole) {
  const Folder folder;
  const int64_t elements = 5 << 20;
  build(SmallProgram("small", elements), "small", folder / "small.so", 2);
  run_and_check(Library(folder / "small.so", "small"), 2, elements + 1000, elements);
}

TEST(Library, TwoInOneProcess) {
  const Folder folder;
  build(SmallProgram("one"), "one", folder / "one.so");
  build(SmallProgram("two", 3), "two", folder / "two.so");
  const Library one(folder / "one.so", "one"), two(folder / "two.so", "two");
  run_and_check(one, 2, 100);
  run_and_check(two, 2, 100, 3);
}

TEST(Library, ReplacesAnOlderOne) {
  const Folder folder;
  std::ofstream(folder / "small.so") << "something else";
  build(SmallProgram(), "small", folder / "small.so");
  run_and_check(Library(folder / "small.so", "small"), 1, 10);
  EXPECT_EQ(folder.files(), 2u);
}

void expect_file_error(const std::string& library, const std::string& message) {
  try {
    build(SmallProgram("small", 1 << 20), "small", library);
    FAIL() << "was written";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault, Fault::File);
    EXPECT_EQ(std::string(error.what()), message);
  }
}

TEST(Library, MissingFolder) {
  expect_file_error("/no/such/folder/x.so", "cannot write '/no/such/folder/x.so': No such file or directory");
}

TEST(Library, FullDiskLeavesNothing) {
  const Folder folder;
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  for (rlim_t bytes : {1000, 1'000'000}) {  // in the header, in the weights
    const rlimit small{bytes, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    const std::string path = folder / "x.so";
    expect_file_error(path, "cannot write '" + path + (bytes == 1000 ? ".h" : "") + "': File too large");
    setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_EQ(folder.files(), 0u) << bytes;
  }
  signal(SIGXFSZ, handler);
}

TEST(Library, SymbolOfNoInput) {
  SmallProgram small;
  small.program.entries[0].outputs[0].shape = {small.module->dims.symbol("M")};
  const Folder folder;
  try {
    build(small, "small", folder / "small.so");
    FAIL() << "was written";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault, Fault::Unsupported);
    EXPECT_STREQ(error.what(), "the dimension 'M' is not the extent of any input");
  }
  EXPECT_EQ(folder.files(), 0u);
}

TEST(Library, KnowsEveryFeatureItsTargetsNeed) {
  // A feature the runtime cannot ask for would be reported missing on every CPU; this machine has those of its own.
  const Folder folder;
  build(SmallProgram(), "small", folder / "small.so");
  run_and_check(Library(folder / "small.so", "small"), 1, 1);
  for (const char* name : {"x86-64-v3", "x86-64-v4", "znver4", "sapphirerapids"})
    EXPECT_FALSE(codegen::cpu::needed_features(codegen::resolve_target(name)).empty()) << name;
}

TEST(Header, CompilesAsCAndCpp) {
  SmallProgram small("evil */ name // ?\?/\n \"");
  small.program.entries[0].inputs[0].name = "*/ int x; /* \\";
  SmallProgram other("other");
  const Folder folder;
  std::ofstream(folder / "one.h") << codegen::header_text(small.program, "one");
  std::ofstream(folder / "two.h") << codegen::header_text(other.program, "two");
  for (const char* name : {"use.c", "use.cpp"})
    std::ofstream(folder / name) << R"(#include "one.h"
#include "two.h"
#include "one.h"
#include <stddef.h>
int main(void) {
  lpd_instance *instance;
  lpd_tensor_info info;
  info.size = sizeof info;
  if (one_create(NULL, &instance) != LPD_OK || two_describe(0, &info) != LPD_OK || one_abi_version() != LPD_ABI_VERSION) return 1;
  if (two_input_count() + one_output_count() + one_arena_bytes(NULL) + two_profile_count(instance, 0) == 0) return 2;
  one_destroy(instance);
  return 0;
}
)";
  const std::string flags = " -Wall -Wextra -Werror -pedantic -c -o /dev/null ";
  EXPECT_EQ(output_of("cc -std=c99" + flags + (folder / "use.c")), "");
  EXPECT_EQ(output_of("c++ -std=c++98 -Wno-long-long" + flags + (folder / "use.cpp")), "");
  EXPECT_EQ(output_of("c++ -std=c++20" + flags + (folder / "use.cpp")), "");
}

TEST(Identifier, OfAnyText) {
  EXPECT_EQ(codegen::c_identifier("resnet-50"), "resnet_50");
  EXPECT_EQ(codegen::c_identifier("50 net"), "model_50_net");
  EXPECT_EQ(codegen::c_identifier(""), "model_");
}

}  // namespace
}  // namespace lapidary::test
