// What a collective is told of its operands and scores, as constants before it: each in the cheapest form there is
// (operand_form.h, score_form.h), or as the map by which the copy engine moves it.
#pragma once

#include <string>
#include <vector>

#include "codegen/cuda/expressions.h"
#include "codegen/cuda/operand_form.h"
#include "codegen/cuda/tensor_maps.h"

namespace lapidary::codegen::cuda {

class OperandPrinter {
 public:
  OperandPrinter(Text& text, ExpressionPrinter& expressions, const MappedOperands& mapped)
      : text_(text), expressions_(expressions), mapped_(mapped) {}

  std::string print(const loops::StmtNode&);  // of a Product or an Attend; gives the constants' names

 private:
  void print_mapped_or_moved(const char* name, const loops::ProductOperand&, const loops::Var& line,
                             const loops::Var& k);
  void print_operand(const char* name, const loops::ProductOperand&, const loops::Var& line, const loops::Var& k);
  void print_prepared(const char* name, const std::string& shape, const loops::ProductOperand&, const OperandForm&,
                      const loops::Var& line, const loops::Var& k);
  void print_tapped(const char* name, const std::string& shape, const loops::ProductOperand&, const OperandForm&,
                    const loops::Var& line, const loops::Var& k);
  void print_converted(const char* name, const std::string& shape, const loops::ProductOperand&, const OperandForm&,
                       const loops::Var& line, const loops::Var& k);
  void print_score(const loops::AttendNode&, const loops::Expr& end);
  template <class Value>
  void returned(const std::vector<loops::Expr>& roots, const Value& value);

  Text& text_;
  ExpressionPrinter& expressions_;
  const MappedOperands& mapped_;
};

}  // namespace lapidary::codegen::cuda
