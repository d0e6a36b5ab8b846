// How the scores of an Attend are told to the device library (device/attend.h), cheapest first.
#pragma once

#include "ir/loops.h"

namespace lapidary::codegen::cuda {

struct ScoreForm {
  enum class Kind {
    Scaled,  // s * scale, scale > 0
    Causal,  // the same, and -infinity for keys beyond query + `beyond`
    Any,
  };
  Kind kind = Kind::Any;  // but for the bias
  float scale = 0;
  loops::Expr beyond;
  // Added before keys are hidden, if there is a buffer: element base + query * stride + key, for queries below `rows`
  // (null: all) and all keys that there are; `vector` of them are aligned from even keys on.
  loops::Buffer bias;
  loops::Expr base, stride, rows;
  int vector = 1;
};
ScoreForm score_form(const loops::AttendNode&, const loops::Expr& end);

}  // namespace lapidary::codegen::cuda
