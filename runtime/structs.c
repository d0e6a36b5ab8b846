/* Structs of callers, built against this header or another version of it: each begins with its size, and fields are
 * only ever added at the end. */
#include <string.h>

#include "internal.h"

static uint32_t size_of(const void *caller_struct) {
  uint32_t size;
  memcpy(&size, caller_struct, sizeof size);
  return size;
}

int lpd_read_struct(void *into, uint32_t least, uint32_t known, const void *from) {
  const uint32_t size = size_of(from), kMost = 4096;
  if (size < least || size > kMost) return 0;
  for (uint32_t i = known; i < size; ++i)
    if (((const char *)from)[i] != 0) return 0;
  memset(into, 0, known);
  memcpy(into, from, size < known ? size : known);
  memcpy(into, &known, sizeof known);
  return 1;
}

int lpd_write_struct(void *into, const void *from, uint32_t known) {
  const uint32_t size = size_of(into);
  if (size < 2 * sizeof(uint32_t)) return 0;
  memcpy(into, from, size < known ? size : known);
  memcpy(into, &size, sizeof size);
  return 1;
}
