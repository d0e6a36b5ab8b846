// Operators on strings. What needs a text is a call of the host's (ir/host_functions.def), all else works on the
// numbers that strings are inside the compiler: equal texts have one, so to find a text in a list is to look its number
// up.
#include "frontend/ops/strings.h"

#include <algorithm>

#include "frontend/ops/letter_case.h"
#include "frontend/regex.h"
#include "ir/shape_rules.h"

namespace lapidary::frontend {

Value* host_call(Node& node, std::string function, std::vector<Value*> operands, DType to, Params more) {
  more.set("function", std::move(function));
  more.set("to", to);
  return node.build.create(OpKind::HostCall, std::move(operands), std::move(more)).result();
}

Value* strings(Node& node, std::vector<int64_t> shape, const std::vector<std::string>& texts) {
  return node.build.constant(node.build.module.constants.add_strings(std::move(shape), texts));
}

namespace {

using Values = std::vector<Value*>;

Params arguments(Node& node, const std::vector<int64_t>& numbers) {
  std::vector<Dim> dims;
  for (int64_t number : numbers) dims.push_back(node.dims().constant(number));
  return {{"arguments", std::move(dims)}};
}

Value* integers(Node& node, DType dtype, std::vector<int64_t> shape, std::span<const Scalar> scalars) {
  return node.build.constant(node.build.module.constants.add_scalars(dtype, std::move(shape), scalars));
}

Value* whole(Node& node, int64_t value) { return node.build.scalar(Scalar::of_integer(DType::I64, value)); }

void check_number(DType dtype) {
  if (!is_float(dtype) && !is_integer(dtype) && dtype != DType::Bool)
    unsupported("casts between strings and {}", name_of(dtype));
}

}  // namespace

// --- numbers -----------------------------------------------------------------------------------------------------

Value* formatted(Node& node, Value* x) {
  DType dtype = x->type.dtype;
  if (dtype == DType::String) return x;
  check_number(dtype);
  if (is_float(dtype) && bit_width(dtype) < 32) dtype = DType::F32;
  if (bit_width(dtype) < 8) dtype = is_signed_integer(dtype) ? DType::I8 : DType::U8;
  return host_call(node, "format_numbers", {node.build.convert(x, dtype)}, DType::String,
                   arguments(node, {static_cast<int64_t>(dtype)}));
}

Value* parsed(Node& node, Value* text, DType to) {
  check_number(to);
  const DType wide = to == DType::F32 ? DType::F32 : is_float(to) ? DType::F64 : to == DType::U64 ? to : DType::I64;
  Value* numbers = host_call(node, "parse_numbers", {text}, wide, arguments(node, {static_cast<int64_t>(wide)}));
  return node.build.convert(numbers, to);
}

// --- lists of texts ----------------------------------------------------------------------------------------------

Value* place_among(Node& node, Value* text, const std::vector<std::string>& texts) {
  GraphBuilder& b = node.build;
  StringPool& pool = *b.module.constants.strings;
  const auto none = static_cast<int64_t>(texts.size());
  int64_t most = -1;
  for (const std::string& one : texts) most = std::max(most, pool.number_of(one));
  std::vector<Scalar> places(static_cast<size_t>(most) + 2, Scalar::of_integer(DType::I64, none));
  for (int64_t i = 0; i < none; ++i)
    places[static_cast<size_t>(pool.number_of(texts[static_cast<size_t>(i)]))].integer = i;
  Value* number = b.create(OpKind::BitCast, {text}, {{"to", DType::I64}}).result();
  Value* known = b.scalar_op(ScalarOp::Min, {number, whole(node, most + 1)});
  return b.gather(integers(node, DType::I64, {most + 2}, places), known, 0, true);
}

namespace {

// --- elementwise -------------------------------------------------------------------------------------------------

Values string_concat(Node& node) {
  Value *a = node.input(0), *b = node.input(1);
  const Shape shape = broadcast_shapes(node.build.module, a->type.shape, b->type.shape);
  return {host_call(node, "concat_strings", {node.build.broadcast_to(a, shape), node.build.broadcast_to(b, shape)},
                    DType::String)};
}

Values regex_full_match(Node& node) {
  std::vector<Scalar> table;
  for (int32_t entry : automaton_of(node.text("pattern"))) table.push_back(Scalar::of_integer(DType::I32, entry));
  Value* automaton = integers(node, DType::I32, {static_cast<int64_t>(table.size())}, table);
  return {host_call(node, "match_automaton", {node.input(0), automaton}, DType::Bool)};
}

// --- StringSplit -------------------------------------------------------------------------------------------------

// How many parts there are, the most of them is an extent of the result: the host reads it between the two calls.
Values string_split(Node& node) {
  GraphBuilder& b = node.build;
  Value* text = node.input(0);
  const int64_t splits = std::max<int64_t>(node.integer_or("maxsplit", -1), -1);
  Value* delimiter = strings(node, {}, {node.has("delimiter") ? node.text("delimiter") : ""});
  Value* counts = host_call(node, "count_parts", {text, delimiter}, DType::I64, arguments(node, {splits}));
  Value* most = b.reduce(OpKind::ReduceMax, counts, axes_from(0, counts->type.rank()));
  Dim width = b.to_host(b.scalar_op(ScalarOp::Max, {most, whole(node, 0)}), kExtents)->elements.at(0);
  Shape shape = text->type.shape;
  shape.push_back(width);
  Params params{{"shape", shape}, {"arguments", std::vector<Dim>{width, node.dims().constant(splits)}}};
  return {host_call(node, "split_parts", {text, delimiter}, DType::String, std::move(params)), counts};
}

// --- StringNormalizer --------------------------------------------------------------------------------------------

// Letters that have one counterpart have it in every locale: the attribute `locale` decides nothing.
Value* in_case(Node& node, Value* text, bool lower) {
  std::vector<Scalar> table;
  const auto fill = [&](const auto& runs) {
    for (const auto& run : runs)
      for (int32_t entry : run) table.push_back(Scalar::of_integer(DType::I32, entry));
  };
  if (lower)
    fill(kToLower);
  else
    fill(kToUpper);
  const auto rows = static_cast<int64_t>(table.size() / 4);
  return host_call(node, "map_case", {text, integers(node, DType::I32, {rows, 4}, table)}, DType::String,
                   arguments(node, {rows}));
}

uint32_t lower_of(uint32_t c) {
  for (const auto& [first, last, step, distance] : kToLower)
    if (static_cast<int64_t>(c) >= first && static_cast<int64_t>(c) <= last &&
        (static_cast<int64_t>(c) - first) % step == 0)
      return c + static_cast<uint32_t>(distance);
  return c;
}

std::vector<std::string> in_lower_case(const std::vector<std::string>& texts) {
  std::vector<std::string> result;
  for (const std::string& text : texts) {
    std::string& lower = result.emplace_back();
    for (size_t at = 0; at < text.size();) append_code_point(lower, lower_of(next_code_point(text, at)));
  }
  return result;
}

// The texts that are no stopwords, along the last axis; how many there are, the host reads.
Value* without_stopwords(Node& node, Value* x, const std::vector<std::string>& words) {
  GraphBuilder& b = node.build;
  const bool exact = node.integer("is_case_sensitive") != 0;
  Value* place = exact ? place_among(node, x, words) : place_among(node, in_case(node, x, true), in_lower_case(words));
  Value* stays = b.scalar_op(ScalarOp::Equal, {place, whole(node, static_cast<int64_t>(words.size()))});
  stays = b.reshape(stays, {x->type.shape.back()});
  Value* count = b.reduce(OpKind::ReduceSum, b.convert(stays, DType::I64), {0});
  Value* positions = b.true_positions(stays, b.to_host(count, kExtents)->elements.at(0));
  return b.gather(x, positions, x->type.rank() - 1, true);
}

// When nothing stays, the result is one empty string.
Value* at_least_one(Node& node, Value* x) {
  DimPool& dims = node.dims();
  Dim missing = dims.max(dims.constant(0), dims.sub(dims.constant(1), x->type.shape.back()));
  if (value_of(missing) == 0) return x;
  Shape none(x->type.shape.size(), dims.constant(0)), more = none;
  more.back() = missing;
  return node.build.pad(x, none, more);
}

Values string_normalizer(Node& node) {
  Value* x = node.input(0);
  const int rank = x->type.rank();
  if (rank != 1 && rank != 2) fail("input has rank {}, expected 1 or 2", rank);
  if (rank == 2) require_same(node, x->type.shape[0], node.dims().constant(1), "the first of two extents");
  const std::string action = node.text("case_change_action");
  if (action != "LOWER" && action != "UPPER" && action != "NONE")
    fail("case_change_action '{}' is unknown", printable(action));
  if (const std::vector<std::string> words = node.texts("stopwords"); !words.empty())
    x = without_stopwords(node, x, words);
  if (action != "NONE") x = in_case(node, x, action == "LOWER");
  return {at_least_one(node, x)};
}

constexpr OpEntry kOps[] = {{"RegexFullMatch", regex_full_match},
                            {"StringConcat", string_concat},
                            {"StringNormalizer", string_normalizer},
                            {"StringSplit", string_split}};

}  // namespace

std::span<const OpEntry> string_ops() { return kOps; }

}  // namespace lapidary::frontend
