// Expressions as C++. What one statement uses more than once is computed once, into a constant before it.
#pragma once

#include <string>
#include <unordered_map>

#include "codegen/cuda/text.h"
#include "ir/loops.h"

namespace lapidary::codegen::cuda {

std::string_view memory_type(DType);             // "f32"; bool is kept as u8, small floats as their codes
std::string value_type(const loops::ExprType&);  // "f32", "vec<f32, 4>"

class ExpressionPrinter {
 public:
  ExpressionPrinter(Text& text, bool strict_math) : text_(text), strict_math_(strict_math) {}

  const std::string& declare(const loops::Var&);  // its name from here on
  const std::string& declare(const loops::Buffer&);

  void begin(const std::vector<loops::Expr>&);  // of a statement: counts what they use. Nulls are nothing
  std::string value(const loops::Expr&);        // may add lines before
  std::string store(const loops::StmtNode&);
  void give(const loops::Expr& load, std::string value);  // what this load gives, until the next is given

 private:
  void count(const loops::ExprNode&);
  std::string print(const loops::ExprNode&);
  std::string apply(const loops::ExprNode&);
  const loops::Expr* argument_of_gelu(const loops::ExprNode&) const;
  std::string rough(const loops::ExprNode&);
  bool is_only(const loops::ExprNode&, ScalarOp) const;  // that operation, used once
  std::string convert(const loops::ExprNode&);
  std::string load(const loops::ExprNode&);
  std::string shuffle(const loops::ExprNode&);
  static bool is_whole(const loops::BufferNode&, const loops::Expr& index, loops::ExprType, bool unmasked);
  std::string call(std::string_view function, const loops::ExprNode&);
  std::string named(const loops::Expr&);  // the value under a name
  std::string unique(const std::string& name);

  Text& text_;
  int declared_ = 0;
  bool strict_math_;
  bool rough_ = false;                                  // what is printed is rounded to 16 bits and goes nowhere else
  std::unordered_map<const void*, std::string> names_;  // of variables and buffers
  loops::Expr given_load_;
  std::string given_;
  std::unordered_map<const loops::ExprNode*, int> uses_;
  std::unordered_map<const loops::ExprNode*, std::string> computed_;
};

}  // namespace lapidary::codegen::cuda
