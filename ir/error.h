// The three kinds of failure, never mixed: the model or the input is wrong; it is right but we cannot do it yet; we
// have a bug. Plus the fourth the outside world adds: a file that cannot be read or written. Exit codes are theirs.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace lapidary {

enum class Fault { Input = 1, Usage = 2, Unsupported = 3, File = 4, Internal = 70 };

struct Diagnostic {
  Fault fault;
  std::string message;  // lower case, no full stop: "node 'conv1' (Conv, opset 22): weight has rank 3, expected 4"
};

// One failure that ends the work at hand. Where many can be found at once, collect them in Diagnostics instead.
class Error : public std::runtime_error {
 public:
  Error(Fault fault, const std::string& message) : std::runtime_error(message), fault(fault) {}
  Fault fault;
};

// Collects every problem of a model so that they are reported in one go.
class Diagnostics {
 public:
  void error(Fault fault, std::string message) { errors_.push_back({fault, std::move(message)}); }
  void warning(std::string message) { warnings_.push_back({Fault::Input, std::move(message)}); }
  const std::vector<Diagnostic>& errors() const { return errors_; }
  const std::vector<Diagnostic>& warnings() const { return warnings_; }
  bool failed() const { return !errors_.empty(); }

 private:
  std::vector<Diagnostic> errors_, warnings_;
};

// A name or other text from a model, made safe to print: control and non-ASCII bytes as \xNN, cut at 80 characters.
std::string printable(std::string_view text);

[[noreturn]] void internal_error(const char* file, int line, const std::string& message);

// Internal checks are generous and unreachable from any input; they throw Error{Fault::Internal}.
#define LPD_CHECK(condition, ...)                                                                    \
  do {                                                                                               \
    if (!(condition)) ::lapidary::internal_error(__FILE__, __LINE__, ::fmt::format("" __VA_ARGS__)); \
  } while (0)
#define LPD_UNREACHABLE(...) ::lapidary::internal_error(__FILE__, __LINE__, ::fmt::format("" __VA_ARGS__))

}  // namespace lapidary
