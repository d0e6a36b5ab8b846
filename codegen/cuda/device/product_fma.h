// A block's tile of a product by fused multiply-adds, exact to the type: acc[row, column] += sum over k of a(row, k)
// b(k, column). After staging.h.
//
//   typedef product_fma<f32, f32, 128, 128, 8, 256, 3> product;
//   f32 acc[product::elements] = {};
//   product::accumulate(acc, shared, k_begin, k_end, a, b);    // shared: product::shared_bytes, aligned to 16
//   … product::row_of(threadIdx.x, e), product::column_of(threadIdx.x, e) …
//
// T, ACC are f32, f64, i32 or i64 twice (integers wrap), or bytes with i32 sums, four products an instruction; which of
// the bytes are signed the operands say.
//
// A slot is [k][line], lines padded by 16 bytes, so that a thread reads what it needs of a k in runs of 16 bytes.
// Elements of a thread are a grid of runs: groups of up to 16 bytes of rows by groups of up to 16 bytes of columns, far
// apart, so that neighbouring lanes read neighbouring runs.

// Where element (line, k) of a tile lies: in words, of an element, or of 4 bytes along k.
template <class T, int LINES>
struct lines_of_k {
  static constexpr int pack = sizeof(T) == 1 ? 4 : 1, word = pack * int(sizeof(T));
  static constexpr int pitch = LINES * word + 16;
  static constexpr bool along_k = pack > 1;
  static constexpr int run_bytes = pack > 1 ? word : 16;
  static constexpr bool permuted = false;
  static DEV_MEMBER int offset(int line, int k) { return k / pack * pitch + line * word + k % pack; }
};

template <class T, class ACC, int ROWS, int COLUMNS, int DEPTH, int THREADS, int STAGES>
struct product_fma {
  static constexpr int elements = ROWS * COLUMNS / THREADS;
  static constexpr int pack = lines_of_k<T, 1>::pack, word = lines_of_k<T, 1>::word, run = 16 / word;
  static constexpr int columns = elements >= 32 ? 8 : elements >= 8 ? 4 : 2, rows = elements / columns;  // of a thread
  static constexpr int threads_m = ROWS / rows, threads_n = COLUMNS / columns;
  static constexpr int lanes_n = threads_m < 4 ? 32 / threads_m : threads_n < 8 ? threads_n : 8, lanes_m = 32 / lanes_n;
  static constexpr int warps_n = threads_n / lanes_n;
  static constexpr int row_run = rows < run ? rows : run, column_run = columns < run ? columns : run;
  static constexpr int bytes_a = DEPTH / pack * lines_of_k<T, ROWS>::pitch;
  static constexpr int bytes_b = DEPTH / pack * lines_of_k<T, COLUMNS>::pitch;
  static constexpr int shared_bytes = STAGES * (bytes_a + bytes_b);
  static_assert(rows * columns == elements && threads_m * rows == ROWS && threads_n * columns == COLUMNS,
                "uneven tile");
  static_assert(THREADS % 32 == 0 && threads_m % lanes_m == 0 && threads_n % lanes_n == 0, "uneven warps");
  static_assert(DEPTH % pack == 0 && DEPTH / pack >= 1, "bytes go by fours");

  // The elements of a thread: row by row; 2 i and 2 i + 1 are neighbours in a row.
  static DEV_MEMBER constexpr int thread_row(u32 thread) {
    return int(thread / 32 / warps_n * lanes_m + thread % 32 / lanes_n);
  }
  static DEV_MEMBER constexpr int thread_column(u32 thread) {
    return int(thread / 32 % warps_n * lanes_n + thread % 32 % lanes_n);
  }
  static DEV_MEMBER constexpr int row_of(u32 thread, int e) {
    const int i = e / columns;
    return (i / row_run * threads_m + thread_row(thread)) * row_run + i % row_run;
  }
  static DEV_MEMBER constexpr int column_of(u32 thread, int e) {
    const int j = e % columns;
    return (j / column_run * threads_n + thread_column(thread)) * column_run + j % column_run;
  }

  template <class A, class B>
  static DEV_MEMBER void accumulate(ACC (&acc)[elements], char* shared, i64 k_begin, i64 k_end, const A& a,
                                    const B& b) {
    typedef mover<A, lines_of_k<T, ROWS>, ROWS, DEPTH, THREADS> mover_a;
    typedef mover<B, lines_of_k<T, COLUMNS>, COLUMNS, DEPTH, THREADS> mover_b;
    const int first_a = thread_row(threadIdx.x) * row_run * word;
    const int first_b = thread_column(threadIdx.x) * column_run * word;
    stage_tiles<DEPTH, STAGES, bytes_a, bytes_b>(
        shared, k_begin, k_end, mover_a(a, k_begin), mover_b(b, k_begin),
        [&](const char* slot_a, const char* slot_b, i64) {
          _Pragma("unroll") for (int k = 0; k < DEPTH / pack; ++k) {
            WORD row[rows], column[columns];
            read<rows, row_run, threads_m>(row, slot_a + first_a + k * lines_of_k<T, ROWS>::pitch);
            read<columns, column_run, threads_n>(column, slot_b + first_b + k * lines_of_k<T, COLUMNS>::pitch);
            _Pragma("unroll") for (int e = 0; e < elements; ++e) {
              acc[e] = multiplied<A, B>(row[e / columns], column[e % columns], acc[e]);
            }
          }
        });
  }

 private:
  typedef typename either<pack == 4, u32, T>::type WORD;

  template <int COUNT, int RUN, int RUNS_APART>
  static DEV_MEMBER void read(WORD (&words)[COUNT], const char* from) {
    _Pragma("unroll") for (int i = 0; i < COUNT; i += RUN) {
      const packet<RUN* word> part = load_packet<RUN * word>(from + i * RUNS_APART * word);
      memcpy(words + i, &part, sizeof part);
    }
  }

  template <class A, class B>
  static DEV_MEMBER ACC multiplied(WORD x, WORD y, ACC sum) {
    typedef typename A::element a_type;
    typedef typename B::element b_type;
    if constexpr (pack == 4)
      return dot4<a_type(-1) < a_type(0), b_type(-1) < b_type(0)>(sum, x, y);
    else
      return op_fma(ACC(x), ACC(y), sum);
  }
};
