// Weights of a few bits for the threads of a GPU. A row of codes lies in units of 64 bytes, 16 words of codes that
// follow each other along k, so turned that a thread has every fourth of them in 16 bytes: four threads have a unit.
// What they multiply word by word are then neighbours, of the other operand and of the scales.
//
//   word of the unit    0 4 8 12 | 1 5 9 13 | 2 6 10 14 | 3 7 11 15
//   loaded by thread       0     |    1     |     2     |     3
#pragma once

#include "passes/lower/packed_form.h"

namespace lapidary::lowering::gpu {

struct PackedUnits {
  static constexpr int kSharers = 4, kWords = 4;  // threads of a unit; words of each of them

  // Rows of codes, scales and zero points are filled up with zeros to a multiple of `columns`.
  PackedUnits(Module&, const PackedForm&, int columns);

  int bits;
  int64_t block, units, scale_pitch, zero_pitch;  // of a row: units, scales, bytes of zero points
  ConstantId codes, scales;
  std::optional<ConstantId> zeros;

  int codes_of_word() const { return 32 / bits; }
  int64_t codes_of_unit() const { return int64_t{kSharers} * kWords * codes_of_word(); }
  // Blocks of a unit, 1 where it is part of one, that words side by side belong to together: all threads' first words
  // to the first of them. 0: they do not.
  int blocks_of_unit() const;
};

// What a kernel reads of them.
class PackedReader {
 public:
  PackedReader(KernelBuilder&, const PackedUnits&);

  loops::Expr units() const { return units_; }  // of a row
  // The four words of one of a unit's threads: i32.
  loops::Expr words(loops::Expr column, loops::Expr unit, loops::Expr sharer) const;
  loops::Expr word(loops::Expr column, loops::Expr unit, loops::Expr sharer, loops::Expr word) const;  // one of them
  // Where the first code of a thread's word lies along k.
  loops::Expr first_k(loops::Expr unit, loops::Expr sharer, loops::Expr word) const;
  // Of the block that k is in.
  loops::Expr scale(loops::Expr column, loops::Expr k) const;
  loops::Expr zero_point(loops::Expr column, loops::Expr k) const;
  // Of each of the unit's blocks, fetched at once.
  std::vector<loops::Expr> scales(Block&, loops::Expr column, loops::Expr unit) const;
  std::vector<loops::Expr> zero_points(Block&, loops::Expr column, loops::Expr unit) const;

  // Code `index` of a word times 2^shift_of(index), as a float: where it lies there, of one half of the word or of the
  // other. A float's addition makes it one, where a shift would be an instruction more.
  loops::Expr code(const loops::Expr& word, const loops::Expr& upper_half, int index) const;
  loops::Expr upper_half(loops::Expr word) const;
  int shift_of(int index) const { return index % (format_.codes_of_word() / 2) * format_.bits; }

  loops::Expr number(loops::Expr column, loops::Expr k) const;  // (code - zero point) · scale

 private:
  loops::Expr unit_at(loops::Expr column, loops::Expr unit, loops::Expr sharer) const;

  const PackedUnits& format_;
  loops::Buffer codes_, scales_, zeros_;
  loops::Expr units_, scale_pitch_, zero_pitch_;
};

}  // namespace lapidary::lowering::gpu
