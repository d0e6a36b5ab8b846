// A ring of slots in shared memory between the warpgroup that brings operands and those that multiply them. Each slot
// has two barriers: `full` ends a phase when all that the slot is to hold is there, both operands or part of a residual
// (wgmma_residual.h), `empty` when every warp that reads it has. After hopper.h and staging.h.

// An operand that the copy engine moves: boxes of a tensor map with 128-byte swizzle, 128 bytes of elements wide by the
// rows of a panel (wgmma_layout.h). The tile begins at `line`, its k at `first`; y and z are coordinates in the map's
// third and fourth dimension. A single thread asks for it, so this is the fastest; all strides must be multiples of 16
// bytes.
template <class T, bool ALONG_K, int RANK>
struct mapped_operand {
  typedef T element;
  static constexpr bool along_k = ALONG_K;
  const tensor_map* map;
  i32 line, y, z;
  i32 first = 0;
  DEV_MEMBER mapped_operand from(i64 k) const { return {map, line, y, z, i32(k)}; }
};
template <class T, bool ALONG_K>
DEV mapped_operand<T, ALONG_K, 2> mapped(const tensor_map* map, i64 line) {
  return {map, i32(line), 0, 0};
}
template <class T, bool ALONG_K>
DEV mapped_operand<T, ALONG_K, 3> mapped(const tensor_map* map, i64 line, i64 y) {
  return {map, i32(line), i32(y), 0};
}
template <class T, bool ALONG_K>
DEV mapped_operand<T, ALONG_K, 4> mapped(const tensor_map* map, i64 line, i64 y, i64 z) {
  return {map, i32(line), i32(y), i32(z)};
}

// --- how LINES x DEPTH of an operand get into slots, for one tile; PIECE lines of it make one product ---
template <class OPERAND, int LINES, int DEPTH, int PIECE>
struct slot_filler {  // copied and computed operands: the threads of the producer move chunks
  typedef typename OPERAND::element T;
  static constexpr bool is_mapped = false;
  typedef wgmma_operand<T, LINES, DEPTH, OPERAND::along_k || sizeof(T) != 2 || PIECE % 64 != 0> layout;
  mover<OPERAND, layout, LINES, DEPTH, 128> chunks;

  DEV_MEMBER slot_filler(const OPERAND& operand, i64 k_begin) : chunks(operand, k_begin) {}
  // Before the slot is waited for: what goes through registers may already be on its way.
  DEV_MEMBER void begin(i64 k, int left) {
    if constexpr (!decltype(chunks)::asynchronous) chunks.begin(nullptr, k, left);
  }
  DEV_MEMBER void fill(char* slot, u32 /*address*/, i64 k, int left, u32 /*full*/) {
    if constexpr (decltype(chunks)::asynchronous) chunks.begin(slot, k, left);
    chunks.finish(slot);
  }
};
template <class T, bool ALONG_K, int RANK, int LINES, int DEPTH, int PIECE>
struct slot_filler<mapped_operand<T, ALONG_K, RANK>, LINES, DEPTH, PIECE> {
  static constexpr bool is_mapped = true;
  typedef wgmma_operand<T, LINES, DEPTH, ALONG_K> layout;
  static_assert(ALONG_K || PIECE % 64 == 0, "a product reads whole panels");
  static_assert(layout::rows <= 256, "a box has at most 256 rows");
  mapped_operand<T, ALONG_K, RANK> operand;

  DEV_MEMBER slot_filler(const mapped_operand<T, ALONG_K, RANK>& operand, i64 /*k_begin*/) : operand(operand) {}
  DEV_MEMBER void begin(i64 /*k*/, int /*left*/) {}
  DEV_MEMBER void fill(char* /*slot*/, u32 address, i64 k, int /*left*/, u32 full) const {
    if (threadIdx.x != 0) return;
    _Pragma("unroll") for (int panel = 0; panel < layout::panels; ++panel) {
      const i32 deep = operand.first + i32(k), y = ALONG_K ? operand.line : deep;
      const i32 x = (ALONG_K ? deep : operand.line) + panel * layout::width;
      const u32 box = address + panel * layout::panel_bytes;
      if constexpr (RANK == 2) tma_load(box, operand.map, full, x, y);
      if constexpr (RANK == 3) tma_load(box, operand.map, full, x, y, operand.y);
      if constexpr (RANK == 4) tma_load(box, operand.map, full, x, y, operand.y, operand.z);
    }
  }
};

// --- the ring ---
// Consumers that take turns, TURNS of them, have a barrier each that ends a phase when the one before has begun with
// the last slot of its tile.
template <int STAGES, int BYTES_A, int BYTES_B, int TURNS>
struct ring_of_slots {
  static constexpr int stages = STAGES, bytes_a = BYTES_A, bytes_b = BYTES_B, slot_bytes = BYTES_A + BYTES_B;
  static constexpr int bytes = STAGES * slot_bytes + (2 * STAGES + TURNS) * kBarrierBytes;
  char* memory;
  u32 address;

  DEV_MEMBER ring_of_slots(char* shared) : memory(shared), address(u32(opaque(int(shared_address(shared))))) {}

  DEV_MEMBER u32 full(int slot) const { return address + STAGES * slot_bytes + slot * kBarrierBytes; }
  DEV_MEMBER u32 empty(int slot) const { return full(STAGES + slot); }
  DEV_MEMBER u32 turn(int consumer) const { return empty(STAGES + consumer); }

  // By all threads of the block.
  DEV_MEMBER void begin(u32 arrivals_to_fill, u32 arrivals_to_empty) const {
    if (threadIdx.x == 0) {
      for (int slot = 0; slot < STAGES; ++slot) {
        mbarrier_init(full(slot), arrivals_to_fill);
        mbarrier_init(empty(slot), arrivals_to_empty);
      }
      for (int consumer = 0; consumer < TURNS; ++consumer) mbarrier_init(turn(consumer), 4);
      mbarrier_init_fence();
    }
    barrier();
  }
};

// Where one side stands in the ring: its slot, and the parity of the phase that `full` of that slot runs in.
template <int STAGES>
struct ring_place {
  int slot = 0;
  u32 parity = 0;
  DEV_MEMBER void advance() {
    if (++slot == STAGES) slot = 0, parity ^= 1;
  }
  DEV_MEMBER void advance(int steps) {
    const u32 sum = u32(slot) + u32(steps);
    slot = int(sum % STAGES);
    parity ^= sum / STAGES & 1;
  }
};

// The 128 threads that fill the ring. What they move themselves by asynchronous copies is announced BEHIND slots later,
// when the copies of that slot are through; the copy engine announces its own part by the bytes it brought. RESIDUAL:
// the slots behind a tile's own (wgmma_residual.h).
template <class RING, class FILL_A, class FILL_B, int DEPTH, class RESIDUAL>
struct ring_producer {
  static constexpr bool maps = FILL_A::is_mapped || FILL_B::is_mapped || RESIDUAL::slots > 0;
  static constexpr bool moves = !FILL_A::is_mapped || !FILL_B::is_mapped;
  static constexpr u32 arrivals = (maps ? 1 : 0) + (moves ? 4 : 0);  // of the thread that maps, of the warps that move
  static constexpr u32 mapped_bytes = (FILL_A::is_mapped ? RING::bytes_a : 0) + (FILL_B::is_mapped ? RING::bytes_b : 0);
  // Consumers give a slot back when they have begun with the one after it, so two must be announced.
  static constexpr int behind = RING::stages - 2;

  RING slots;
  ring_place<RING::stages> next, unannounced;
  int under_way = 0;

  DEV_MEMBER ring_producer(RING slots) : slots(slots) {}

  template <class TILE>
  DEV_MEMBER void fill(const TILE& tile) {
    FILL_A a(tile.a, tile.k_begin);
    FILL_B b(tile.b, tile.k_begin);
    _Pragma("unroll 1") for (i64 k = tile.k_begin; k < tile.k_end; k += DEPTH) {
      const int left = tile.k_end - k < DEPTH ? int(tile.k_end - k) : DEPTH;
      const int at_a = next.slot * RING::slot_bytes, at_b = at_a + RING::bytes_a;
      a.begin(k, left);
      b.begin(k, left);
      const u32 full = begin_slot(mapped_bytes);
      a.fill(slots.memory + at_a, slots.address + at_a, k, left, full);
      b.fill(slots.memory + at_b, slots.address + at_b, k, left, full);
      end_slot();
    }
    _Pragma("unroll") for (int slot = 0; slot < RESIDUAL::slots; ++slot) {
      const u32 address = slots.address + next.slot * RING::slot_bytes, full = begin_slot(RESIDUAL::bytes_of(slot));
      if (threadIdx.x == 0) RESIDUAL::ask(tile.residual, slot, address, full);
      end_slot();
    }
  }
  DEV_MEMBER void end() {
    if constexpr (moves) { _Pragma("unroll 1") for (; under_way; --under_way) announce<0>(); }
  }

 private:
  // Its barrier, when it is empty; the copy engine will bring so many bytes of it.
  DEV_MEMBER u32 begin_slot(u32 bytes) const {
    const u32 full = slots.full(next.slot);
    mbarrier_wait(slots.empty(next.slot), next.parity ^ 1);
    if (maps && threadIdx.x == 0) mbarrier_arrive_expecting(full, bytes);
    return full;
  }
  DEV_MEMBER void end_slot() {
    next.advance();
    if constexpr (moves) {
      copy_async_commit();
      if (under_way == behind)
        announce<behind>();
      else
        ++under_way;
    }
  }
  template <int PENDING>
  DEV_MEMBER void announce() {
    copy_async_wait<PENDING>();
    fence_proxy_async();
    sync_warp();
    if (threadIdx.x % 32 == 0) mbarrier_arrive(slots.full(unannounced.slot));
    unannounced.advance();
  }
};
