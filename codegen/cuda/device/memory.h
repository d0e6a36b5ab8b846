// Memory in accesses as wide as they come: runs of elements, aligned to the size of the run or to 16 bytes. After
// prelude.h.
//
//   load_run<N>(p)     a vec<T, N> of the elements at p
//   store_run(p, x)    the other way, to global memory
//
// Below them packets: up to 16 bytes, aligned to their number, one access.
template <int BYTES>
struct packet {
  u32 words[(BYTES + 3) / 4];
};
template <int BYTES>
DEV packet<BYTES> load_packet(const void* p) {
  if constexpr (BYTES == 16) {
    const words4 x = *(const words4*)p;
    return {{x.x, x.y, x.z, x.w}};
  } else if constexpr (BYTES == 8) {
    const words2 x = *(const words2*)p;
    return {{x.x, x.y}};
  } else if constexpr (BYTES == 4) {
    return {{*(const u32*)p}};
  } else if constexpr (BYTES == 2) {
    return {{*(const u16*)p}};
  } else {
    return {{*(const u8*)p}};
  }
}
// BYTES from byte `first` of the packet on.
template <int BYTES, int OF>
DEV void store_packet(void* p, const packet<OF>& packet, int first) {
  const u32* words = packet.words + first / 4;
  if constexpr (BYTES == 16)
    *(words4*)p = words4{words[0], words[1], words[2], words[3]};
  else if constexpr (BYTES == 8)
    *(words2*)p = words2{words[0], words[1]};
  else if constexpr (BYTES == 4)
    *(u32*)p = words[0];
  else if constexpr (BYTES == 2)
    *(u16*)p = u16(words[0] >> (8 * (first % 4)));
  else
    *(u8*)p = u8(words[0] >> (8 * (first % 4)));
}

template <class T>
DEV packet<sizeof(T)> packed(T x) {
  packet<sizeof(T)> result = {};
  memcpy(&result, &x, sizeof x);
  return result;
}

template <int N, class T>
DEV vec<T, N> load_run(const T* p) {
  constexpr int bytes = N * sizeof(T) < 16 ? N * int(sizeof(T)) : 16, each = bytes / int(sizeof(T));
  static_assert(N % each == 0, "a run of part of an access");
  vec<T, N> run;
  _Pragma("unroll") for (int i = 0; i < N; i += each) {
    const packet<bytes> part = load_packet<bytes>(p + i);
    memcpy(run.v + i, &part, bytes);
  }
  return run;
}
template <class T, int N>
DEV void store_run(T* p, vec<T, N> run) {
  constexpr int bytes = N * sizeof(T) < 16 ? N * int(sizeof(T)) : 16, each = bytes / int(sizeof(T));
  static_assert(N % each == 0, "a run of part of an access");
  T* const to = opaque_global(p);
  _Pragma("unroll") for (int i = 0; i < N; i += each) {
    packet<bytes> part = {};
    memcpy(&part, run.v + i, bytes);
    store_packet<bytes>(to + i, part, 0);
  }
}
