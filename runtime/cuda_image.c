/* A cubin runs on devices of its own major capability and an equal or higher minor one; one for an architecture with
 * features of its own ("sm_90a") there alone; PTX on everything that is not older, compiled by the driver when it is
 * loaded. So: the nearest cubin, and of equals the one made for the device alone; else the newest PTX.
 *
 * The one that is taken is unpacked by Zstandard's own library, of which a product holds the decoder.
 * Test: test/runtime/cuda_image_test.cpp, test/codegen/packing_test.cpp. */
#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "cuda.h"

static int runs_on(const lpd_device_image *image, uint32_t capability) {
  if (image->exact) return image->capability == capability;
  return image->capability <= capability && (image->is_ptx || image->capability / 10 == capability / 10);
}

static int is_better(const lpd_device_image *a, const lpd_device_image *b) {
  if (a->is_ptx != b->is_ptx) return b->is_ptx;
  if (a->capability != b->capability) return a->capability > b->capability;
  return a->exact && !b->exact;
}

const lpd_device_image *lpd_cuda_pick_image(const lpd_device_code *code, uint32_t capability) {
  const lpd_device_image *best = NULL;
  for (uint32_t i = 0; i < code->image_count; ++i) {
    const lpd_device_image *image = &code->images[i];
    if (runs_on(image, capability) && (!best || is_better(image, best))) best = image;
  }
  return best;
}

char *lpd_cuda_unpack_image(const lpd_device_image *image, int *damaged) {
  void *modules = NULL;
  *damaged = 0;
  if (posix_memalign(&modules, LPD_MODULE_ALIGNMENT, (size_t)image->plain_bytes)) return NULL;
  const size_t bytes = ZSTD_decompress(modules, (size_t)image->plain_bytes, image->content, (size_t)image->bytes);
  if (bytes == (size_t)image->plain_bytes) return modules;
  *damaged = ZSTD_getErrorCode(bytes) != ZSTD_error_memory_allocation;
  free(modules);
  return NULL;
}

/* Which the library would call if anybody defined them. */
unsigned long long ZSTD_trace_decompress_begin(const ZSTD_DCtx *);
unsigned long long ZSTD_trace_decompress_begin(const ZSTD_DCtx *context) { return (void)context, 0; }
void ZSTD_trace_decompress_end(unsigned long long, const void *);
void ZSTD_trace_decompress_end(unsigned long long begun, const void *trace) { (void)begun, (void)trace; }
