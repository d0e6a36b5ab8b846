// `run --check-every-value`: finds the first kernel whose result differs from the interpreter's.
#pragma once

#include "ir/interpreter.h"
#include "tools/driver.h"
#include "tools/loaded_model.h"

namespace lapidary::tools {

// Compiles the model with every group's results as outputs, its own outputs among them, runs both, prints a line for
// each value that differs (the first in program order first) and a summary. Exit status: 0 when there are values and
// all agree, 1 otherwise.
int check_every_value(const CompileOptions&, const std::vector<HostTensor>& inputs);

Tensor tensor_of(const HostTensor&, StringPool&);
// What a loop starts with lies where the loop carries it.
bool is_carried(const Value&);
// Makes the result of a group an output, dense as outputs are, and gives its number; one that is an output already
// stays what it is. Where it cannot be one itself, a copy is.
size_t result_of(Module&, Value&);

}  // namespace lapidary::tools
