// Turns the ops of a fused group into expressions. A family decides the loops; the emitter answers "what is this value
// at these coordinates", walking the ops backwards and computing each op's index map (broadcast, reshape, transpose,
// slice, concat, pad, gather) on the way, down to loads of the group's operands in their layouts.
//
//   GroupEmitter emit(builder, group);
//   GroupEmitter::Scope scope(emit, builder.body);           // where Lets go; what is remembered is dropped at its end
//   emit.store_results(anchor, {{at(m), along(n)}, 16}, accumulator);     // epilogue of a contraction
//   Expr a = emit.value(operand_of_anchor, {{at(m), at(k)}});             // its prologue
//
// Values inside the group have no layout; those of its operands and results are honoured on loads and stores: blocked
// axes, halo offsets, padded leading dimensions. Stores of a blocked result zero the lanes past the extent. Halos are
// filled by a step of their own (halo.h), whatever the family.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "passes/lower/coords.h"
#include "passes/lower/kernel_builder.h"

namespace lapidary::lowering {

// What a dry run learns about addresses: see iteration_space.h.
struct AccessRecorder;

class GroupEmitter {
 public:
  // `group` is a Group op; arguments of its region are its operands.
  GroupEmitter(KernelBuilder&, const Op& group);

  KernelBuilder& builder;
  const Op& group;
  AccessRecorder* recorder = nullptr;
  bool literal_strides = false;  // in addresses: known strides as literals, for tiles that build displacements of them

  // Statements go to `block` while the scope lives. Scopes nest: what an outer scope remembers can be used inside.
  class Scope {
   public:
    Scope(GroupEmitter&, Block&);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    GroupEmitter& emitter_;
    Block* outer_;
    size_t remembered_, pinned_;
  };
  Block& block() { return *block_; }

  // The value of the region at the coordinates: `coords.lanes` lanes of its dtype's compute type (storage types are
  // converted to f32 after the load). Emits Lets, and loops for reductions nobody bound, into the current block.
  loops::Expr value(const Value*, const Coords&);
  // The same, but one lane where all lanes are equal.
  loops::Expr value_or_scalar(const Value*, const Coords&);

  // From now on, until unbound, `value` asks `binding` instead of walking further back.
  using Binding = std::function<loops::Expr(const Coords&)>;
  void bind(const Value*, Binding);
  void unbind(const Value* value) { bindings_.erase(value); }

  // The value of `anchor` at these coordinates is `value`. Emits every op that follows from it and stores every result
  // of the group that does. Op by op the coordinates are mapped forwards (transpose, reshape, slice, elementwise).
  // `anchor` is a value of the region. Several anchors (a group yields more than one of them): call for each.
  void store_results(const Value* anchor, const Coords&, loops::Expr value);
  // Does result `index` of the group follow from `anchor` by ops that store_results can map?
  bool follows(const Value* anchor, uint32_t index) const;

  // Stores result `index` of the group at its coordinates.
  void store(uint32_t index, const Coords&, loops::Expr value);

  // --- addresses, for families that load and store by themselves -----------------------------------------------
  struct Address {
    loops::Expr base;            // element offset of lane 0, I64 scalar; or of each lane when `lanewise`
    loops::Expr step = nullptr;  // from lane to lane; null: 0
    bool lanewise = false;
  };
  Address address(const Type&, const Coords&);                            // honours the type's layout
  loops::Expr load(const loops::Buffer&, const Address&, const Coords&);  // one lane when the address is uniform
  void store(const loops::Buffer&, const Address&, const Coords&, loops::Expr value);

  // Sets a flag (KernelBuilder::flag) when a lane of the coordinates that counts does not hold.
  void flag_unless(loops::Expr holds, const Coords&, const std::string& message);

  // --- index maps ----------------------------------------------------------------------------------------------
  // Coordinates of operand `index` of `op` that the op's result at `coords` reads (Broadcast, Reshape, Transpose,
  // Slice, scalar ops, Convert, Relayout).
  Coords backward(const Op& op, const Coords& coords);
  // Coordinates of the op's result that hold operand 0 at `coords`; masks what a Slice leaves out.
  Coords forward(const Op& op, const Coords& coords);
  // The same row-major position in another shape.
  std::vector<Coord> reshape(const std::vector<Coord>&, const Shape& from, const Shape& to, int lanes);
  // offset + scale · coordinate.
  Coord shift(const Coord&, Dim offset, Dim scale, int lanes);
  // Σ digits · strides as one scalar base and step, or lanewise. Extents known at compile time become literals.
  Coord flatten(const Coord&, Dim extent);

 private:
  friend class Scope;
  struct Remembered {
    const Value* value;
    Coords coords;
    loops::Expr expr;
  };

  loops::Expr compute(const Value*, const Coords&);
  loops::Expr load_operand(uint32_t argument, const Coords&);
  loops::Expr load_constant(const Op&, const Coords&);
  loops::Expr dims_tensor(const Op&, const Coords&);
  loops::Expr iota(const Op&, const Coords&);
  loops::Expr concat(const Op&, const Coords&);
  loops::Expr pad(const Op&, const Coords&);
  loops::Expr gather(const Op&, const Coords&);

  Block* block_ = nullptr;
  std::map<const Value*, Binding> bindings_;
  std::vector<Remembered> remembered_;  // a stack: scopes cut it back
  std::vector<Remembered> pinned_;      // values that store_results mapped forwards
};

// Can `forward` map this op?
bool maps_forward(const Op&);

// Can store_results reach every result of the group from this op of it? No when a result does not follow from it, or
// when it meets itself along ways that move elements differently: x + transpose(x).
bool results_follow(const Op& group, const Op* anchor);

// The dtype arithmetic on elements of `stored` happens in: f32 for f16, bf16 and the 8-bit floats, else itself.
DType compute_dtype(DType stored);

// A value of the type, which may be narrower than what it is computed in: rounded to it.
loops::Expr rounded(loops::Expr value, DType);

// Coordinates of a value that is broadcast to where `coords` are: its axes are the last ones, and 0 where it has one
// element.
std::vector<Coord> broadcast_axes(const Type&, std::vector<Coord> coords);

}  // namespace lapidary::lowering
