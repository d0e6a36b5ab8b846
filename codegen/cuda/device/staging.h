// Tiles of operands on their way through shared memory: a ring of STAGES slots, filled ahead of the multiplication.
// After operand.h.
//
// What lies in memory as it shall lie in a slot is copied asynchronously, STAGES - 1 tiles ahead. The rest (converted
// chunks, chunks under 4 bytes, chunks that are turned from lines to k) goes through registers: loaded before a tile is
// multiplied, converted and put into its slot after.
//
// A LAYOUT says where element (line, k) of a tile lies in its slot, `offset(line, k)` in bytes, and what stays
// together: runs of `run_bytes`, along k if `along_k`, else along the line. `permuted`: chunks of a row are permuted,
// the same in every eighth row.

// Which chunks of a tile a thread has: one row of memory after the other, chunk by chunk, as the threads are numbered.
// Or four chunks, one below the other, where 4 by 4 bytes are to be turned. Where words are TURNED from lines to k, a
// warp has chunks of four rows: what its lanes store of one is in another bank for each.
template <class OPERAND, int LINES, int DEPTH, int THREADS, bool QUADS, bool TURNED>
struct chunks_of_thread {
  static constexpr int in_a_row = (OPERAND::along_k ? DEPTH : LINES) / OPERAND::vector, below = QUADS ? 4 : 1;
  static constexpr int count = LINES * DEPTH / OPERAND::vector / below;
  static constexpr int each = (count + THREADS - 1) / THREADS * below;
  static constexpr int lines = LINES;
  static constexpr bool along_k = OPERAND::along_k, regular = THREADS % in_a_row == 0;
  static constexpr bool exists_everywhere = count % THREADS == 0;
  static_assert((OPERAND::along_k ? DEPTH : LINES) % OPERAND::vector == 0, "chunks that straddle tiles");

  static constexpr int lanes_along = TURNED && in_a_row % 8 == 0 && THREADS / in_a_row % 4 == 0 ? 8 : in_a_row;

  // Of the threads, numbered in the order of the rows that they have.
  static DEV_MEMBER u32 place() {
    if constexpr (lanes_along == in_a_row) return threadIdx.x;
    const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, across = u32(in_a_row) / 8;
    return (warp / across * 4 + lane / 8) * u32(in_a_row) + warp % across * 8 + lane % 8;
  }
  static DEV_MEMBER u32 number(int i) { return place() + u32(i / below) * THREADS; }
  static DEV_MEMBER bool exists(int i) { return exists_everywhere || number(i) < u32(count); }
  static DEV_MEMBER int row(int i) { return int(number(i) / u32(in_a_row)) * below + i % below; }
  static DEV_MEMBER int column(int i) { return int(number(i) % u32(in_a_row)) * OPERAND::vector; }
  static DEV_MEMBER int line(int i) { return OPERAND::along_k ? row(i) : column(i); }
  static DEV_MEMBER int depth(int i) { return OPERAND::along_k ? column(i) : row(i); }
  static constexpr int rows_apart = THREADS / in_a_row * below;  // of a thread's chunks, if regular
  static DEV_MEMBER constexpr int rows_below_first(int i) { return i / below * rows_apart + i % below; }
};

// Where the chunks of one thread come from, tile after tile: chunk(i, k) is the i-th, its first element at k.
template <class T, class AT, class CHUNKS, int DEPTH, bool REGULAR>
struct walker {
  const AT& at;
  DEV_MEMBER walker(const AT& at, i64 /*k_begin*/) : at(at) {}
  DEV_MEMBER source<T> chunk(int i, i64 k) const { return at(CHUNKS::line(i), k); }
  DEV_MEMBER void next_tile() {}
};
// In a matrix the rows below the first are the same for all threads (if REGULAR): one pointer, which moves.
template <class T, bool ALONG_K, class CHUNKS, int DEPTH>
struct walker<T, matrix_at<T, ALONG_K>, CHUNKS, DEPTH, true> {
  const T* first;
  i64 stride;
  int lines;
  DEV_MEMBER walker(const matrix_at<T, ALONG_K>& at, i64 k_begin)
      : first(at(CHUNKS::line(0), k_begin + CHUNKS::depth(0)).from),
        stride(at.stride),
        lines(at.lines < 0x7fffffff ? int(at.lines) : 0x7fffffff) {}
  DEV_MEMBER source<T> chunk(int i, i64 /*k*/) const {
    return {first + CHUNKS::rows_below_first(i) * stride, CHUNKS::line(i) < lines};
  }
  DEV_MEMBER void next_tile() { first += ALONG_K ? DEPTH : DEPTH * stride; }
};
template <class X>
DEV X known_from(const X& known, u32 lane) {
  static_assert(sizeof(X) % 4 == 0, "whole words");
  u32 words[sizeof(X) / 4];
  memcpy(words, &known, sizeof words);
  _Pragma("unroll") for (u32& word : words) word = shuffle_from(word, lane);
  X result;
  memcpy(&result, words, sizeof words);
  return result;
}
template <class T>
DEV line_taps<T> known_from(const line_taps<T>& known, u32 lane) {
  return {(const T*)shuffle_from(u64(known.at), lane), shuffle_from(known.outside, lane)};
}

// What is known of the lines stays in registers. Along the line a thread has one (if REGULAR). Otherwise several
// threads of a warp have chunks of the same lines: each prepares some of the warp's lines, and gives them to the
// others.
template <class T, class PREPARE, class AT, class CHUNKS, int DEPTH, bool REGULAR>
struct walker<T, prepared_at<PREPARE, AT>, CHUNKS, DEPTH, REGULAR> {
  typedef decltype(((const PREPARE*)nullptr)->operator()(i64())) known;
  static constexpr int count = REGULAR && !CHUNKS::along_k ? 1 : CHUNKS::each, sharers = CHUNKS::in_a_row;
  static constexpr bool shared = REGULAR && CHUNKS::along_k && count > 1 && sharers > 1 && 32 % sharers == 0;
  const AT& at;
  known lines[count];
  DEV_MEMBER walker(const prepared_at<PREPARE, AT>& prepared, i64 /*k_begin*/) : at(prepared.at) {
    if constexpr (shared) {
      share(prepared.prepare);
    } else {
      _Pragma("unroll") for (int i = 0; i < count; ++i) {
        if (CHUNKS::exists(i)) lines[i] = prepared.prepare(CHUNKS::line(i));
      }
    }
  }
  DEV_MEMBER source<T> chunk(int i, i64 k) const { return at(lines[count == 1 ? 0 : i], CHUNKS::line(i), k); }
  DEV_MEMBER void next_tile() {}

 private:
  DEV_MEMBER void share(const PREPARE& prepare) {
    constexpr int at_once = 32 / sharers, owned = (count + sharers - 1) / sharers;  // at_once: of one chunk each
    constexpr bool all = CHUNKS::exists_everywhere && count % sharers == 0;
    const int lane = int(threadIdx.x % 32), first = int(threadIdx.x) / 32 * at_once;
    known own[owned] = {};
    _Pragma("unroll") for (int j = 0; j < owned; ++j) {
      const int number = j * 32 + lane;
      const int line = first + number % at_once + number / at_once * CHUNKS::rows_apart;
      if (all || (number / at_once < count && line < CHUNKS::lines)) own[j] = prepare(line);
    }
    _Pragma("unroll") for (int i = 0; i < count; ++i) {
      lines[i] = known_from(own[i / sharers], u32(i % sharers * at_once + lane / sharers));
    }
  }
};

// One operand's part in it, as one thread sees it.
template <class OPERAND, class LAYOUT, int LINES, int DEPTH, int THREADS>
struct mover {
  typedef typename OPERAND::element T;
  typedef packet<OPERAND::bytes> chunk;
  static constexpr int vector = OPERAND::vector, size = int(sizeof(T));
  static constexpr int run = OPERAND::along_k == LAYOUT::along_k ? LAYOUT::run_bytes / size : 1;
  static constexpr int piece = vector < run ? vector : run;  // of a chunk, that stays together
  static constexpr bool quads = size == 1 && !OPERAND::along_k && LAYOUT::along_k && vector % 4 == 0 && DEPTH % 4 == 0;
  static constexpr bool asynchronous =
      kCopiesAsynchronously && OPERAND::is_copied && OPERAND::bytes >= 4 && piece == vector;
  static constexpr bool turns = size == 4 && !OPERAND::along_k && LAYOUT::along_k;
  typedef chunks_of_thread<OPERAND, LINES, DEPTH, THREADS, quads, turns> chunks;
  typedef decltype(((const OPERAND*)nullptr)->at(i64(), i64())) given;

  // Permuted layouts repeat every 8 rows, so chunks so far apart are at known distances, which nobody sees.
  static constexpr bool evenly_apart = LAYOUT::permuted && chunks::regular && chunks::below == 1 &&
                                       chunks::rows_apart % 8 == 0 && OPERAND::along_k == LAYOUT::along_k;

  const OPERAND& operand;
  walker<T, typename OPERAND::function, chunks, DEPTH, chunks::regular> walk;
  typename either<OPERAND::is_copied, chunk, given>::type held[asynchronous ? 1 : chunks::each];
  i64 held_k;  // of the tile that is held, and how much of it counts
  int held_left;

  DEV_MEMBER mover(const OPERAND& operand, i64 k_begin) : operand(operand), walk(operand.at, k_begin) {}

  // Of chunk i, given that of the first.
  static DEV_MEMBER char* place_of(char* slot, char* first, int i) {
    const int below = chunks::rows_below_first(i);
    if (!evenly_apart) return slot + LAYOUT::offset(chunks::line(i), chunks::depth(i));
    return first + (LAYOUT::along_k ? LAYOUT::offset(below, 0) : LAYOUT::offset(0, below));
  }

  // The tile at k, of which `left` along k count; called for one tile after the other.
  DEV_MEMBER void begin(char* slot, i64 k, int left) {
    char* const first = evenly_apart ? slot + opaque(LAYOUT::offset(chunks::line(0), chunks::depth(0))) : slot;
    _Pragma("unroll") for (int i = 0; i < chunks::each; ++i) {
      const int depth = chunks::depth(i);
      if (!chunks::exists(i)) continue;
      if constexpr (OPERAND::is_copied) {
        const source<T> from = walk.chunk(i, k + depth);
        const bool valid = from.valid && depth < left;
        if constexpr (asynchronous)
          copy_async<OPERAND::bytes>(place_of(slot, first, i), from.from, valid);
        else if (valid)
          held[i] = load_packet<OPERAND::bytes>(from.from);
        else
          held[i] = {};
      } else if (depth < left) {
        held[i] = operand.at(chunks::line(i), k + depth);
      }
    }
    held_k = k;
    held_left = left;
    walk.next_tile();
  }
  DEV_MEMBER void finish(char* slot) const {
    if constexpr (!asynchronous) {
      _Pragma("unroll") for (int i = 0; i < chunks::each; i += chunks::below) {
        if (!chunks::exists(i)) continue;
        if constexpr (quads)
          store_turned(slot, i);
        else
          store(slot, convert(held[i], i), i);
      }
    }
  }

 private:
  DEV_MEMBER chunk convert(const chunk& copied, int) const { return copied; }
  template <class GIVEN>
  DEV_MEMBER chunk convert(const GIVEN& given, int i) const {
    if (chunks::depth(i) < held_left) return packed(operand.convert(given, chunks::line(i), held_k + chunks::depth(i)));
    return {};
  }

  static DEV_MEMBER void store(char* slot, const chunk& chunk, int i) {
    _Pragma("unroll") for (int j = 0; j < vector; j += piece) {
      const int line = chunks::line(i) + (OPERAND::along_k ? 0 : j),
                depth = chunks::depth(i) + (OPERAND::along_k ? j : 0);
      store_packet<piece * size>(slot + LAYOUT::offset(line, depth), chunk, j * size);
      wrote_shared(slot + LAYOUT::offset(line, depth), piece * size);
    }
  }
  // Four chunks of bytes: 4 along k of each line become a word.
  DEV_MEMBER void store_turned(char* slot, int i) const {
    const chunk rows[4] = {convert(held[i], i), convert(held[i + 1], i + 1), convert(held[i + 2], i + 2),
                           convert(held[i + 3], i + 3)};
    _Pragma("unroll") for (int j = 0; j < vector / 4; ++j) {
      const u32 a = rows[0].words[j], b = rows[1].words[j], c = rows[2].words[j], d = rows[3].words[j];
      const u32 ab = bytes_of(a, b, 0x5140), cd = bytes_of(c, d, 0x5140);  // a0 b0 a1 b1
      const u32 ab_high = bytes_of(a, b, 0x7362), cd_high = bytes_of(c, d, 0x7362);
      const u32 lines[4] = {bytes_of(ab, cd, 0x5410), bytes_of(ab, cd, 0x7632), bytes_of(ab_high, cd_high, 0x5410),
                            bytes_of(ab_high, cd_high, 0x7632)};
      _Pragma("unroll") for (int e = 0; e < 4; ++e) {
        u32* const to = (u32*)(slot + LAYOUT::offset(chunks::line(i) + 4 * j + e, chunks::depth(i)));
        *to = lines[e];
        wrote_shared(to, 4);
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
