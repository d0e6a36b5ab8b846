/* Weights made up when a product is opened (--weights=seeded): numbers for measuring, from the seed and their place
 * alone, so that they are the same on every machine and in every run. The words of the product's weights are written
 * once, by the first instance; nothing of this is in a product that holds its weights. */
#include <pthread.h>
#include <string.h>

#include "internal.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int filled;

/* A bijection that spreads every bit over all: counters become random numbers. */
static uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
  return x ^ (x >> 31);
}

static void make_up(char *to, const lpd_seeded_weight *weight, uint64_t seed) {
  const uint64_t first = mixed(seed) + (uint64_t)weight->start / 8;
  int64_t at = 0;
  for (; at + 8 <= weight->bytes; at += 8) {
    const uint64_t word = (mixed(first + (uint64_t)at / 8) & weight->mask) | weight->bits;
    memcpy(to + at, &word, 8);
  }
  const uint64_t last = (mixed(first + (uint64_t)at / 8) & weight->mask) | weight->bits;
  memcpy(to + at, &last, (size_t)(weight->bytes - at));
}

void lpd_fill_seeded(const lpd_model *model) {
  const lpd_seeded_weights *seeded = model->seeded;
  pthread_mutex_lock(&lock);
  for (int64_t i = 0; !filled && i < seeded->count; ++i) {
    const lpd_seeded_weight *weight = &seeded->list[i];
    char *to = (char *)model->weights + weight->start;
    if (weight->exact)
      memcpy(to, weight->exact, (size_t)weight->bytes);
    else
      make_up(to, weight, seeded->seed);
  }
  filled = 1;
  pthread_mutex_unlock(&lock);
}
