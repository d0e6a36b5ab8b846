// Tiles of operands on their way through shared memory: a ring of STAGES slots, filled ahead of the multiplication.
// After operand.h.
//
// What lies in memory as it shall lie in a slot is copied asynchronously, STAGES - 1 tiles ahead. The rest (computed
// chunks, chunks under 4 bytes, chunks that are turned from lines to k) goes through registers: fetched before a tile
// is multiplied, put into its slot after.
//
// A LAYOUT says where element (line, k) of a tile lies in its slot, `offset(line, k)` in bytes, and what stays
// together: runs of `run_bytes`, along k if `along_k`, else along the line.

// One operand's part in it, as one thread sees it.
template <class OPERAND, class LAYOUT, int LINES, int DEPTH, int THREADS>
struct mover {
  typedef typename OPERAND::element T;
  static constexpr int vector = OPERAND::vector, chunks = LINES * DEPTH / vector;
  static constexpr int each = (chunks + THREADS - 1) / THREADS;
  static constexpr u32 in_a_row = (OPERAND::along_k ? DEPTH : LINES) / vector;
  static_assert((OPERAND::along_k ? DEPTH : LINES) % vector == 0, "chunks that straddle tiles");
  static constexpr int run = OPERAND::along_k == LAYOUT::along_k ? LAYOUT::run_bytes / int(sizeof(T)) : 1;
  static constexpr int piece = vector < run ? vector : run;  // of a chunk, that stays together
  static constexpr bool asynchronous =
      kCopiesAsynchronously && OPERAND::is_copied && OPERAND::bytes >= 4 && piece == vector;

  const OPERAND& operand;
  packet<OPERAND::bytes> held[asynchronous ? 1 : each];

  DEV_MEMBER mover(const OPERAND& operand) : operand(operand) {}

  static DEV_MEMBER u32 chunk_of(int i) { return threadIdx.x + u32(i) * THREADS; }
  static DEV_MEMBER bool exists(u32 chunk) { return chunks % THREADS == 0 || chunk < chunks; }
  static DEV_MEMBER int line_of(u32 chunk) {
    return int(OPERAND::along_k ? chunk / in_a_row : chunk % in_a_row * vector);
  }
  static DEV_MEMBER int depth_of(u32 chunk) {
    return int(OPERAND::along_k ? chunk % in_a_row * vector : chunk / in_a_row);
  }

  // The tile at k, of which `left` along k count.
  DEV_MEMBER void begin(char* slot, i64 k, int left) {
    _Pragma("unroll") for (int i = 0; i < each; ++i) {
      const u32 chunk = chunk_of(i);
      const int line = line_of(chunk), depth = depth_of(chunk);
      if (!exists(chunk)) continue;
      if constexpr (asynchronous) {
        const source<T> from = operand.at(line, k + depth);
        copy_async<OPERAND::bytes>(slot + LAYOUT::offset(line, depth), from.from, from.valid && depth < left);
      } else {
        held[i] = fetch(operand, line, k + depth, depth < left);
      }
    }
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

// Calls multiply(slot of a, slot of b) for tile after tile of k_begin … k_end. On return no copy is under way and the
// shared memory is free. All threads of the block call it.
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
    multiply(shared + slot, shared + slot + BYTES_A);
    if (ahead < k_end) finish(last);
    last = slot;
    slot = opaque(slot == (STAGES - 1) * bytes ? 0 : slot + bytes);
  }
  copy_async_wait<0>();
  barrier();
}
