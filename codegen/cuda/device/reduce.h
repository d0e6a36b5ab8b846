// Threads of a block reduce what each of them brings. After prelude.h; blocks have one dimension.
//
//   T reduce_threads<most, GROUP, THREADS>(T value, T* scratch)
//
// GROUP, a power of two, neighbouring threads of a block of THREADS get the reduction of their values, all the same
// bits, and the order of operations depends on GROUP alone. All threads of the block call it. T is f32, f64, i32, i64,
// or a vec of them: several reductions for the barriers of one. `scratch` is shared memory of THREADS / 32 values, used
// if GROUP is above 32, and free again on return.

// Does it matter to the last bit which of two extremes came from the lower thread? NaNs have codes, and zeros signs.
template <class T>
constexpr bool order_counts = false;
template <>
constexpr bool order_counts<f32> = !kExtremesAreSymmetric;
template <>
constexpr bool order_counts<f64> = true;
template <class T, int N>
constexpr bool order_counts<vec<T, N>> = order_counts<T>;

// `symmetric` if it never does.
#define REDUCTION(name, op, is_symmetric)           \
  struct name {                                     \
    static constexpr bool symmetric = is_symmetric; \
    template <class T>                              \
    static DEV_MEMBER T of(T lower, T upper) {      \
      return op(lower, upper);                      \
    }                                               \
  };
REDUCTION(sum, op_add, true)
REDUCTION(product, op_mul, true)
REDUCTION(least, op_min, false)  // NaN if any is; of zeros of both signs one
REDUCTION(most, op_max, false)
#undef REDUCTION

template <class T, int N>
DEV vec<T, N> shuffle_xor(vec<T, N> value, u32 mask) {
  vec<T, N> r;
  LANES r.v[i] = shuffle_xor(value.v[i], mask);
  return r;
}

// Among GROUP neighbouring lanes of a warp.
template <class OP, int GROUP, class T>
DEV T reduce_lanes(T value) {
  _Pragma("unroll") for (u32 mask = 1; mask < GROUP; mask *= 2) {
    const T other = shuffle_xor(value, mask);
    const bool upper = !OP::symmetric && order_counts<T> && (threadIdx.x & mask);
    value = OP::of(op_select(upper, other, value), op_select(upper, value, other));
  }
  return value;
}

// Of GROUP values in shared memory, in the order of reduce_lanes: no thread waits for another.
template <class OP, int GROUP, class T>
DEV T reduce_values(const T* values) {
  if (GROUP == 1) return values[0];
  const T lower = reduce_values<OP, (GROUP + 1) / 2>(values);
  return OP::of(lower, reduce_values<OP, (GROUP + 1) / 2>(values + GROUP / 2));
}

template <class OP, int GROUP, int THREADS, class T>
DEV T reduce_threads(T value, T* scratch) {
  static_assert((GROUP & (GROUP - 1)) == 0 && THREADS % GROUP == 0 && GROUP <= 1024,
                "a group is a power of two of threads");
  if (GROUP <= 32) return reduce_lanes<OP, GROUP>(value);
  constexpr u32 warps = GROUP > 32 ? GROUP / 32 : 1;  // of a group
  value = reduce_lanes<OP, 32>(value);
  const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (lane == 0) scratch[warp] = value;
  barrier();
  const T* const values = scratch + warp / warps * warps;
  constexpr bool few = warps <= 8;  // so that a thread reads them all
  value = few ? reduce_values < OP, few ? warps : 1 > (values) : reduce_lanes<OP, warps>(values[lane % warps]);
  barrier();
  return value;
}
