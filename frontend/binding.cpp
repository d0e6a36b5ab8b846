#include "frontend/binding.h"

#include <algorithm>

#include "frontend/node.h"

namespace lapidary::frontend {
namespace {

using Kind = Sequence::Run::Kind;

Value* slice_of_stack(GraphBuilder& build, Value* stack, int64_t index) {
  return build.drop_axes(build.slice_axis(stack, 0, build.dim(index), build.dim(1)), {0});
}

bool has_unknown_length(const Sequence::Run& run) {
  return run.kind == Kind::Grown || (run.kind == Kind::Stack && !value_of(run.value->type.shape[0]));
}

int64_t length_of(const Sequence::Run& run) {
  return run.kind == Kind::Stack ? *value_of(run.value->type.shape[0]) : 1;
}

}  // namespace

Type Sequence::Run::part() const {
  if (kind == Kind::Part) return value->type;
  return Type::tensor(value->type.dtype, Shape(value->type.shape.begin() + 1, value->type.shape.end()));
}

std::string to_string(const Binding& binding) {
  const std::string what = binding.optional ? "an optional of " : "";
  if (binding.value) return what + to_string(binding.value->type);
  if (!binding.sequence) return binding.optional ? "an optional without an element" : "nothing";
  const Sequence& sequence = *binding.sequence;
  if (std::ranges::any_of(sequence.runs, has_unknown_length))
    return fmt::format("{}a sequence of {}", what, name_of(sequence.dtype));
  int64_t parts = 0;
  for (const Sequence::Run& run : sequence.runs) parts += length_of(run);
  return fmt::format("{}a sequence of {} of {}", what, counted(parts, "part"), name_of(sequence.dtype));
}

bool same_form(const Binding& a, const Binding& b) {
  if (!a.value != !b.value || !a.sequence != !b.sequence) return false;
  if (!a.sequence) return true;
  return a.sequence->dtype == b.sequence->dtype &&
         std::ranges::equal(a.sequence->runs, b.sequence->runs,
                            [](const auto& x, const auto& y) { return x.kind == y.kind && x.loop == y.loop; });
}

std::vector<Value*> tensors_of(const Binding& binding) {
  std::vector<Value*> tensors;
  if (binding.value) tensors.push_back(binding.value);
  if (!binding.sequence) return tensors;
  for (const Sequence::Run& run : binding.sequence->runs)
    if (run.value) tensors.push_back(run.value);
  return tensors;
}

Binding with_tensors(const Binding& binding, const std::function<Value*(Value*)>& instead) {
  Binding result = binding;
  if (binding.value) result.value = instead(binding.value);
  if (!binding.sequence) return result;
  Sequence sequence = *binding.sequence;
  for (Sequence::Run& run : sequence.runs)
    if (run.value) run.value = instead(run.value);
  result.sequence = std::make_shared<Sequence>(std::move(sequence));
  return result;
}

Dim length_of(DimPool& dims, const Sequence& sequence) {
  Dim length = dims.constant(0);
  for (const Sequence::Run& run : sequence.runs) {
    if (run.kind == Kind::Grown) unsupported("reading a sequence in the body of the loop that appends to it");
    length = dims.add(length, run.kind == Kind::Stack ? run.value->type.shape[0] : dims.constant(1));
  }
  return length;
}

std::optional<int64_t> known_length(DimPool& dims, const Sequence& sequence) {
  return value_of(length_of(dims, sequence));
}

std::vector<Value*> parts_of(GraphBuilder& build, const Sequence& sequence) {
  const auto length = known_length(build.module.dims, sequence);
  if (!length) unsupported("a sequence whose length only a run can tell");
  if (*length > kMostParts) unsupported("a sequence of {} parts, more than {}", *length, kMostParts);
  std::vector<Value*> parts;
  for (const Sequence::Run& run : sequence.runs) {
    if (run.kind == Kind::Part) parts.push_back(run.value);
    for (int64_t i = 0; run.kind == Kind::Stack && i < length_of(run); ++i)
      parts.push_back(slice_of_stack(build, run.value, i));
  }
  return parts;
}

Value* part_at(GraphBuilder& build, const Sequence& sequence, int64_t index) {
  for (const Sequence::Run& run : sequence.runs) {
    if (index < length_of(run)) return run.kind == Kind::Part ? run.value : slice_of_stack(build, run.value, index);
    index -= length_of(run);
  }
  LPD_UNREACHABLE();
}

}  // namespace lapidary::frontend
