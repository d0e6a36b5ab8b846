// What a name of a model stands for. The graph has tensors only: how many parts a sequence has, and whether an optional
// has an element, are facts of the import, and an operator on them says which tensors its results are made of.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ir/graph_builder.h"

namespace lapidary::frontend {

constexpr int64_t kMostParts = 10'000;  // of a sequence, one by one

// Parts in their order, in runs.
struct Sequence {
  struct Run {
    enum class Kind : uint8_t {
      Part,   // one tensor
      Stack,  // tensors of one shape along the first axis of another, as many as perhaps only a run can tell
      Grown,  // all that an enclosing loop has appended so far: its body cannot read them
    };
    Value* value;
    Kind kind = Kind::Part;
    uint32_t loop = 0;  // of Grown: which loop's, and which of its sequences

    bool operator==(const Run&) const = default;
    // Type of a part: the value's own, or without its first axis.
    Type part() const;
  };
  DType dtype;
  std::vector<Run> runs = {};
};

struct Binding {
  Value* value = nullptr;  // a tensor
  std::shared_ptr<const Sequence>
      sequence;  // a sequence; neither: an operand left out, or an optional without an element
  bool optional = false;
  bool failed = false;  // to be imported: reported already

  Binding() = default;
  Binding(Value* tensor, bool failure = false) : value(tensor), failed(failure) {}
  Binding(Sequence parts) : sequence(std::make_shared<Sequence>(std::move(parts))) {}

  bool exists() const { return value || sequence; }
  bool left_out() const { return !exists() && !optional; }
};

std::string to_string(const Binding&);  // "f32[2, 3]", "a sequence of 3 parts of f32"
// Whether one differs from the other in nothing but its tensors.
bool same_form(const Binding&, const Binding&);
// All tensors it is made of, in order; and the binding of that form with other tensors.
std::vector<Value*> tensors_of(const Binding&);
Binding with_tensors(const Binding&, const std::function<Value*(Value*)>& instead);

// The number of parts; throws where a loop's body asks for what the loop is about to append to.
Dim length_of(DimPool&, const Sequence&);
std::optional<int64_t> known_length(DimPool&, const Sequence&);
// Part by part; throws where the length is not known.
std::vector<Value*> parts_of(GraphBuilder&, const Sequence&);
Value* part_at(GraphBuilder&, const Sequence&, int64_t index);  // of a sequence of known length, within it

}  // namespace lapidary::frontend
