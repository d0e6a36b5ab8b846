// Random graphs as whole products through the C interface, with two threads: what the kernels' own tests leave out,
// tables, formulas of extents, the memory plan and barriers. One instance is bound to several values of its symbols,
// there and back; its memory comes poisoned and ends at guard pages.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "codegen/codegen.h"
#include "ir/error.h"
#include "ir/text.h"
#include "passes/pipeline.h"
#include "runtime/lapidary.h"
#include "test/kernels/guarded_block.h"
#include "test/passes/random_graphs.h"

namespace lapidary::testing {
namespace {

constexpr uint64_t kGraphs = 200;
constexpr double kTolerance = 2e-4;  // sums of squares and exponentials in float32

struct Folder {
  std::string path = (std::filesystem::temp_directory_path() / "lapidary-test-XXXXXX").string();
  Folder() { mkdtemp(path.data()); }
  ~Folder() { std::filesystem::remove_all(path); }
};

// Memory for an instance, each piece between guards.
struct GuardedMemory {
  std::map<void*, test::GuardedBlock> blocks;
  lpd_alloc alloc{this,
                  [](void* self, int64_t bytes, int64_t alignment) -> void* {
                    test::GuardedBlock block((bytes + alignment - 1) / alignment * alignment,
                                             test::Placement::EndsAtGuard, "instance");
                    void* data = block.data();
                    static_cast<GuardedMemory*>(self)->blocks.emplace(data, std::move(block));
                    return data;
                  },
                  [](void* self, void* memory, int64_t) { static_cast<GuardedMemory*>(self)->blocks.erase(memory); }};
};

class Product {
 public:
  Product(const Program& program, const Target& target) {
    const std::string library = folder_.path + "/random.so";
    codegen::write_library(program, target, "random", library, folder_.path + "/random.h", {});
    handle_ = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    LPD_CHECK(handle_, "{}", dlerror());
    lpd_options options{};
    options.size = sizeof options;
    options.threads = 2;
    options.alloc = &memory_.alloc;
    check(get<lpd_status (*)(const lpd_options*, lpd_instance**)>("create")(&options, &instance_));
  }
  ~Product() {
    if (instance_) get<decltype(&lpd_destroy)>("destroy")(instance_);
    if (handle_) dlclose(handle_);
    EXPECT_TRUE(memory_.blocks.empty()) << "memory of a destroyed instance";
  }

  std::vector<Tensor> run(const std::vector<Tensor>& inputs, size_t outputs) {
    std::vector<test::GuardedBlock> blocks;
    for (size_t i = 0; i < inputs.size(); ++i) bind(static_cast<int>(i), inputs[i], blocks);
    check(get<decltype(&lpd_run)>("run")(instance_, 0, nullptr));
    std::vector<Tensor> results;
    for (size_t i = 0; i < outputs; ++i) results.push_back(output(static_cast<int>(inputs.size() + i)));
    return results;
  }

 private:
  void bind(int slot, const Tensor& tensor, std::vector<test::GuardedBlock>& blocks) {
    const std::vector<std::byte> bytes = tensor.to_bytes();
    const auto count = static_cast<int64_t>(bytes.size());
    test::GuardedBlock& block = blocks.emplace_back(count, test::Placement::EndsAtGuard, "input");
    std::copy(bytes.begin(), bytes.end(), block.data());
    block.allow(test::Access::Read);
    lpd_tensor bound{};
    bound.size = sizeof bound;
    bound.data = block.data();
    bound.bytes = count;
    bound.dtype = static_cast<uint8_t>(tensor.dtype);
    bound.rank = static_cast<uint8_t>(tensor.shape.size());
    bound.dims = tensor.shape.data();
    check(get<decltype(&lpd_bind)>("bind")(instance_, slot, &bound));
  }

  Tensor output(int slot) {
    lpd_tensor found{};
    found.size = sizeof found;
    check(get<decltype(&lpd_output)>("output")(instance_, slot, &found));
    const std::span bytes(static_cast<const std::byte*>(found.data), static_cast<size_t>(found.bytes));
    return Tensor::from_bytes(static_cast<DType>(found.dtype), {found.dims, found.dims + found.rank}, bytes);
  }

  template <class Function>
  Function get(const char* name) const {
    return reinterpret_cast<Function>(dlsym(handle_, (std::string("random_") + name).c_str()));
  }
  void check(lpd_status status) const {
    if (status == LPD_OK) return;
    const char* text = instance_ ? get<decltype(&lpd_error)>("error")(instance_) : "no instance";
    throw Error(Fault::Internal, fmt::format("status {}: {}", static_cast<int>(status), text));
  }

  Folder folder_;
  GuardedMemory memory_;
  void* handle_ = nullptr;
  lpd_instance* instance_ = nullptr;
};

class ProductOfRandomGraph : public ::testing::TestWithParam<uint64_t> {};

TEST_P(ProductOfRandomGraph, KeepsTheMeaningWhenRebound) {
  RandomGraph graph = random_graph(GetParam());
  const std::vector<RandomInputs> sets = random_input_sets(graph, GetParam());
  passes::Options options;
  options.target = codegen::resolve_target("native");
  passes::run_graph_passes(*graph.module, options);
  const Program program = passes::lower(*graph.module, options);
  try {
    Product product(program, options.target);
    for (size_t round = 0; round < 2 * sets.size(); ++round) {
      const RandomInputs& set = sets[round < sets.size() ? round : 2 * sets.size() - 1 - round];
      const std::string text = difference(set.expected, product.run(set.inputs, set.expected.size()), kTolerance);
      ASSERT_EQ(text, "") << "round " << round << " with" << set.text() << "\n" << print_program(program);
    }
  } catch (const Error& error) { FAIL() << error.what() << "\n" << print_program(program); }
}

INSTANTIATE_TEST_SUITE_P(Seeds, ProductOfRandomGraph, ::testing::Range<uint64_t>(0, kGraphs));

}  // namespace
}  // namespace lapidary::testing
