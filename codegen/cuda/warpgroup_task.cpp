#include "codegen/cuda/warpgroup_task.h"

#include "ir/error.h"

namespace lapidary::codegen::cuda {

using loops::LoopKind;
using loops::StmtKind;
using loops::StmtNode;

namespace {

bool is_of_warpgroups(const StmtNode& s) {
  return (s.product && s.product->warpgroups) || (s.attend && s.attend->warpgroups);
}

}  // namespace

std::optional<WarpgroupTask> warpgroup_task(const loops::Kernel& kernel) {
  if (kernel.threads == 0) return std::nullopt;
  WarpgroupTask found;
  const auto collect = [&](const std::vector<loops::Stmt>& statements, const auto& self) -> void {
    for (const loops::Stmt& statement : statements) {
      if (statement->kind == StmtKind::Let) found.lets.push_back(&*statement);
      if (statement->product || statement->attend) found.product = &*statement;
      if (statement->kind == StmtKind::Alloc) found.accumulator = &*statement;
      if (statement->kind == StmtKind::For && statement->loop == LoopKind::Task) found.task = &*statement;
      if (statement->kind == StmtKind::For && statement->loop == LoopKind::Thread)
        found.epilogue = found.product ? &*statement : nullptr;
      if (statement->kind == StmtKind::Alloc || statement->loop == LoopKind::Task) self(statement->body, self);
    }
  };
  collect(kernel.body->body, collect);
  if (!found.product || !is_of_warpgroups(*found.product)) return std::nullopt;
  LPD_CHECK(found.task && found.accumulator && found.epilogue, "a task of warpgroups that does more than a product");
  return found;
}

}  // namespace lapidary::codegen::cuda
