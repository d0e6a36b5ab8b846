// The text forms of both levels: what `--dump-after` prints, `lapidary-opt` reads and lit tests check. Printing and
// parsing are inverse to each other: parse(print(x)) prints the same text.
#pragma once

#include <string>
#include <string_view>

#include "ir/graph.h"
#include "ir/loops.h"

namespace lapidary {

// module "resnet50" {
//   @0 = f32[64, 3, 7, 7] splat 0.5
//   @1 = i64[2] {1, 2}
//   func run(%0 "x": f32[N, 3, 224, 224]) -> ("y") {
//     %1 = constant value=@0 : f32[64, 3, 7, 7]
//     %2 = conv %0, %1 group=1 strides=[2, 2] dilations=[1, 1] pads={3, 3, 3, 3} : f32[N, 64, 112, 112]  // conv1
//     %3 = group %2 family="elementwise" anchor=0 : f32[N, 64, 112, 112] {
//       (%4: f32[N, 64, 112, 112])
//       %5 = relu …
//       yield %5
//     }
//     yield %3
//   }
// }
// Large constants print as `bytes N #hash` and parse back as seeded data of that shape.
struct PrintOptions {
  bool origins = false;  // "// node" comments
  int max_constant_elements = 64;
};
std::string print_module(const Module&, const PrintOptions& = {});
std::string print_op(const Op&);  // one op, without its regions' bodies: for messages
// Throws Error{Fault::Input} with line and column.
std::unique_ptr<Module> parse_module(std::string_view text);

std::string print_kernel(const loops::Kernel&);
loops::Kernel parse_kernel(std::string_view text);

}  // namespace lapidary
