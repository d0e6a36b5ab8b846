#include "ir/error.h"

namespace lapidary {

std::string printable(std::string_view text) {
  constexpr size_t kLongest = 80;
  std::string result;
  for (unsigned char c : text.substr(0, kLongest)) {
    if (c >= 0x20 && c < 0x7f)
      result += static_cast<char>(c);
    else
      result += fmt::format("\\x{:02x}", c);
  }
  if (text.size() > kLongest) result += "...";
  return result;
}

void internal_error(const char* file, int line, const std::string& message) {
  throw Error(Fault::Internal,
              fmt::format("internal error at {}:{}{}{}", file, line, message.empty() ? "" : ": ", message));
}

}  // namespace lapidary
