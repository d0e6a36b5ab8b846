// The whole compile as one readable list: see pipeline.cpp.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ir/program.h"
#include "ir/target.h"

namespace lapidary::passes {

enum class Numerics { Strict, Default };
// How a GPU multiplies f32 by f32: as IEEE has it, or on tensor cores, rounded to the type named; TF32x3 as sums of two
// of those, which is nearly exact. Devices without such tensor cores multiply as IEEE has it all the same.
enum class F32Products { IEEE, TF32, TF32x3, BF16 };
struct F32ProductsName {
  const char* name;  // in --f32=
  F32Products products;
};
inline constexpr F32ProductsName kF32Products[] = {{"ieee", F32Products::IEEE},
                                                   {"tf32", F32Products::TF32},
                                                   {"3xtf32", F32Products::TF32x3},
                                                   {"bf16", F32Products::BF16}};
const char* name_of(F32Products);

struct Options {
  Target target;
  Numerics numerics = Numerics::Default;
  F32Products f32_products = F32Products::IEEE;
  int64_t memory_budget = 0;      // bytes that may be live at once in the arena, for what can be made again; 0: any
  std::string gpu_tile;           // to measure them: of a product's tiles only those with this in their schedule
  std::vector<std::string> skip;  // passes left out by name
  bool verify = true;             // after each pass
  // Called after each pass with its name, the seconds it took, and the module.
  std::function<void(const std::string& pass, double seconds, const Module&)> after_pass;
};

// A pass is a free function; true when it changed something.
struct Pass {
  const char* name;  // "fuse-elementwise"
  bool (*run)(Module&, const Options&);
  const char* why;  // one line
};
const std::vector<Pass>& graph_passes();          // in the order they run
const Pass& pass_named(const std::string& name);  // throws Error{Fault::Usage} when there is none

void run_passes(Module&, const std::vector<std::string>& names, const Options&);  // some, by name (lapidary-opt)
void run_graph_passes(Module&, const Options&);                                   // all
std::string outside_of_groups(const Module&);  // an op or result that lower() cannot take; "" after form-groups
Program lower(Module&, const Options&);        // groups → kernels, steps, memory plan

}  // namespace lapidary::passes
