// What the host does between kernels: host_functions.def, on texts of the module's pool.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "ir/host_functions.h"
#include "ir/interpreter_ops.h"

namespace lapidary {

namespace {

constexpr std::string_view kNames[] = {
#define HOST_FUNCTION(name) #name,
#include "ir/host_functions.def"
#undef HOST_FUNCTION
};

// One host_call: operands that hold strings may hold their numbers as i64 already.
class Call {
 public:
  explicit Call(const Execution& x) : x_(x), pool_(*x.module.constants.strings) {
    Extents shape = x.params().has("shape") ? x.values(x.params().dims("shape")) : x.operand(0).shape;
    result = Tensor::zeros(x.params().dtype("to"), std::move(shape));
    count = result.elements();
  }

  const std::string& text(int operand, int64_t index) const { return pool_[x_.operand(operand).integers[at(index)]]; }
  void set_text(int64_t index, std::string_view text) { result.integers[at(index)] = pool_.number_of(text); }
  const Tensor& operand(int i) const { return x_.operand(i); }
  int64_t argument(size_t i) const { return x_.value(x_.params().dims("arguments").at(i)); }
  [[noreturn]] void fail(const std::string& message) const { x_.fail(message); }

  Tensor result;
  int64_t count;

 private:
  static size_t at(int64_t index) { return static_cast<size_t>(index); }
  const Execution& x_;
  StringPool& pool_;
};

void intern_strings(Call& call) { call.result.integers = call.operand(0).integers; }
void view_strings(Call& call) { call.result.integers = call.operand(0).integers; }

void concat_strings(Call& call) {
  for (int64_t i = 0; i < call.count; i++) call.set_text(i, call.text(0, i) + call.text(1, i));
}

// --- case --------------------------------------------------------------------------------------------------------

uint32_t mapped(const Tensor& table, uint32_t c) {
  const int64_t* row = table.integers.data();
  for (int64_t i = 0; i < table.shape[0]; i++, row += 4)
    if (c >= row[0] && c <= row[1] && (c - row[0]) % row[2] == 0) return static_cast<uint32_t>(c + row[3]);
  return c;
}

void map_case(Call& call) {
  for (int64_t i = 0; i < call.count; i++) {
    std::string_view text = call.text(0, i);
    std::string other;
    for (size_t at = 0; at < text.size();) append_code_point(other, mapped(call.operand(1), next_code_point(text, at)));
    call.set_text(i, other);
  }
}

// --- order -------------------------------------------------------------------------------------------------------

void rank_texts(Call& call) {
  std::map<std::string_view, int64_t> ranks;
  for (int64_t i = 0; i < call.count; i++) ranks[call.text(0, i)] = 0;
  int64_t next = 0;
  for (auto& [text, rank] : ranks) rank = next++;
  for (int64_t i = 0; i < call.count; i++) call.result.integers[static_cast<size_t>(i)] = ranks.at(call.text(0, i));
}

// --- automata ----------------------------------------------------------------------------------------------------

void match_automaton(Call& call) {
  const int64_t* table = call.operand(1).integers.data();
  const int64_t classes = table[1], *class_of = table + 2, *accepts = class_of + 256, *next = accepts + table[0];
  for (int64_t i = 0; i < call.count; i++) {
    int64_t state = 0;
    for (char c : call.text(0, i)) state = next[state * classes + class_of[static_cast<unsigned char>(c)]];
    call.result.integers[static_cast<size_t>(i)] = accepts[state];
  }
}

// --- parts -------------------------------------------------------------------------------------------------------

bool is_space(uint32_t c) {
  return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

// As Python's str.split: at runs of spaces without a delimiter. After `most` splits the rest is one part; of one
// between spaces, those at its end are none of it.
std::vector<std::string_view> parts_of(std::string_view text, std::string_view delimiter, int64_t most) {
  std::vector<std::string_view> parts;
  const auto may_split = [&] { return most < 0 || static_cast<int64_t>(parts.size()) < most; };
  if (!delimiter.empty()) {
    size_t begin = 0;
    for (size_t end; may_split() && (end = text.find(delimiter, begin)) != text.npos; begin = end + delimiter.size())
      parts.push_back(text.substr(begin, end - begin));
    parts.push_back(text.substr(begin));
    return parts;
  }
  for (size_t at = 0; at < text.size();) {
    size_t begin = at;
    if (is_space(next_code_point(text, at))) continue;
    if (!may_split()) {
      size_t end = at;
      while (at < text.size())
        if (!is_space(next_code_point(text, at))) end = at;
      parts.push_back(text.substr(begin, end - begin));
      break;
    }
    size_t end = at;
    while (at < text.size() && !is_space(next_code_point(text, at))) end = at;
    parts.push_back(text.substr(begin, end - begin));
  }
  return parts;
}

void count_parts(Call& call) {
  for (int64_t i = 0; i < call.count; i++)
    call.result.integers[static_cast<size_t>(i)] =
        static_cast<int64_t>(parts_of(call.text(0, i), call.text(1, 0), call.argument(0)).size());
}

void split_parts(Call& call) {
  const int64_t width = call.argument(0);
  for (int64_t row = 0; width > 0 && row < call.count / width; row++) {
    auto parts = parts_of(call.text(0, row), call.text(1, 0), call.argument(1));
    parts.resize(std::min(parts.size(), static_cast<size_t>(width)));
    for (size_t i = 0; i < parts.size(); i++) call.set_text(row * width + static_cast<int64_t>(i), parts[i]);
  }
}

// --- numbers -----------------------------------------------------------------------------------------------------

std::string text_of(const Scalar& x) {
  if (x.dtype == DType::U64) return std::to_string(static_cast<uint64_t>(x.integer));
  if (!is_float(x.dtype)) return std::to_string(x.integer);
  if (std::isnan(x.number)) return "NaN";
  if (std::isinf(x.number)) return x.number > 0 ? "INF" : "-INF";
  return fmt::format("{:.8g}", x.number);
}

void format_numbers(Call& call) {
  for (int64_t i = 0; i < call.count; i++) call.set_text(i, text_of(call.operand(0).at(i)));
}

std::string_view trimmed(std::string_view text) {
  constexpr const char* kSpaces = " \t\n\v\f\r";
  const size_t begin = std::min(text.find_first_not_of(kSpaces), text.size());
  text.remove_prefix(begin);
  return text.substr(0, text.find_last_not_of(kSpaces) + 1);
}

template <typename T>
bool parse(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

// from_chars takes no sign but '-', "nan(…)" beside what we take, and leaves what is out of range alone.
template <typename T>
bool parse_float(std::string_view text, double& value) {
  const bool negative = text.starts_with("-");
  if (negative || text.starts_with("+")) text.remove_prefix(1);
  if (text.empty() || text[0] == '-' || text.back() == ')') return false;
  T magnitude{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), magnitude);
  if (end != text.data() + text.size()) return false;
  if (error == std::errc::result_out_of_range)
    magnitude = static_cast<T>(std::strtold(std::string(text).c_str(), nullptr));
  else if (error != std::errc())
    return false;
  value = negative ? -magnitude : magnitude;
  return true;
}

bool parse_whole(std::string_view text, bool is_unsigned, int64_t& value) {
  if (text.starts_with("-")) return parse(text, value);
  if (text.starts_with("+")) text.remove_prefix(1);
  if (!is_unsigned) return !text.starts_with("-") && parse(text, value);
  uint64_t magnitude = 0;
  const bool fine = parse(text, magnitude);
  value = static_cast<int64_t>(magnitude);
  return fine;
}

void parse_numbers(Call& call) {
  const DType to = call.result.dtype;
  for (int64_t i = 0; i < call.count; i++) {
    const std::string_view text = trimmed(call.text(0, i));
    Scalar value{to, 0, 0};
    const bool fine = to == DType::I64 || to == DType::U64 ? parse_whole(text, to == DType::U64, value.integer)
                      : to == DType::F32                   ? parse_float<float>(text, value.number)
                                                           : parse_float<double>(text, value.number);
    if (!fine) call.fail(fmt::format("'{}' is no number", printable(call.text(0, i))));
    call.result.set(i, value);
  }
}

// --- n-grams -----------------------------------------------------------------------------------------------------

// The table: columns, least and greatest length, skips, slots; nodes; for each node its column or -1; then for each
// slot node + 1 (0: free), token, child.
struct Ngrams {
  explicit Ngrams(const Tensor& table)
      : head(table.integers.data()), columns(head + 6), slots(columns + head[5]), count(head[4]) {}
  int64_t child(int64_t node, int64_t token) const {
    for (int64_t slot = 0; slot < count; slot++)
      if (slots[3 * slot] == node + 1 && slots[3 * slot + 1] == token) return slots[3 * slot + 2];
    return -1;
  }
  const int64_t *head, *columns, *slots;
  int64_t count;
};

void count_row(const Ngrams& grams, const int64_t* tokens, int64_t length, double* counts) {
  int64_t least = grams.head[1];
  const int64_t most = grams.head[2];
  for (int64_t distance = 1; distance <= std::min(grams.head[3] + 1, length); distance++) {
    for (int64_t begin = 0; begin < length; begin++) {
      int64_t node = 0;
      for (int64_t size = 1, at = begin; size <= most && at < length; size++, at += distance) {
        node = grams.child(node, tokens[at]);
        if (node < 0) break;
        if (size >= least && grams.columns[node] >= 0) counts[grams.columns[node]]++;
      }
    }
    if (least == 1 && ++least > most) break;  // single tokens are counted once: nothing is skipped in them
  }
}

void count_ngrams(Call& call) {
  const Ngrams grams(call.operand(1));
  const Tensor& tokens = call.operand(0);
  for (int64_t row = 0; row < tokens.shape[0]; row++)
    count_row(grams, tokens.integers.data() + row * tokens.shape[1], tokens.shape[1],
              call.result.numbers.data() + row * grams.head[0]);
}

// --- data-parallel training ----------------------------------------------------------------------------------------

void start_reduction(Call& call) { call.result = call.operand(0); }
void finish_reduction(Call& call) { call.result = call.operand(0); }
void reduction_rank(Call&) {}

constexpr void (*kFunctions[])(Call&) = {
#define HOST_FUNCTION(name) name,
#include "ir/host_functions.def"
#undef HOST_FUNCTION
};

}  // namespace

bool is_host_function(std::string_view name) { return std::ranges::find(kNames, name) != std::end(kNames); }

bool works_in_place(std::string_view name) { return name == "start_reduction" || name == "finish_reduction"; }

Tensor run_host_call(const Execution& x) {
  Call call(x);
  const auto name = std::ranges::find(kNames, x.params().text("function"));
  kFunctions[name - kNames](call);
  return std::move(call.result);
}

}  // namespace lapidary
