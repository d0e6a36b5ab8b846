// Lines of text, indented.
#pragma once

#include <fmt/format.h>

#include <string>

namespace lapidary::codegen::cuda {

class Text {
 public:
  template <typename... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    text_.append(static_cast<size_t>(2 * depth_), ' ');
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_ += '\n';
  }
  std::string take() { return std::move(text_); }

  class Indent {
   public:
    explicit Indent(Text& text) : text_(text) { ++text_.depth_; }
    ~Indent() { --text_.depth_; }
    Indent(const Indent&) = delete;
    Indent& operator=(const Indent&) = delete;

   private:
    Text& text_;
  };

 private:
  std::string text_;
  int depth_ = 0;
};

}  // namespace lapidary::codegen::cuda
