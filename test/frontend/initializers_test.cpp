// Initializers, input types and declared shapes.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "test/frontend/imported.h"

namespace lapidary::frontend {
namespace {

using Messages = std::vector<std::string>;

Messages problems_with(const std::string& initializer) {
  return problems(model_text("g (float[2] x) => (float[2] y) <" + initializer + "> { y = Add(x, w) }"));
}

TEST(Initializers, CountsMustFit) {
  EXPECT_EQ(problems_with("float[3] w = {1, 2}"), Messages{"initializer 'w': f32[3] needs 12 bytes, float_data has 8"});
  EXPECT_EQ(problems_with("float[-3] w = {1, 2}").size(), 1u);
  EXPECT_EQ(problems_with("float[4611686018427387904, 4, 6] w = {1}"),
            Messages{"initializer 'w': element count overflows int64"});
  EXPECT_EQ(problems_with("float[2] w = {1, 2}, float[2] w = {1, 2}"), Messages{"initializer 'w' is given twice"});
}

TEST(Initializers, DeclaredShapesMustFit) {
  EXPECT_EQ(problems(model_text("g (float[2,3] x) => (float[9,9] y) { y = Relu(x) }")),
            Messages{"value 'y' is declared with extent 9 of axis 0, computed f32[2, 3]"});
  EXPECT_EQ(problems(model_text("g (float[2,3] x) => (int64[2,3] y) { y = Relu(x) }")),
            Messages{"value 'y' is declared i64, computed f32[2, 3]"});
  EXPECT_EQ(problems(model_text("g (float[2,3] x) => (float[2] y) { y = Relu(x) }")),
            Messages{"value 'y' is declared with rank 1, computed f32[2, 3]"});
  Diagnostics diagnostics;
  EXPECT_NE(import_text(model_text("g (float[N,3] x) => (float[1,3] y) { y = Relu(x) }"), {}, diagnostics), nullptr);
  EXPECT_EQ(diagnostics.warnings().size(), 1u);
}

std::string input_type(const Module& module) { return to_string(module.functions[0]->body->arguments[0]->type); }

TEST(Inputs, SymbolsKeepTheirNamesOrGetOne) {
  EXPECT_EQ(input_type(*imported(model_text("g (float[N, 3, N, ?] x) => (float[N, 3, N, M] y) { y = Relu(x) }"))),
            "f32[N, 3, N, x_3]");
  EXPECT_EQ(input_type(*imported(model_text("g (float[max, d0] x) => (float[a, b] y) { y = Relu(x) }"))),
            "f32[max_, d0]");
}

TEST(Inputs, ShapesCanBeFixed) {
  std::string text = model_text("g (float[N, S] x, float[N, 1] z) => (float[N, S] y) { y = Add(x, z) }");
  auto module = imported(text, {.shapes = {{"x", {4, -1}}}});
  EXPECT_EQ(input_type(*module), "f32[4, S]");
  EXPECT_EQ(to_string(module->functions[0]->body->arguments[1]->type), "f32[4, 1]");
  EXPECT_EQ(problems(text, {.shapes = {{"q", {4}}}}), Messages{"--shape names 'q', which is no input of the model"});
  EXPECT_EQ(problems(text, {.shapes = {{"x", {4}}}}), Messages{"input 'x': --shape gives 1 extent, it has rank 2"});
  EXPECT_EQ(problems(text, {.shapes = {{"x", {4, 2}}, {"z", {5, 1}}}}).size(), 1u);
}

TEST(Inputs, NonsenseIsRefused) {
  EXPECT_EQ(problems(model_text("g (float[1099511627776, 1099511627776] x) => (float[a, b] y) { y = Relu(x) }")),
            Messages{"input 'x': element count overflows int64"});
}

// --- external data ---------------------------------------------------------------------------------------------------

class External : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / fmt::format("lapidary-external-{}", getpid());
    std::filesystem::create_directories(folder_ / "model/sub");
    write("secret.bin", 4096);
    write("model/w.bin", 64);
    write("model/sub/w.bin", 64);
    std::filesystem::create_symlink(folder_ / "model/w.bin", folder_ / "model/link.bin");
    std::filesystem::create_directory_symlink(folder_ / "model/sub", folder_ / "model/linked");
    std::filesystem::create_hard_link(folder_ / "secret.bin", folder_ / "model/hard.bin");
    mkfifo((folder_ / "model/fifo").c_str(), 0600);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& name, size_t size) { std::ofstream(folder_ / name) << std::string(size, 'w'); }

  // A model file whose initializer is float[4] in a file of its own.
  std::string problem(const std::string& location, const std::string& offset = "0", const std::string& length = "16") {
    auto bytes = [](int field, const std::string& s) {
      return std::string{static_cast<char>(field << 3 | 2), static_cast<char>(s.size())} + s;
    };
    auto number = [](int field, int n) { return std::string{static_cast<char>(field << 3), static_cast<char>(n)}; };
    auto entry = [&](const std::string& key, const std::string& value) {
      return bytes(13, bytes(1, key) + bytes(2, value));
    };
    std::string tensor = number(1, 4) + number(2, 1) + bytes(8, "w") + entry("location", location) +
                         entry("offset", offset) + entry("length", length) + number(14, 1);
    std::string type = bytes(1, number(1, 1) + bytes(2, bytes(1, number(1, 4))));
    std::string node = bytes(1, "w") + bytes(2, "y") + bytes(4, "Relu");
    std::string graph = bytes(1, node) + bytes(5, tensor) + bytes(12, bytes(1, "y") + bytes(2, type));
    std::string path = folder_ / "model/m.onnx";
    // The graph is longer than one byte of length can say.
    std::string header = number(1, 8) + bytes(8, number(2, 17)) + "\x3a";
    for (size_t size = graph.size();; size >>= 7) {
      header += static_cast<char>((size & 0x7f) | (size >= 0x80 ? 0x80 : 0));
      if (size < 0x80) break;
    }
    std::ofstream(path) << header + graph;
    Diagnostics diagnostics;
    auto module = import_model(path, {}, diagnostics);
    EXPECT_EQ(module == nullptr, diagnostics.failed());
    return diagnostics.failed() ? diagnostics.errors()[0].message.substr(path.size() + 2) : "none";
  }

  std::filesystem::path folder_;
};

TEST_F(External, StaysInsideTheFolder) {
  std::string where = "initializer 'w': external data: ";
  EXPECT_EQ(problem("w.bin"), "none");
  EXPECT_EQ(problem("sub/../w.bin"), where + "location 'sub/../w.bin' leaves the model's folder");
  EXPECT_EQ(problem("./sub/w.bin", "48"), "none");
  EXPECT_EQ(problem("../secret.bin"), where + "location '../secret.bin' leaves the model's folder");
  EXPECT_EQ(problem("/etc/passwd"), where + "location '/etc/passwd' leaves the model's folder");
  EXPECT_EQ(problem("*/_ORT_MEM_ADDR_/*"), where + "cannot open '*/_ORT_MEM_ADDR_/*': No such file or directory");
  EXPECT_EQ(problem(""), where + "no location");
  EXPECT_EQ(problem("link.bin"), where + "'link.bin' is a symbolic link");
  EXPECT_EQ(problem("linked/w.bin"), where + "'linked' is a symbolic link");
  EXPECT_EQ(problem("hard.bin"), where + "'hard.bin' has 2 hard links");
}

TEST_F(External, IsARegularFileOfSufficientLength) {
  std::string where = "initializer 'w': external data: ";
  EXPECT_EQ(problem("sub"), where + "'sub' is not a regular file");
  EXPECT_EQ(problem("fifo"), where + "'fifo' is not a regular file");
  EXPECT_EQ(problem("gone.bin"), where + "cannot open 'gone.bin': No such file or directory");
  EXPECT_EQ(problem("w.bin", "56"), where + "offset 56 + length 16 exceeds file size 64");
  EXPECT_EQ(problem("w.bin", "-8"), where + "offset '-8' is not a size");
  EXPECT_EQ(problem("w.bin", "0x1;rm"), where + "offset '0x1;rm' is not a size");
  EXPECT_EQ(problem("w.bin", "0", "8"), where + "length 8, the tensor needs 16 bytes");
  EXPECT_EQ(problem("w.bin", "9223372036854775807"),
            where + "offset 9223372036854775807 + length 16 exceeds file size 64");
}

}  // namespace
}  // namespace lapidary::frontend
