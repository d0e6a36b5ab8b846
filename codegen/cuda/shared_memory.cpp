#include "codegen/cuda/shared_memory.h"

#include "codegen/cuda/emitter.h"
#include "codegen/cuda/warpgroup_task.h"
#include "ir/fragment.h"

namespace lapidary::codegen::cuda {

using loops::StmtKind;
using loops::StmtNode;

int64_t combine_shared_bytes(const StmtNode& combine, int threads) {
  return combine.group > 32 ? threads / 32 * bit_width(combine.buffer->element.dtype) / 8 : 0;
}

namespace {

int64_t most_bytes(const std::vector<loops::Stmt>& statements, int64_t used, int threads) {
  int64_t most = used;
  for (const loops::Stmt& statement : statements) {
    int64_t inside = used;
    if (statement->kind == StmtKind::Attend) inside += loops::attend_shared_bytes(*statement->attend);
    if (statement->kind == StmtKind::Product) inside += loops::product_shared_bytes(*statement->product);
    if (statement->kind == StmtKind::Combine) inside += combine_shared_bytes(*statement, threads);
    if (statement->kind == StmtKind::Alloc && statement->buffer->space == loops::Space::Shared)
      inside += aligned_shared(statement->buffer->size * bit_width(statement->buffer->element.dtype) / 8);
    most = std::max(most, most_bytes(statement->body, inside, threads));
    most = std::max(most, most_bytes(statement->otherwise, inside, threads));
  }
  return most;
}

}  // namespace

int64_t staging_bytes(const loops::Kernel& kernel, const MappedOperands& mapped) {
  if (!mapped.results) return 0;
  const int panels = mapped.results->place ? loops::kMostPanels : 1;  // the engine reads one, the other is written
  return loops::staging_bytes(*warpgroup_task(kernel)->product->product, panels);
}

int64_t shared_bytes(const loops::Kernel& kernel) {
  if (kernel.threads == 0) return 0;
  return aligned_shared(most_bytes(kernel.body->body, staging_bytes(kernel, mapped_operands(kernel)), kernel.threads));
}

}  // namespace lapidary::codegen::cuda
