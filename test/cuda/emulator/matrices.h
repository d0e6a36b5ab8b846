// Loads of 8x8 matrices and the products of tensor cores: which lane holds which element is in the PTX manual, "Matrix
// Fragments for mma". With g = lane / 4 and t = lane % 4, a register of 4 bytes is row (or column, of b) g and the t-th
// four bytes along k.
#pragma once

#include "test/cuda/emulator/collectives.h"
#include "test/cuda/emulator/copies.h"

#pragma GCC visibility push(hidden)  // each shared object of kernels has its own
namespace emulator {

// The rows are 16 bytes; lane 8 i + r has the address of row r of matrix i.
template <int COUNT, bool TRANSPOSED>
void load_matrices(u32* registers, const void* row, Site site) {
  struct Argument {
    u32* registers;
    const u16* row;
  } argument{registers, static_cast<const u16*>(row)};
  if (current_block->running->lane < 8 * COUNT) check_shared(row, 16, 16);
  meet_warp(argument, 32, site, [](Argument** all) {
    for (int i = 0; i < COUNT; ++i) {
      int rows_of_bank[8] = {};
      for (int r = 0; r < 8; ++r) ++rows_of_bank[reinterpret_cast<uintptr_t>(all[8 * i + r]->row) / 16 % 8];
      bank_conflicts += unsigned(*std::max_element(rows_of_bank, rows_of_bank + 8)) - 1;
      for (int lane = 0; lane < 32; ++lane) {
        const int g = lane / 4, t = lane % 4;
        u32 pair = 0;
        for (int e = 0; e < 2; ++e)
          pair |= u32(TRANSPOSED ? all[8 * i + 2 * t + e]->row[g] : all[8 * i + g]->row[2 * t + e]) << (16 * e);
        all[lane]->registers[i] = pair;
      }
    }
  });
}

// The same the other way round.
inline void store_matrices_x4(u16* row, const u32* registers, Site site) {
  struct Argument {
    u16* row;
    const u32* registers;
  } argument{row, registers};
  check_shared(row, 16, 16);
  meet_warp(argument, 32, site, [](Argument** all) {
    for (int i = 0; i < 4; ++i)
      for (int lane = 0; lane < 32; ++lane)
        std::memcpy(all[8 * i + lane / 4]->row + lane % 4 * 2, all[lane]->registers + i, 4);
  });
  note_write(row, 16);
}

// d += a b with a 16 x K, b K x 8: element(bits, i) is the i-th of PER_REGISTER elements of a register.
template <int PER_REGISTER, class Sum, class Element, class ElementB>
void multiply_matrices(Sum* d, const u32* a, int registers_of_a, const u32* b, const Element& element_a,
                       const ElementB& element_b, Site site) {
  struct Argument {
    Sum* d;
    const u32 *a, *b;
  } argument{d, a, b};
  const int halves = registers_of_a / 2;  // of k: 1 or 2
  meet_warp(argument, 32, site, [&](Argument** all) {
    constexpr int kHalf = 4 * PER_REGISTER;
    Sum rows[16][2 * kHalf], columns[8][2 * kHalf];
    for (int lane = 0; lane < 32; ++lane)
      for (int h = 0; h < halves; ++h)
        for (int e = 0; e < PER_REGISTER; ++e) {
          const int g = lane / 4, k = h * kHalf + lane % 4 * PER_REGISTER + e;
          rows[g][k] = element_a(all[lane]->a[2 * h], e);
          rows[g + 8][k] = element_a(all[lane]->a[2 * h + 1], e);
          columns[g][k] = element_b(all[lane]->b[h], e);
        }
    for (int lane = 0; lane < 32; ++lane)
      for (int r = 0; r < 4; ++r) {
        const Sum *row = rows[lane / 4 + r / 2 * 8], *column = columns[lane % 4 * 2 + r % 2];
        Sum sum = all[lane]->d[r];
        for (int k = 0; k < halves * kHalf; ++k) sum += row[k] * column[k];
        all[lane]->d[r] = sum;
      }
  });
}

inline f32 half_at(u32 pair, int i) {
  const u16 code = u16(pair >> (16 * i));
  _Float16 x;
  std::memcpy(&x, &code, sizeof x);
  return f32(x);
}
inline f32 bits_as_float(u32 bits) {
  f32 x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

}  // namespace emulator
#pragma GCC visibility pop

template <bool TRANSPOSED>
void load_matrix_x2(u32 (&registers)[2], const void* row, EMULATOR_CALLED_AT) {
  emulator::load_matrices<2, TRANSPOSED>(registers, row, {file, line});
}
template <bool TRANSPOSED>
void load_matrix_x4(u32 (&registers)[4], const void* row, EMULATOR_CALLED_AT) {
  emulator::load_matrices<4, TRANSPOSED>(registers, row, {file, line});
}

inline void store_matrix_x4(char* row, const u32* registers, EMULATOR_CALLED_AT) {
  emulator::store_matrices_x4(reinterpret_cast<u16*>(row), registers, {file, line});
}

inline void mma_f16(f32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2], EMULATOR_CALLED_AT) {
  emulator::multiply_matrices<2>(d, a, 4, b, emulator::half_at, emulator::half_at, {file, line});
}
inline void mma_bf16(f32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2], EMULATOR_CALLED_AT) {
  const auto at = [](u32 pair, int i) { return emulator::bits_as_float(i ? pair & 0xffff0000u : pair << 16); };
  emulator::multiply_matrices<2>(d, a, 4, b, at, at, {file, line});
}
// The 13 low bits of an operand count for nothing.
inline void mma_tf32(f32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2], EMULATOR_CALLED_AT) {
  const auto at = [](u32 bits, int) { return emulator::bits_as_float(bits & 0xffffe000u); };
  emulator::multiply_matrices<1>(d, a, 4, b, at, at, {file, line});
}
template <bool A_SIGNED, bool B_SIGNED>
void mma_i8(i32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2], EMULATOR_CALLED_AT) {
  const auto at_a = [](u32 word, int i) { return A_SIGNED ? u32(i32(i8(word >> (8 * i)))) : u32(u8(word >> (8 * i))); };
  const auto at_b = [](u32 word, int i) { return B_SIGNED ? u32(i32(i8(word >> (8 * i)))) : u32(u8(word >> (8 * i))); };
  emulator::multiply_matrices<4>(reinterpret_cast<u32*>(d), a, 4, b, at_a, at_b, {file, line});  // unsigned: sums wrap
}
