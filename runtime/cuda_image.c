/* A cubin runs on devices of its own major capability and an equal or higher minor one; one for an architecture with
 * features of its own ("sm_90a") there alone; PTX on everything that is not older, compiled by the driver when it is
 * loaded. So: the nearest cubin, and of equals the one made for the device alone; else the newest PTX.
 * Test: test/runtime/cuda_image_test.cpp. */
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
