// The task of a kernel of warpgroups as the device library wants it: a function of a tile's number that gives its
// operands, and one that writes its results out.
#pragma once

#include <functional>

#include "codegen/cuda/expressions.h"
#include "codegen/cuda/operand_printer.h"
#include "codegen/cuda/tensor_maps.h"
#include "codegen/cuda/warpgroup_task.h"

namespace lapidary::codegen::cuda {

class WarpgroupPrinter {
 public:
  using Emit = std::function<void(const loops::StmtNode&)>;  // prints a statement of the task
  WarpgroupPrinter(const loops::Kernel& kernel, Text& text, ExpressionPrinter& expressions,
                   const MappedOperands& mapped, Emit emit)
      : kernel_(kernel), text_(text), expressions_(expressions), mapped_(mapped), emit_(std::move(emit)) {}

  void print(const WarpgroupTask&);

 private:
  void print_place(const WarpgroupTask&);
  std::string residual();
  void print_panels(const StagedResults&);
  std::string where_panels_go(const StagedResults&);      // send()'s arguments; may add lines before
  void print_unguarded(const std::vector<loops::Stmt>&);  // what stands in them, whatever their conditions

  const loops::Kernel& kernel_;
  Text& text_;
  ExpressionPrinter& expressions_;
  const MappedOperands& mapped_;
  Emit emit_;
  OperandPrinter operands_{text_, expressions_, mapped_};
};

}  // namespace lapidary::codegen::cuda
