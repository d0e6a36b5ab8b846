// What a product of a warpgroup (wgmma) expects to find where: operands in shared memory, their descriptors, and which
// element of the result each thread holds.

// --- the result: adjacent e = 2i, 2i + 1 are adjacent columns; a warp has 16 rows ---
DEV constexpr int wgmma_row_of(int thread, int e) { return thread % 128 / 32 * 16 + e / 2 % 2 * 8 + thread % 32 / 4; }
DEV constexpr int wgmma_column_of(int thread, int e) { return e / 4 * 8 + thread % 4 * 2 + e % 2; }

// --- operands ---
// LINES lines (rows of a, columns of b) times DEPTH of k in panels of 128 bytes by `rows` rows. ALONG_K, a panel holds
// 128 bytes of k, a row a line; otherwise 64 lines, a row a k, which the instruction reads of 16-bit elements only. In
// each row the eight 16-byte chunks are permuted by the row's number, which is how the copy engine writes with its
// 128-byte swizzle, and keeps reads and writes free of bank conflicts. Begins at a multiple of 1024 bytes.
template <class T, int LINES, int DEPTH, bool ALONG_K>
struct wgmma_operand {
  static_assert(ALONG_K || sizeof(T) == 2, "only 16-bit operands may be adjacent along their lines");
  static_assert((ALONG_K ? DEPTH : LINES) * sizeof(T) % 128 == 0, "panels are 128 bytes wide");
  static_assert((ALONG_K ? LINES : DEPTH) % 8 == 0, "panels are permuted in groups of 8 rows");
  static constexpr bool along_k = ALONG_K;
  static constexpr int run_bytes = 16;  // stay together
  static constexpr bool permuted = true;
  static constexpr int width = 128 / sizeof(T), rows = ALONG_K ? LINES : DEPTH;
  static constexpr int panels = (ALONG_K ? DEPTH : LINES) / width, panel_bytes = 128 * rows;
  static constexpr int bytes = panels * panel_bytes;
  static constexpr int k_of_product = 32 / sizeof(T);

  // In bytes, of an element.
  static DEV_MEMBER constexpr int offset(int line, int k) {
    const int across = ALONG_K ? k : line, row = ALONG_K ? line : k;
    return across / width * panel_bytes + row * 128 + (across % width * int(sizeof(T)) ^ row % 8 * 16);
  }
  // From one line to one `lines` further, whole panels of them unless ALONG_K.
  static DEV_MEMBER constexpr int bytes_of(int lines) { return ALONG_K ? lines * 128 : lines / width * panel_bytes; }

  // The descriptor of the part that begins at `line`, a multiple of 8 (of 64 unless ALONG_K), and k, a multiple of
  // k_of_product, is made of low_word(address of the operand), which the threads compute, and constants. In units of 16
  // bytes, bits 0..13 are an address, 16..29 the step to the next panel (which ALONG_K has no use for), 32..45 that to
  // the next 8 rows; 1 << 62 is the 128-byte swizzle.
  static DEV_MEMBER constexpr u32 low_word(u32 address) {
    return (address >> 4 & 0x3fff) | u32(ALONG_K ? 1 : panel_bytes >> 4) << 16;
  }
  static DEV_MEMBER constexpr u64 descriptor(u32 low_word, int line, int k) {
    const int across = ALONG_K ? k : line, row = ALONG_K ? line : k;
    const int offset = across / width * panel_bytes + row * 128 + across % width * int(sizeof(T));
    return (low_word + u32(offset >> 4)) | u64(1024 >> 4) << 32 | u64(1) << 62;
  }
};
