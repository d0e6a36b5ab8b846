#include "codegen/cuda/tile_type.h"

#include "codegen/cuda/expressions.h"
#include "codegen/cuda/shared_memory.h"
#include "codegen/cuda/warpgroup_task.h"
#include "ir/error.h"

namespace lapidary::codegen::cuda {

using loops::Atom;

namespace {

// The atom's name in device/atoms.h.
std::string tensor_atom(Atom atom, const loops::ProductNode* product = nullptr) {
  const auto bytes = [](const loops::ProductOperand& operand) {
    return operand.value->type.dtype == DType::I8 ? "s8" : "u8";
  };
  switch (atom) {
    case Atom::F16:
      return "atom_f16";
    case Atom::BF16:
      return "atom_bf16";
    case Atom::TF32:
      return "atom_tf32";
    case Atom::TF32x3:
      return "atom_3xtf32";
    case Atom::I8:
      return fmt::format("atom_{}_{}", bytes(product->a), bytes(product->b));
    case Atom::Fma:
      break;
  }
  LPD_UNREACHABLE("not of tensor cores");
}

std::string type_of(const loops::ProductNode& p, DType sum, int threads) {
  if (p.warpgroups)
    return fmt::format("product_wgmma<{}, {}, {}, {}, {}, {}, {}>", tensor_atom(p.atom, &p), p.rows, p.columns, p.depth,
                       p.stages, consumers_of(p), takes_turns(p));
  if (p.atom != Atom::Fma)
    return fmt::format("product_mma<{}, {}, {}, {}, {}, {}, {}>", tensor_atom(p.atom, &p), p.rows, p.columns, p.depth,
                       p.warp_rows, p.warp_columns, p.stages);
  return fmt::format("product_fma<{}, {}, {}, {}, {}, {}, {}>", memory_type(p.a.value->type.dtype), memory_type(sum),
                     p.rows, p.columns, p.depth, threads, p.stages);
}

std::string type_of(const loops::AttendNode& a) {
  if (a.warpgroups)
    return fmt::format("attend_wgmma<{}, {}, {}, {}, {}>", tensor_atom(a.atom), a.keys, a.depth, a.columns, a.stages);
  const std::string name = a.atom == Atom::Fma ? "attend_fma<" : fmt::format("attend_mma<{}, ", tensor_atom(a.atom));
  return fmt::format("{}{}, {}, {}, {}, {}, {}>", name, a.queries, a.keys, a.depth, a.columns, a.warps, a.stages);
}

}  // namespace

void print_tile_type(Text& text, const loops::Kernel& kernel, const loops::StmtNode& statement) {
  const loops::ProductNode* const p = statement.product.get();
  const loops::AttendNode* const a = statement.attend.get();
  text.line("typedef {} tile;", p ? type_of(*p, statement.buffer->element.dtype, kernel.threads) : type_of(*a));
  text.line("static_assert({}tile::shared_bytes == {}, \"shared memory\");",
            a && a->warpgroups ? fmt::format("tile::rows == {} && ", a->queries) : "",
            p ? loops::product_shared_bytes(*p) : loops::attend_shared_bytes(*a));
  if (a && !a->warpgroups && a->atom != Atom::Fma)
    text.line("static_assert(tile::holds_queries == {}, \"registers\");", loops::holds_queries(*a));
}

}  // namespace lapidary::codegen::cuda
