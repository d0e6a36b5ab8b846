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
  Kind kind = Kind::Any;
  float scale = 0;
  loops::Expr beyond;
};
ScoreForm score_form(const loops::AttendNode&);

}  // namespace lapidary::codegen::cuda
