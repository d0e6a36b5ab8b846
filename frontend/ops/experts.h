// MoE and QMoE of com.microsoft.
#pragma once

#include "frontend/node.h"

namespace lapidary::frontend {

std::vector<Value*> moe(Node&);   // weights as they are
std::vector<Value*> qmoe(Node&);  // weights of 4 or 8 bits in blocks

}  // namespace lapidary::frontend
