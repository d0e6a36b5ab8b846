// Broken graphs: names, order, functions, schemas. Each test is one class of mistake and the line it gives.
#include "test/frontend/imported.h"

namespace lapidary::frontend {
namespace {

using Messages = std::vector<std::string>;

std::string graph(const std::string& nodes, const std::string& output = "y") {
  return model_text("g (float[2,3] x) => (float[2,3] " + output + ") {" + nodes + "}");
}

TEST(Structure, NamesAreDefinedOnce) {
  EXPECT_EQ(problems(graph("y = Relu(nope)")),
            Messages{"node 'y' (Relu): input 0 'nope' is not produced by any node, input or initializer"});
  EXPECT_EQ(problems(graph("y = Relu(x) y = Abs(x)")),
            Messages{"node 'y' (Abs): value 'y' is already defined by node 'y' (Relu)"});
  EXPECT_EQ(problems(graph("x = Relu(x)", "x")), Messages{"node 'x' (Relu): value 'x' is already defined as an input"});
  EXPECT_EQ(problems(graph("z = Relu(x)")), Messages{"output 'y' of the graph is never produced"});
  EXPECT_EQ(problems(model_text("g (float[2] x, float[2] x) => (float[2] y) { y = Relu(x) }")),
            Messages{"the graph has two inputs named 'x'"});
  EXPECT_EQ(problems(model_text("g (float[2] x) => () { y = Relu(x) }")), Messages{"the graph has no outputs"});
}

TEST(Structure, CyclesAreShown) {
  EXPECT_EQ(problems(graph("[one] a = Add(x, b) [two] b = Relu(a) y = Relu(b)")),
            Messages{"cycle: 'one' -> 'two' -> 'one'"});
  EXPECT_EQ(problems(graph("[self] y = Add(x, y)")), Messages{"cycle: 'self' -> 'self'"});
}

TEST(Structure, UnsortedNodesAreSorted) {
  Diagnostics diagnostics;
  EXPECT_NE(import_text(graph("y = Relu(a) a = Abs(x)"), {}, diagnostics), nullptr);
  ASSERT_EQ(diagnostics.warnings().size(), 1u);
  EXPECT_EQ(diagnostics.warnings()[0].message, "text: nodes are not listed in the order of their use; sorted");
}

TEST(Structure, ALongChainIsNoRecursion) {
  std::string nodes = "v0 = Relu(x) ";
  for (int i = 1; i < 20000; ++i) nodes += fmt::format("v{} = Abs(v{}) ", i, i - 1);
  imported(graph(nodes + "y = Relu(v19999)"));
}

TEST(Structure, ProblemsAreReportedTogetherAndFollowUpsAreNot) {
  EXPECT_EQ(problems(graph("[a] b = Conv(x) [c] d = Fooo(x) [e] f = Relu(b) [g] h = Softmax <axis = 9> (f) [i] y = "
                           "Softmax <axis = 5> (x)")),
            (Messages{"node 'a' (Conv, opset 17): takes 2 to 3 inputs, got 1",
                      "node 'c' (Fooo, opset 17): no operator 'Fooo' in ai.onnx opset 17 (did you mean 'Floor'?)",
                      "node 'i' (Softmax, opset 17): axis 5 not in [-2, 1]"}));
}

TEST(Schemas, OpsetsAndOperators) {
  EXPECT_EQ(problems("<ir_version: 8, opset_import: [\"\" : 9999]> g (float[2] x) => (float[2] y) { y = Relu(x) }")[0],
            "opset 9999 of ai.onnx (supported 1 to 28)");
  EXPECT_EQ(
      problems(
          "<ir_version: 8, opset_import: [\"\" : 17, \"\" : 7]> g (float[2] x) => (float[2] y) { y = Relu(x) }")[0],
      "domain 'ai.onnx' is imported as 17 and 7");
  imported(
      "<ir_version: 8, opset_import: [\"\" : 17, \"ai.onnx\" : 17]> g (float[2] x) => (float[2] y) { y = Relu(x) }");
  EXPECT_EQ(problems("<ir_version: 9999, opset_import: [\"\" : 17]> g (float[2] x) => (float[2] y) { y = Relu(x) }")[0],
            "ir_version 9999 (supported 3 to 14)");
  EXPECT_EQ(
      problems("<ir_version: 8, opset_import: [\"ai.onnx.ml\" : 1]> g (float[2] x) => (float[2] y) { y = Relu(x) }")[0],
      "node 'y' (Relu): no opset_import for domain 'ai.onnx'");
  EXPECT_EQ(problems(graph("y = evil.corp.Relu(x)"))[0],
            "node 'y' (Relu): unknown domain 'evil.corp', and the model has no such function");
  EXPECT_EQ(problems(graph("y = Relo(x)"))[0],
            "node 'y' (Relo, opset 17): no operator 'Relo' in ai.onnx opset 17 (did you mean 'Relu'?)");
  EXPECT_EQ(problems(graph("y = Upsample(x, x)"))[0],
            "node 'y' (Upsample, opset 17): Upsample was removed in opset 10");
}

TEST(Schemas, Attributes) {
  EXPECT_EQ(problems(graph("y = Relu <alpha = 1.0> (x)"))[0],
            "node 'y' (Relu, opset 17): attribute 'alpha' is not allowed");
  EXPECT_EQ(problems(graph("y = Softmax <axis = [1]> (x)"))[0],
            "node 'y' (Softmax, opset 17): attribute 'axis': expected INT, got INTS");
  EXPECT_EQ(problems(graph("y = Softmax <axis = 1, axis = 1> (x)"))[0],
            "node 'y' (Softmax, opset 17): attribute 'axis' is given twice");
  EXPECT_EQ(problems(graph("y = Concat(x, x)"))[0], "node 'y' (Concat, opset 17): attribute 'axis' is missing");
  EXPECT_EQ(problems(graph("y = Cast <to = 999> (x)"))[0],
            "node 'y' (Cast, opset 17): attribute 'to': unknown data_type 999");
}

TEST(Schemas, ElementTypes) {
  EXPECT_EQ(problems(model_text("g (float[2] x, int64[2] i) => (float[2] y) { y = Add(x, i) }"))[0],
            "node 'y' (Add, opset 17): inputs 0 and 1 must have one element type, got f32 and i64");
  EXPECT_EQ(problems(model_text("g (bool[2] x) => (bool[2] y) { y = Sqrt(x) }"))[0],
            "node 'y' (Sqrt, opset 17): input 0 (X) cannot be bool");
  EXPECT_EQ(problems(graph("y = Clip(x, x)"))[0],
            "node 'y' (Clip, opset 17): a bound has shape [2, 3], expected a scalar");
}

const char* kHead =
    "<ir_version: 8, opset_import: [\"\" : 17, \"f\" : 1]> g (float[2] x) => (float[2] y) { y = f.A(x) }\n";

TEST(Functions, RecursionAndExpansionAreFoundBeforehand) {
  std::string a = "<domain: \"f\", opset_import: [\"\" : 17, \"f\" : 1]> A (x) => (y) { y = f.B(x) }\n";
  std::string b = "<domain: \"f\", opset_import: [\"\" : 17, \"f\" : 1]> B (x) => (y) { y = f.A(x) }\n";
  EXPECT_EQ(problems(kHead + a + b), Messages{"recursion: f::A -> f::B -> f::A"});
  std::string bomb =
      "<ir_version: 8, opset_import: [\"\" : 17, \"f\" : 1]> g (float[2] x) => (float[2] y) { y = f.F0(x) }\n";
  for (int i = 0; i < 30; ++i)
    bomb += fmt::format(
        "<domain: \"f\", opset_import: [\"\" : 17, \"f\" : 1]> F{} (x) => (y) {{ t = f.F{}(x) y = f.F{}(t) }}\n", i,
        i + 1, i + 1);
  bomb += "<domain: \"f\", opset_import: [\"\" : 17]> F30 (x) => (y) { y = Relu(x) }\n";
  EXPECT_EQ(problems(bomb), Messages{"inlining functions exceeds 1000000 nodes"});
}

TEST(Functions, AreInlinedWithTheirAttributes) {
  std::string text =
      "<ir_version: 8, opset_import: [\"\" : 17, \"f\" : 1]> g (float[2] x) => (float[2] y) { [call] y = f.A <slope = "
      "0.5> (x) }\n"
      "<domain: \"f\", opset_import: [\"\" : 17]> A <slope> (x) => (y) { [leak] y = LeakyRelu <alpha: float = @slope> "
      "(x) }\n";
  EXPECT_EQ(values(text, {floats({2}, {-4, 3})})[0].numbers, (std::vector<double>{-2, 3}));
  auto module = imported(text);
  EXPECT_EQ(module->describe(module->functions[0]->body->ops.front().origin), "node 'call/leak' (LeakyRelu, opset 17)");
}

TEST(Functions, MissingAttributesAreNamed) {
  std::string text =
      "<ir_version: 8, opset_import: [\"\" : 17, \"f\" : 1]> g (float[2] x) => (float[2] y) { y = f.A (x) }\n"
      "<domain: \"f\", opset_import: [\"\" : 17]> A <slope> (x) => (y) { y = LeakyRelu <alpha: float = @slope> (x) }\n";
  EXPECT_EQ(problems(text), Messages{"node 'y' (A, opset 1): attribute 'slope' of the function is missing"});
}

}  // namespace
}  // namespace lapidary::frontend
