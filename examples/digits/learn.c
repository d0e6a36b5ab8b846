/* Trains the digit classifier through its C interface: the same steps over a few pictures, whose digits are the first
 * letters of their names, until it knows them. Shows what a product with --train has beside inference: entry points by
 * name, a batch bound once, states that each step moves.
 *
 *   lapidary compile untrained.onnx --train --optimizer adam,lr=1e-2 -o digits.so
 *   cc learn.c ./digits.so -lpng -o learn && ./learn pictures/?_15??.png
 */
#include <png.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "digits.h"

enum { kSide = 8, kPixels = kSide * kSide, kSteps = 60, kShown = 10 };

static int read_picture(const char *path, float *pixels) {
  png_image image;
  memset(&image, 0, sizeof image);
  image.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_file(&image, path) || image.width != kSide || image.height != kSide) return 0;
  image.format = PNG_FORMAT_GRAY;
  png_byte grey[kPixels];
  if (!png_image_finish_read(&image, NULL, grey, 0, NULL)) return 0;
  for (int i = 0; i < kPixels; ++i) pixels[i] = grey[i] / 255.0f;
  return 1;
}

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* The slot of an input or output by its name; -1: there is none. */
static int slot_of(const char *name) {
  for (int slot = 0; slot < digits_input_count() + digits_output_count(); ++slot) {
    lpd_tensor_info info = {.size = sizeof info};
    if (digits_describe(slot, &info) == LPD_OK && strcmp(info.name, name) == 0) return slot;
  }
  return -1;
}

static int train(lpd_instance *model, float *pictures, int64_t *digits, int64_t count) {
  const int64_t picture_dims[] = {count, 1, kSide, kSide}, digit_dims[] = {count};
  const lpd_tensor x = {
      .size = sizeof x, .data = pictures, .bytes = count * kPixels * 4, .dtype = 1, .rank = 4, .dims = picture_dims};
  const lpd_tensor labels = {
      .size = sizeof labels, .data = digits, .bytes = count * 8, .dtype = 7, .rank = 1, .dims = digit_dims};
  if (digits_bind(model, slot_of("x"), &x) || digits_bind(model, slot_of("labels"), &labels)) return 0;
  for (int step = 0; step < kSteps; ++step) {
    lpd_tensor loss = {.size = sizeof loss}, correct = {.size = sizeof correct};
    if (digits_run(model, digits_entry_index("train_step"), NULL) || digits_output(model, slot_of("loss"), &loss) ||
        digits_output(model, slot_of("correct"), &correct))
      return 0;
    if (step % kShown == 0 || step + 1 == kSteps)
      printf("step %2d: loss %.4f, %lld of %lld right\n", step, (double)*(const float *)loss.data,
             (long long)*(const int64_t *)correct.data, (long long)count);
  }
  return 1;
}

int main(int argc, char **argv) {
  const int64_t count = argc - 1;
  float *pictures = malloc((size_t)count * kPixels * sizeof(float) + 1);
  int64_t *digits = malloc((size_t)count * sizeof(int64_t) + 1);
  lpd_instance *model = NULL;
  int done = count > 0 && pictures && digits;
  if (!done) fprintf(stderr, "usage: learn DIGIT_NAME.png ...\n");
  for (int i = 0; done && i < count; ++i) {
    digits[i] = base_name(argv[i + 1])[0] - '0';
    done = digits[i] >= 0 && digits[i] <= 9 && read_picture(argv[i + 1], pictures + i * kPixels);
    if (!done)
      fprintf(stderr, "%s: no picture of %d x %d pixels that begins with its digit\n", argv[i + 1], kSide, kSide);
  }
  if (done && digits_create(NULL, &model) != LPD_OK) fprintf(stderr, "the model cannot be opened\n"), done = 0;
  if (done && !train(model, pictures, digits, count)) fprintf(stderr, "%s\n", digits_error(model)), done = 0;
  digits_destroy(model);
  free(pictures);
  free(digits);
  return !done;
}
