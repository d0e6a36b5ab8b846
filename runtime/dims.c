/* Evaluates the model's integer formulas in order, each from earlier slots: x floordiv 0 = x mod 0 = 0, mod has the
 * sign of its divisor, and any step that overflows int64 ends it. 1–2 ns a formula. Test:
 * test/codegen/dim_table_test.cpp, against the compiler's own evaluation. */
#include "internal.h"

static int floor_divide(int64_t a, int64_t b, int64_t *out) {
  if (b == 0) return *out = 0, 1;
  if (b == -1) return !__builtin_sub_overflow((int64_t)0, a, out);
  *out = a / b - (a % b != 0 && (a < 0) != (b < 0));
  return 1;
}

static int64_t floor_mod(int64_t a, int64_t b) {
  if (b == 0 || b == -1) return 0;
  int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

static int evaluate(const lpd_dim d, const int64_t *constants, int64_t *slots, uint32_t i) {
  switch ((enum lpd_dim_op)(d.op & ~(uint32_t)LPD_DIM_LATER)) {
    case LPD_DIM_CONSTANT:
      slots[i] = constants[d.a];
      break;
    case LPD_DIM_EXTENT:
    case LPD_DIM_ELEMENT:
      break;
    case LPD_DIM_ADD:
      return !__builtin_add_overflow(slots[d.a], slots[d.b], &slots[i]);
    case LPD_DIM_MUL:
      return !__builtin_mul_overflow(slots[d.a], slots[d.b], &slots[i]);
    case LPD_DIM_FLOORDIV:
      return floor_divide(slots[d.a], slots[d.b], &slots[i]);
    case LPD_DIM_MOD:
      slots[i] = floor_mod(slots[d.a], slots[d.b]);
      break;
    case LPD_DIM_MIN:
      slots[i] = slots[d.a] < slots[d.b] ? slots[d.a] : slots[d.b];
      break;
    case LPD_DIM_MAX:
      slots[i] = slots[d.a] > slots[d.b] ? slots[d.a] : slots[d.b];
      break;
    case LPD_DIM_EQUAL:
      slots[i] = slots[d.a] == slots[d.b];
      break;
    case LPD_DIM_LESS:
      slots[i] = slots[d.a] < slots[d.b];
      break;
    case LPD_DIM_SELECT:
      slots[i] = slots[d.a] != 0 ? slots[d.b] : slots[d.c];
      break;
  }
  return 1;
}

lpd_status lpd_evaluate_dims(const lpd_dim *dims, uint32_t count, const int64_t *constants, int64_t *slots) {
  for (uint32_t i = 0; i < count; ++i) {
    if (dims[i].op & LPD_DIM_LATER)
      slots[i] = 0;
    else if (!evaluate(dims[i], constants, slots, i))
      return LPD_LIMIT;
  }
  return LPD_OK;
}

lpd_status lpd_evaluate_later(const lpd_dim *dims, const uint32_t *which, uint32_t count, const int64_t *constants,
                              int64_t *slots, int *changed) {
  for (uint32_t k = 0; k < count; ++k) {
    const uint32_t i = which[k];
    const int64_t before = slots[i];
    if (!evaluate(dims[i], constants, slots, i)) return LPD_LIMIT;
    *changed |= slots[i] != before;
  }
  return LPD_OK;
}
