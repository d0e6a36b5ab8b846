// A program made by hand, for tests of what comes after lowering: inputs a and b of f32[N], a weight w of f32[W],
//   t = a + b (arena);  y[i] = t[i] + w[i mod W]
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "ir/program.h"

namespace lapidary::test {

struct SmallProgram {
  std::unique_ptr<Module> module = std::make_unique<Module>();
  Program program;

  explicit SmallProgram(const std::string& name = "small", int64_t weight_elements = 8) {
    program.name = module->name = name;
    program.module = module.get();
    DimPool& dims = module->dims;
    const Dim n = dims.symbol("N");
    const Dim bytes = dims.mul(dims.constant(64), dims.ceildiv(dims.mul(dims.constant(4), n), dims.constant(64)));
    EntryPoint run;
    run.name = "run";
    run.inputs = {{"a", DType::F32, {n}}, {"b", DType::F32, {n}}};
    run.outputs = {{"y", DType::F32, {n}}};
    run.arena = {{bytes, dims.constant(0), 0, 1}};
    run.arena_bytes = bytes;

    std::vector<std::byte> weight(weight_elements * 4);
    for (int64_t i = 0; i < weight_elements; ++i) {
      const float value = weight_at(i);
      std::memcpy(weight.data() + 4 * i, &value, 4);
    }
    add_weight(program, module->constants.add_bytes(DType::F32, {weight_elements}, std::move(weight)));
    const BufferRef arena{BufferRef::Base::Arena, 0}, w{BufferRef::Base::Weights, 0}, y{BufferRef::Base::Output, 0};
    const BufferRef a{BufferRef::Base::Input, 0}, b{BufferRef::Base::Input, 1};
    run.steps = {step(n, {a, b, arena}, n), step(n, {arena, w, y}, dims.constant(weight_elements))};
    program.entries.push_back(std::move(run));
  }

  static float weight_at(int64_t i) { return static_cast<float>(i % 1000) * 0.5f; }

 private:
  // out[i] = x[i] + y[i mod period]
  static loops::Kernel add_kernel() {
    using namespace loops;
    const Buffer x = make_global("x", DType::F32, false), y = make_global("y", DType::F32, false);
    const Buffer out = make_global("out", DType::F32, true);
    const Var count = make_var("count", {}, 0), period = make_var("period", {}, 1), i = make_var("i", {}, 0);
    const Expr sum = apply(ScalarOp::Add, {load(x, variable(i)), load(y, mod(variable(i), variable(period)))});
    return {"elementwise",
            "",
            {x, y, out},
            {count, period},
            block({for_loop(i, integer(0), variable(count), 1, LoopKind::Task, {store(out, variable(i), sum)})})};
  }

  Step step(Dim n, std::vector<BufferRef> buffers, Dim period) {
    Step result;
    Variant variant;
    variant.kernel = add_kernel_to_program();
    variant.tasks = n;
    variant.integers = {n, period};
    result.variants = {variant};
    result.buffers = std::move(buffers);
    result.flops = n;
    return result;
  }
  uint32_t add_kernel_to_program() { return ::lapidary::add_kernel(program, add_kernel()); }
};

}  // namespace lapidary::test
