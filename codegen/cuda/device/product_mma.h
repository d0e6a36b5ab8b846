// A block's tile of a product by tensor cores: acc[row, column] += sum over k of a(row, k) b(k, column). After
// staging.h and atoms.h, for sm_80 and above.
//
//   typedef product_mma<atom_f16, 128, 128, 32, 2, 4, 3> product;   // 2 by 4 warps
//   f32 acc[product::elements] = {};
//   product::accumulate(acc, shared, k_begin, k_end, a, b);         // shared: product::shared_bytes, aligned to 128
//   … product::row_of(threadIdx.x, e), product::column_of(threadIdx.x, e) …
//
// Slots are as the operands lie in memory, [line][k] or [k][line] (bytes always [line][k]), in 16-byte chunks. Chunk c
// of a row is where c ^ f(row) is, f so that the chunks that a warp reads at once lie in different banks.

// Rows of the slot are lines (along_k) or values of k. 8 consecutive rows fill all banks with any one chunk, as
// ldmatrix reads; or, for words along the line, 4 consecutive rows with any even chunk and its neighbour.
template <class T, int LINES, int DEPTH, bool ALONG_K>
struct swizzled {
  static constexpr bool along_k = ALONG_K || sizeof(T) == 1;
  static constexpr int run_bytes = 16, run = 16 / int(sizeof(T));
  static constexpr bool permuted = true;
  static constexpr int pitch = (along_k ? DEPTH : LINES) * int(sizeof(T)), chunks = pitch / 16;
  static constexpr int bytes = LINES * DEPTH * int(sizeof(T));
  static constexpr int turns = chunks % 8 == 0 ? 8 : chunks % 4 == 0 ? 4 : chunks % 2 == 0 ? 2 : 1;
  static constexpr bool words = !along_k && sizeof(T) == 4;
  static_assert(pitch % (words ? 32 : 16) == 0, "a row of a slot is a multiple of 16 bytes, of words of 32");
  static DEV_MEMBER constexpr int turn_of(int row) {
    return words ? row / (8 / turns) % (turns / 2) * 2 : row / (8 / turns) % turns;
  }
  static constexpr int period =
      turns / 2 > 0 ? turns / 2 : 1;  // pairs of chunks that are `period` apart in a row stay so
  static DEV_MEMBER constexpr int offset(int line, int k) {
    const int row = along_k ? line : k, i = along_k ? k : line;
    return row * pitch + ((i / run) ^ turn_of(row)) * 16 + i % run * int(sizeof(T));
  }
};

// What a lane reads of a slot: FRAGMENTS times 16 lines, STEPS times 32 bytes along k. The 16 lines are a fragment of
// a, or two of b: four 8x8 matrices (of 4 bytes along k each lane), in the order that their registers have. It keeps
// the places of a period; wide heads have many.
template <class T, class LAYOUT, int FRAGMENTS, int STEPS, bool OF_A>
struct fragment_reader {
  static constexpr int depth = 32 / int(sizeof(T));  // of a step
  static constexpr int pairs = LAYOUT::along_k ? STEPS
                               : LAYOUT::words ? 2 * FRAGMENTS
                                               : FRAGMENTS;  // of 32 bytes, in a row
  static constexpr int kept = pairs < LAYOUT::period ? pairs : LAYOUT::period;
  int offsets[kept];

  static DEV_MEMBER constexpr int line_of(int matrix) { return (OF_A ? matrix % 2 : matrix / 2) * 8; }
  static DEV_MEMBER constexpr int depth_of(int matrix) { return (OF_A ? matrix / 2 : matrix % 2) * (depth / 2); }

  DEV_MEMBER fragment_reader(int first_line, int lane) {
    const int line = first_line + line_of(lane / 8), k = depth_of(lane / 8), row = lane % 8;  // if ldmatrix reads
    _Pragma("unroll") for (int i = 0; i < kept; ++i) {
      if constexpr (LAYOUT::along_k)
        offsets[i] = LAYOUT::offset(line + row, i * depth + k);
      else if constexpr (LAYOUT::words)
        offsets[i] = LAYOUT::offset(first_line + 8 * i + lane / 4, lane % 4);
      else
        offsets[i] = LAYOUT::offset(line + 16 * i, k + row);
    }
  }
  DEV_MEMBER int pair(int i) const { return offsets[i % kept] + i / kept * kept * 32; }

  // All four matrices, or the first two: the half of a pair of b's.
  template <int MATRICES>
  DEV_MEMBER void load(u32 (&registers)[MATRICES], const char* slot, int i, int step) const {
    if constexpr (LAYOUT::along_k) {
      load_matrices<false>(registers, slot + pair(step) + i * 16 * LAYOUT::pitch);
    } else if constexpr (LAYOUT::words) {
      _Pragma("unroll") for (int matrix = 0; matrix < MATRICES; ++matrix) {
        const int row = (step * depth + depth_of(matrix)) * LAYOUT::pitch;
        registers[matrix] = *(const u32*)(slot + pair(2 * i + line_of(matrix) / 8) + row);
      }
    } else {
      load_matrices<true>(registers, slot + pair(i) + step * depth * LAYOUT::pitch);
    }
  }

 private:
  template <bool TRANSPOSED>
  static DEV_MEMBER void load_matrices(u32 (&registers)[4], const char* row) {
    load_matrix_x4<TRANSPOSED>(registers, row);
  }
  template <bool TRANSPOSED>
  static DEV_MEMBER void load_matrices(u32 (&registers)[2], const char* row) {
    load_matrix_x2<TRANSPOSED>(registers, row);
  }
};

template <class ATOM, int ROWS, int COLUMNS, int DEPTH, int WARPS_M, int WARPS_N, int STAGES>
struct product_mma {
  typedef typename ATOM::accumulator accumulator;
  typedef typename ATOM::element_a T;
  static constexpr int threads = 32 * WARPS_M * WARPS_N, elements = ROWS * COLUMNS / threads;
  static constexpr int atoms_m = ROWS / WARPS_M / 16, atoms_n = COLUMNS / WARPS_N / 8;  // of a warp
  static constexpr int steps = DEPTH * int(sizeof(T)) / 32;
  static constexpr int bytes_a = ROWS * DEPTH * int(sizeof(T)), bytes_b = COLUMNS * DEPTH * int(sizeof(T));
  static constexpr int shared_bytes = STAGES * (bytes_a + bytes_b);
  static_assert(atoms_m * WARPS_M * 16 == ROWS && atoms_n * WARPS_N * 8 == COLUMNS, "uneven tile");
  static_assert(sizeof(typename ATOM::element_b) == sizeof(T) && steps * 32 == DEPTH * int(sizeof(T)), "uneven depth");

  // The elements of a thread: atom by atom; 2 i and 2 i + 1 are neighbours in a row.
  static DEV_MEMBER constexpr int row_of(u32 thread, int e) {
    const int warp = int(thread / 32 % WARPS_M), lane = int(thread % 32);
    return (warp * atoms_m + e / (4 * atoms_n)) * 16 + e / 2 % 2 * 8 + lane / 4;
  }
  static DEV_MEMBER constexpr int column_of(u32 thread, int e) {
    const int warp = int(thread / 32 / WARPS_M), lane = int(thread % 32);
    return (warp * atoms_n + e / 4 % atoms_n) * 8 + lane % 4 * 2 + e % 2;
  }

  template <class A, class B>
  static DEV_MEMBER void accumulate(accumulator (&acc)[elements], char* shared, i64 k_begin, i64 k_end, const A& a,
                                    const B& b) {
    typedef swizzled<T, ROWS, DEPTH, A::along_k> layout_a;
    typedef swizzled<T, COLUMNS, DEPTH, B::along_k> layout_b;
    const int warp = int(threadIdx.x / 32), lane = int(threadIdx.x % 32);
    const fragment_reader<T, layout_a, atoms_m, steps, true> reader_a(warp % WARPS_M * atoms_m * 16, lane);
    const fragment_reader<T, layout_b, (atoms_n + 1) / 2, steps, false> reader_b(warp / WARPS_M * atoms_n * 8, lane);
    stage_tiles<DEPTH, STAGES, bytes_a, bytes_b>(
        shared, k_begin, k_end, mover<A, layout_a, ROWS, DEPTH, threads>(a, k_begin),
        mover<B, layout_b, COLUMNS, DEPTH, threads>(b, k_begin), [&](const char* slot_a, const char* slot_b, i64) {
          _Pragma("unroll") for (int step = 0; step < steps; ++step) {
            fragment_a rows[atoms_m];
            _Pragma("unroll") for (int i = 0; i < atoms_m; ++i) {
              u32 loaded[4];
              reader_a.load(loaded, slot_a, i, step);
              rows[i].prepare(loaded);
            }
            _Pragma("unroll") for (int j = 0; j < atoms_n; j += 2) {
              constexpr bool odd = atoms_n % 2 != 0;
              if (odd && j == atoms_n - 1)
                multiply_columns<1>(acc, rows, reader_b, slot_b, j, step);
              else
                multiply_columns<2>(acc, rows, reader_b, slot_b, j, step);
            }
          }
        });
  }

 private:
  typedef typename ATOM::template fragment<4> fragment_a;
  typedef typename ATOM::template fragment<2> fragment_b;

  // One or two atoms of columns, from j on, by all rows of the warp.
  template <int COUNT, class READER>
  static DEV_MEMBER void multiply_columns(accumulator (&acc)[elements], const fragment_a (&rows)[atoms_m],
                                          const READER& reader, const char* slot, int j, int step) {
    u32 loaded[2 * COUNT];
    reader.load(loaded, slot, j / 2, step);
    _Pragma("unroll") for (int n = 0; n < COUNT; ++n) {
      const u32 pair[2] = {loaded[2 * n], loaded[2 * n + 1]};
      fragment_b columns;
      columns.prepare(pair);
      _Pragma("unroll") for (int i = 0; i < atoms_m; ++i) {
        const int first = (i * atoms_n + j + n) * 4;
        accumulator d[4] = {acc[first], acc[first + 1], acc[first + 2], acc[first + 3]};
        ATOM::multiply(d, rows[i], columns);
        _Pragma("unroll") for (int e = 0; e < 4; ++e) acc[first + e] = d[e];
      }
    }
  }
};
