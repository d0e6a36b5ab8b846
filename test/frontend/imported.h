// What the frontend's tests share: models in ONNX's text form, their problems, and their values by the interpreter.
#pragma once

#include <gtest/gtest.h>

#include "frontend/import.h"
#include "ir/interpreter.h"
#include "ir/verifier.h"

namespace lapidary::frontend {

// A graph's text with the header every model has.
inline std::string model_text(const std::string& graph, int opset = 17) {
  return fmt::format("<ir_version: 8, opset_import: [\"\" : {}]>\n{}", opset, graph);
}

// All messages of an import that must fail, without the file's name.
inline std::vector<std::string> problems(const std::string& text, const ImportOptions& options = {}) {
  Diagnostics diagnostics;
  EXPECT_EQ(import_text(text, options, diagnostics), nullptr);
  std::vector<std::string> messages;
  for (const Diagnostic& error : diagnostics.errors())
    messages.push_back(error.message.substr(std::string("text: ").size()));
  return messages;
}

inline std::unique_ptr<Module> imported(const std::string& text, const ImportOptions& options = {}) {
  Diagnostics diagnostics;
  auto module = import_text(text, options, diagnostics);
  for (const Diagnostic& error : diagnostics.errors()) ADD_FAILURE() << error.message;
  if (!module) throw std::runtime_error("import failed");
  EXPECT_EQ(verify(*module), std::vector<std::string>());
  return module;
}

inline Tensor floats(std::vector<int64_t> shape, std::vector<double> values) {
  Tensor tensor{DType::F32, std::move(shape), std::move(values), {}};
  return tensor;
}

inline std::vector<Tensor> values(const std::string& text, const std::vector<Tensor>& inputs) {
  auto module = imported(text);
  return interpret(*module, *module->functions[0], inputs);
}

}  // namespace lapidary::frontend
