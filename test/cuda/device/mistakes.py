"""Mistakes planted in the device library, one at a time: each must be found by the tests.

(what, file, text that stands there once, what replaces it, the program that finds it). The first COMMON are tried always.
"""
COMMON = 12
MISTAKES = [
    ("no barrier before a slot is filled again", "staging.h", "    barrier();  // all threads have multiplied `last`\n", "", "product_mma"),
    ("wait one group short", "staging.h", "copy_async_wait<STAGES - 2>", "copy_async_wait<STAGES - 1>", "product_mma"),
    ("k beyond the end counts", "staging.h", "from.valid && depth < left", "from.valid", "product_fma"),
    ("fills the slot that is multiplied", "staging.h", "begin(last, ahead)", "begin(slot, ahead)", "product_mma"),
    ("halves of a fragment swapped", "product_mma.h", "OF_A ? matrix % 2 : matrix / 2", "OF_A ? matrix / 2 : matrix % 2", "product_mma"),
    ("no swizzle", "product_mma.h", " ^ turn_of(row)", "", "product_mma"),
    ("reads another swizzle than was written", "product_mma.h", "LAYOUT::offset(line + row, step * depth + k)",
     "LAYOUT::offset(line + row, (step * depth + k) ^ LAYOUT::run)", "product_mma"),
    ("rows of an atom's elements", "product_mma.h", "e / 2 % 2 * 8", "e % 2 * 8", "product_mma"),
    ("no small times big", "atoms.h", "    mma_tf32(d, a.small, b.big);\n", "", "product_mma"),
    ("runs of rows closer together", "product_fma.h", "i * RUNS_APART * word", "i * RUNS_APART / 2 * word", "product_fma"),
    ("no barrier between warps' results and their sum", "reduce.h", "scratch[warp] = value;\n  barrier();", "scratch[warp] = value;", "reduce"),
    ("zeros of either sign", "reduce.h", "!OP::symmetric && ", "OP::symmetric && ", "reduce"),
    ("no barrier at the end", "staging.h", "  }\n  barrier();\n}", "  }\n}", "product_mma"),
    ("groups run together", "staging.h", "ahead);\n    copy_async_commit();", "ahead);", "product_mma"),
    ("registers into another slot", "staging.h", "finish(last);", "finish(slot);", "product_mma"),
    ("registers never stored", "staging.h", "    if (ahead < k_end) finish(last);\n", "", "product_mma"),
    ("the pointer stays", "staging.h", "first += tile_step", "first += 0", "product_fma"),
    ("tiles too close together", "staging.h", "ALONG_K ? DEPTH : DEPTH * at.stride", "DEPTH", "product_mma"),
    ("chunks beyond the tile", "staging.h", "chunks % THREADS == 0 || chunk < u32(chunks)", "true", "product_mma"),
    ("depth of a fragment's halves", "product_mma.h", "* (depth / 2)", "* (depth / 4)", "product_mma"),
    ("columns of a lane", "product_mma.h", "lane % 4 * 2 + e % 2", "lane / 8 * 2 + e % 2", "product_mma"),
    ("columns of a pair", "product_mma.h", "loaded[2 * n], loaded[2 * n + 1]", "loaded[n], loaded[n + COUNT]", "product_mma"),
    ("step along k", "product_mma.h", "slot + offsets[i] + step * depth * LAYOUT::pitch", "slot + offsets[i]", "product_mma"),
    ("infinity times small", "atoms.h", ": (loaded[i] & 0x80000000u) | bits_of(1.0f)", ": loaded[i]", "product_mma"),
    ("small is crude", "atoms.h", "bits_of(x - float_of(big[i])) + 0x1000u", "bits_of(x - float_of(big[i])) & 0xff000000u", "product_mma"),
    ("rows of runs", "product_fma.h", "* row_run + i % row_run", "* row_run", "product_fma"),
    ("another k of a than of b", "product_fma.h", "first_a + k * lines_of_k", "first_a + (k ^ 1) * lines_of_k", "product_fma"),
    ("scratch is written while it is read", "reduce.h", "lane % warps]);\n  barrier();", "lane % warps]);", "reduce"),
    ("the first step is missing", "reduce.h", "u32 mask = 1;", "u32 mask = 2;", "reduce"),
    ("another group's warps", "reduce.h", "scratch[warp / warps * warps + ", "scratch[", "reduce"),
]
