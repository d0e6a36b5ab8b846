// Tiles of operands on their way through shared memory: a ring of STAGES slots, filled ahead of the multiplication.
// After operand.h.
//
// What lies in memory as it shall lie in a slot is copied asynchronously, STAGES - 1 tiles ahead. The rest (computed
// chunks, chunks under 4 bytes, chunks that are turned from lines to k) goes through registers: fetched before a tile
// is multiplied, put into its slot after.
//
// A LAYOUT says where element (line, k) of a tile lies in its slot, `offset(line, k)` in bytes, and what stays
// together: runs of `run_bytes`, along k if `along_k`, else along the line.

// Where the chunks of one thread come from, tile after tile. The first is at (line, depth) of the tile at k.
template <class T, class AT, int DEPTH, int CHUNKS, int ROWS_APART, bool REGULAR>
struct walker {
  const AT& at;
  DEV_MEMBER walker(const AT& at, int /*line*/, i64 /*k*/) : at(at) {}
  DEV_MEMBER void prepare(int /*i*/, int /*line*/) {}
  DEV_MEMBER source<T> chunk(int /*i*/, int line, i64 k) const { return at(line, k); }
  DEV_MEMBER void next_tile() {}
};
// A matrix whose chunks of a thread are ROWS_APART rows of memory apart: one pointer, which moves.
template <class T, bool ALONG_K, int DEPTH, int CHUNKS, int ROWS_APART>
struct walker<T, matrix_at<T, ALONG_K>, DEPTH, CHUNKS, ROWS_APART, true> {
  const T* first;
  i64 chunk_step, tile_step;
  int lines;
  DEV_MEMBER walker(const matrix_at<T, ALONG_K>& at, int line, i64 k)
      : first(at(line, k).from),
        chunk_step(ROWS_APART * at.stride),
        tile_step(ALONG_K ? DEPTH : DEPTH * at.stride),
        lines(at.lines < 0x7fffffff ? int(at.lines) : 0x7fffffff) {}
  DEV_MEMBER void prepare(int /*i*/, int /*line*/) {}
  DEV_MEMBER source<T> chunk(int i, int line, i64 /*k*/) const { return {first + i * chunk_step, line < lines}; }
  DEV_MEMBER void next_tile() { first += tile_step; }
};
// What is known of the line of each chunk is kept.
template <class T, class PREPARE, class AT, int DEPTH, int CHUNKS, int ROWS_APART, bool REGULAR>
struct walker<T, prepared_at<PREPARE, AT>, DEPTH, CHUNKS, ROWS_APART, REGULAR> {
  const prepared_at<PREPARE, AT>& at;
  typename prepared_at<PREPARE, AT>::state states[CHUNKS];
  DEV_MEMBER walker(const prepared_at<PREPARE, AT>& at, int /*line*/, i64 /*k*/) : at(at) {}
  DEV_MEMBER void prepare(int i, int line) { states[i] = at.prepare(line); }
  DEV_MEMBER source<T> chunk(int i, int /*line*/, i64 k) const { return at.at(states[i], k); }
  DEV_MEMBER void next_tile() {}
};

// One operand's part in it, as one thread sees it.
template <class OPERAND, class LAYOUT, int LINES, int DEPTH, int THREADS>
struct mover {
  typedef typename OPERAND::element T;
  static constexpr int vector = OPERAND::vector, chunks = LINES * DEPTH / vector;
  static constexpr int each = (chunks + THREADS - 1) / THREADS;
  static constexpr int in_a_row = (OPERAND::along_k ? DEPTH : LINES) / vector;
  static_assert((OPERAND::along_k ? DEPTH : LINES) % vector == 0, "chunks that straddle tiles");
  static constexpr int run = OPERAND::along_k == LAYOUT::along_k ? LAYOUT::run_bytes / int(sizeof(T)) : 1;
  static constexpr int piece = vector < run ? vector : run;  // of a chunk, that stays together
  static constexpr bool asynchronous =
      kCopiesAsynchronously && OPERAND::is_copied && OPERAND::bytes >= 4 && piece == vector;
  typedef walker<T, typename OPERAND::function, DEPTH, each, THREADS / in_a_row, THREADS % in_a_row == 0>
      walker_of_copies;

  const OPERAND& operand;
  walker_of_copies walk;
  packet<OPERAND::bytes> held[asynchronous ? 1 : each];

  DEV_MEMBER mover(const OPERAND& operand, i64 k_begin)
      : operand(operand), walk(operand.at, line_of(threadIdx.x), k_begin + depth_of(threadIdx.x)) {
    _Pragma("unroll") for (int i = 0; i < each; ++i) walk.prepare(i, line_of(chunk_of(i)));
  }

  static DEV_MEMBER u32 chunk_of(int i) { return threadIdx.x + u32(i) * THREADS; }
  static DEV_MEMBER bool exists(u32 chunk) { return chunks % THREADS == 0 || chunk < u32(chunks); }
  static DEV_MEMBER int line_of(u32 chunk) {
    return int(OPERAND::along_k ? chunk / u32(in_a_row) : chunk % u32(in_a_row) * vector);
  }
  static DEV_MEMBER int depth_of(u32 chunk) {
    return int(OPERAND::along_k ? chunk % u32(in_a_row) * vector : chunk / u32(in_a_row));
  }

  // The tile at k, of which `left` along k count; called for one tile after the other.
  DEV_MEMBER void begin(char* slot, i64 k, int left) {
    _Pragma("unroll") for (int i = 0; i < each; ++i) {
      const u32 chunk = chunk_of(i);
      const int line = line_of(chunk), depth = depth_of(chunk);
      if (!exists(chunk)) continue;
      if constexpr (OPERAND::is_copied) {
        const source<T> from = walk.chunk(i, line, k + depth);
        const bool valid = from.valid && depth < left;
        if constexpr (asynchronous)
          copy_async<OPERAND::bytes>(slot + LAYOUT::offset(line, depth), from.from, valid);
        else if (valid)
          held[i] = load_packet<OPERAND::bytes>(from.from);
        else
          held[i] = {};
      } else {
        if (depth < left)
          held[i] = packed(operand.at(line, k + depth));
        else
          held[i] = {};
      }
    }
    walk.next_tile();
  }
  DEV_MEMBER void finish(char* slot) const {
    if constexpr (!asynchronous) {
      _Pragma("unroll") for (int i = 0; i < each; ++i) {
        const u32 chunk = chunk_of(i);
        const int line = line_of(chunk), depth = depth_of(chunk);
        if (!exists(chunk)) continue;
        _Pragma("unroll") for (int j = 0; j < vector; j += piece) {
          const int at = OPERAND::along_k ? LAYOUT::offset(line, depth + j) : LAYOUT::offset(line + j, depth);
          store_packet<piece * sizeof(T)>(slot + at, held[i], j * int(sizeof(T)));
        }
      }
    }
  }
};

// Calls multiply(slot of a, slot of b, k) for tile after tile of k_begin … k_end. On return no copy is under way (the
// last groups are empty) and the shared memory is free. All threads of the block call it.
template <int DEPTH, int STAGES, int BYTES_A, int BYTES_B, class MOVER_A, class MOVER_B, class MULTIPLY>
DEV void stage_tiles(char* shared, i64 k_begin, i64 k_end, MOVER_A a, MOVER_B b, const MULTIPLY& multiply) {
  static_assert(STAGES >= 2, "one slot is filled while another is multiplied");
  constexpr int bytes = BYTES_A + BYTES_B;
  const auto begin = [&](int slot, i64 k) {
    const int left = k_end - k < DEPTH ? int(k_end - k) : DEPTH;
    a.begin(shared + slot, k, left);
    b.begin(shared + slot + BYTES_A, k, left);
  };
  const auto finish = [&](int slot) {
    a.finish(shared + slot);
    b.finish(shared + slot + BYTES_A);
  };
  _Pragma("unroll") for (int i = 0; i < STAGES - 1; ++i) {
    const i64 k = k_begin + i * DEPTH;
    if (k < k_end) {
      begin(i * bytes, k);
      finish(i * bytes);
    }
    copy_async_commit();
  }
  int slot = 0, last = (STAGES - 1) * bytes;  // where they begin: the slot to multiply, and the one multiplied before
  _Pragma("unroll 1") for (i64 k = k_begin; k < k_end; k += DEPTH) {
    copy_async_wait<STAGES - 2>();
    barrier();  // all threads have multiplied `last`
    const i64 ahead = k + (STAGES - 1) * DEPTH;
    if (ahead < k_end) begin(last, ahead);
    copy_async_commit();
    multiply(shared + slot, shared + slot + BYTES_A, k);
    if (ahead < k_end) finish(last);
    last = slot;
    slot = opaque(slot == (STAGES - 1) * bytes ? 0 : slot + bytes);
  }
  barrier();
}
