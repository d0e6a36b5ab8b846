/* Memory of an instance, from the caller's allocator or malloc. Large blocks of our own are asked for in huge pages:
 * an arena of 100 MB then has 50 page faults and TLB entries instead of 25 000. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>

#include "internal.h"

enum { kHugePage = 2 << 20, kHugeFrom = 4 << 20 };

static void *take_default(void *self, int64_t bytes, int64_t alignment) {
  (void)self;
  void *memory = NULL;
  if (bytes >= kHugeFrom) alignment = kHugePage;
  if (posix_memalign(&memory, (size_t)alignment, (size_t)bytes)) return NULL;
#ifdef MADV_HUGEPAGE
  if (bytes >= kHugeFrom) madvise(memory, (size_t)bytes, MADV_HUGEPAGE);
#endif
  return memory;
}

static void give_default(void *self, void *memory, int64_t bytes) {
  (void)self, (void)bytes;
  free(memory);
}

const lpd_alloc lpd_default_alloc = {NULL, take_default, give_default};

void *lpd_take(const lpd_alloc *alloc, int64_t bytes) {
  return bytes < 0 ? NULL : alloc->alloc(alloc->self, bytes, LPD_ALIGNMENT);
}

void lpd_give(const lpd_alloc *alloc, void *memory, int64_t bytes) {
  if (memory) alloc->free(alloc->self, memory, bytes);
}
