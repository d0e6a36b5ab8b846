// A module to build by hand in a test: one function `run`.
#pragma once

#include <fmt/format.h>

#include "ir/graph_builder.h"

namespace lapidary::test {

struct Model {
  Module module;
  Function& function = module.add_function("run");
  GraphBuilder build{module, *function.body};

  Dim symbol(const std::string& name) { return module.dims.symbol(name); }
  Shape shape(std::vector<int64_t> extents) {
    Shape result;
    for (int64_t extent : extents) result.push_back(module.dims.constant(extent));
    return result;
  }
  Value* input(Shape shape, DType dtype = DType::F32) {
    function.argument_names.push_back(fmt::format("x{}", function.argument_names.size()));
    return add_argument(module, *function.body, Type::tensor(dtype, std::move(shape)));
  }
  void result(std::vector<Value*> values) {
    for (size_t i = 0; i < values.size(); ++i) function.result_names.push_back(fmt::format("y{}", i));
    build.yield(std::move(values));
  }
};

}  // namespace lapidary::test
