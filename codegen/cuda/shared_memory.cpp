#include "codegen/cuda/shared_memory.h"

#include "codegen/cuda/emitter.h"
#include "codegen/cuda/warpgroup_task.h"

namespace lapidary::codegen::cuda {

using loops::Atom;
using loops::StmtKind;
using loops::StmtNode;

namespace {
constexpr int64_t kBarrierBytes = 8;
}

int64_t product_shared_bytes(const loops::ProductNode& product) {
  const int64_t size = bit_width(product.a.value->type.dtype) / 8;
  if (product.warpgroups)
    return product.stages * ((product.rows + product.columns) * product.depth * size + 2 * kBarrierBytes) +
           (takes_turns(product) ? kTurns * kBarrierBytes : 0);
  if (product.atom != Atom::Fma) return product.stages * (product.rows + product.columns) * product.depth * size;
  const int64_t pack = size == 1 ? 4 : 1, word = pack * size;  // a slot is [k][line], lines padded by 16 bytes
  return product.stages * (product.depth / pack) * ((product.rows + product.columns) * word + 32);
}

int64_t attend_shared_bytes(const loops::AttendNode& attend) {
  const int64_t size = bit_width(attend.q.value->type.dtype) / 8;
  if (attend.warpgroups)
    return attend.queries * attend.depth * size +
           attend.stages * attend.keys * std::max(attend.depth, attend.columns) * size +
           (2 * attend.stages + 3) * kBarrierBytes;
  if (attend.atom == Atom::Fma) {  // lines of a slot padded by 16 bytes, and the weights
    const int64_t line = attend.depth * 4 + 16, value_line = attend.columns * 4 + 16;
    return attend.queries * (line + attend.keys * 4 + 16) + attend.stages * attend.keys * (line + value_line);
  }
  return (attend.queries * attend.depth + attend.stages * attend.keys * (attend.depth + attend.columns)) * size;
}

int64_t combine_shared_bytes(const StmtNode& combine, int threads) {
  return combine.group > 32 ? threads / 32 * bit_width(combine.buffer->element.dtype) / 8 : 0;
}

namespace {

int64_t most_bytes(const std::vector<loops::Stmt>& statements, int64_t used, int threads) {
  int64_t most = used;
  for (const loops::Stmt& statement : statements) {
    int64_t inside = used;
    if (statement->kind == StmtKind::Attend) inside += attend_shared_bytes(*statement->attend);
    if (statement->kind == StmtKind::Product) inside += product_shared_bytes(*statement->product);
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
  constexpr int64_t kPanel = 64 * 128;
  if (!mapped.results) return 0;
  return consumers_of(*warpgroup_task(kernel)->product->product) * 2 * kPanel;
}

int64_t shared_bytes(const loops::Kernel& kernel) {
  if (kernel.threads == 0) return 0;
  return aligned_shared(most_bytes(kernel.body->body, staging_bytes(kernel, mapped_operands(kernel)), kernel.threads));
}

}  // namespace lapidary::codegen::cuda
