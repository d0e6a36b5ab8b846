// What sm_90a adds, one function an instruction: barriers in shared memory that count arrivals and bytes (mbarrier),
// boxes of a tensor moved by the copy engine (TMA), registers moved between warpgroups; the products of a warpgroup are
// in wgmma.h. test/cuda/emulator/hopper.h has the same names. What no compiler checks:
// - The copy engine and wgmma see shared memory through a proxy of their own. What a thread wrote by stores or cp.async
//   is theirs after its own fence_proxy_async() and a barrier.
// - An mbarrier ends a phase when its arrivals are in and as many bytes came as were announced. wait() names the parity
//   of the phase it waits for: 0, 1, 0, ...; the parity 1 of a fresh barrier is a phase that has ended already.
// Barriers and boxes are named by their shared_address(), which is costly enough to be taken once.
struct alignas(64) tensor_map {
  u64 opaque[16];
};
constexpr int kBarrierBytes = 8;  // of an mbarrier, aligned to them

// --- mbarrier ---
DEV void mbarrier_init(u32 barrier, u32 arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
// By the thread that did the inits, before the __syncthreads() after which others use them.
DEV void mbarrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;\n\tfence.proxy.async.shared::cta;" ::: "memory");
}
DEV void mbarrier_arrive(u32 barrier) {
  asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
// Arrives, and announces bytes for the phase.
DEV void mbarrier_arrive_expecting(u32 barrier, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
DEV void mbarrier_wait(u32 barrier, u32 parity) {
  u32 ended;
  do {
    asm volatile("{.reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}"
                 : "=r"(ended)
                 : "r"(barrier), "r"(parity)
                 : "memory");
  } while (!ended);
}
DEV void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// --- TMA ---
// Coordinates are elements, innermost first; what lies outside the tensor loads as 0 and is not stored, but its bytes
// count for the barrier.
#define TMA_LOAD(RANK, INDICES)                                                                                \
  "cp.async.bulk.tensor." RANK ".shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, " INDICES \
  "], [%2];"
#define TMA_OPERANDS "r"(box), "l"(map), "r"(barrier)
DEV void tma_load(u32 box, const tensor_map* map, u32 barrier, i32 x, i32 y) {
  asm volatile(TMA_LOAD("2d", "{%3, %4}")::TMA_OPERANDS, "r"(x), "r"(y) : "memory");
}
DEV void tma_load(u32 box, const tensor_map* map, u32 barrier, i32 x, i32 y, i32 z) {
  asm volatile(TMA_LOAD("3d", "{%3, %4, %5}")::TMA_OPERANDS, "r"(x), "r"(y), "r"(z) : "memory");
}
DEV void tma_load(u32 box, const tensor_map* map, u32 barrier, i32 x, i32 y, i32 z, i32 w) {
  asm volatile(TMA_LOAD("4d", "{%3, %4, %5, %6}")::TMA_OPERANDS, "r"(x), "r"(y), "r"(z), "r"(w) : "memory");
}
#define TMA_STORE(RANK, INDICES) \
  "cp.async.bulk.tensor." RANK ".global.shared::cta.tile.bulk_group [%1, " INDICES "], [%0];"
DEV void tma_store(u32 box, const tensor_map* map, i32 x, i32 y) {
  asm volatile(TMA_STORE("2d", "{%2, %3}")::"r"(box), "l"(map), "r"(x), "r"(y) : "memory");
}
DEV void tma_store(u32 box, const tensor_map* map, i32 x, i32 y, i32 z) {
  asm volatile(TMA_STORE("3d", "{%2, %3, %4}")::"r"(box), "l"(map), "r"(x), "r"(y), "r"(z) : "memory");
}
DEV void tma_store(u32 box, const tensor_map* map, i32 x, i32 y, i32 z, i32 w) {
  asm volatile(TMA_STORE("4d", "{%2, %3, %4, %5}")::"r"(box), "l"(map), "r"(x), "r"(y), "r"(z), "r"(w) : "memory");
}
DEV void tma_store_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// Until at most PENDING of the groups that this thread committed still read shared memory.
template <int PENDING>
DEV void tma_store_wait() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(PENDING) : "memory");
}
#undef TMA_LOAD
#undef TMA_STORE
#undef TMA_OPERANDS

// --- four 8x8 matrices of 16-bit elements, each lane a pair of each, as fragments of products have them: lane 8 i + r
// has the address of row r of the i-th in shared memory ---
DEV void store_matrix_x4(char* row, const u32* r) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)), "r"(r[0]),
               "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
}

// --- registers: a warpgroup that only copies gives some of its own to those that compute ---
template <int REGISTERS>
DEV void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}
template <int REGISTERS>
DEV void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}
