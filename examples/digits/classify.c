/* Classifies PNG pictures of digits with the compiled model. Shows the whole C interface a program needs:
 * create an instance, bind input and output by reference, run, read.
 *
 *   lapidary compile digits.onnx && cc classify.c ./digits.so -lpng -o classify && ./classify pictures/7_1501.png
 */
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "digits.h"

enum { kSide = 8, kClasses = 10 };

/* The picture as kSide × kSide grey values in 0..1; 0 when it cannot be read or has another size. */
static int read_picture(const char *path, float *pixels) {
  png_image image;
  memset(&image, 0, sizeof image);
  image.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_file(&image, path)) {
    fprintf(stderr, "%s: %s\n", path, image.message);
    return 0;
  }
  if (image.width != kSide || image.height != kSide) {
    fprintf(stderr, "%s: %u x %u pixels, expected %d x %d\n", path, image.width, image.height, kSide, kSide);
    png_image_free(&image);
    return 0;
  }
  image.format = PNG_FORMAT_GRAY;
  png_byte grey[kSide * kSide];
  if (!png_image_finish_read(&image, NULL, grey, 0, NULL)) {
    fprintf(stderr, "%s: %s\n", path, image.message);
    return 0;
  }
  for (int i = 0; i < kSide * kSide; ++i) pixels[i] = grey[i] / 255.0f;
  return 1;
}

int main(int argc, char **argv) {
  lpd_options options = {.size = sizeof options, .threads = 1};
  lpd_instance *model;
  if (digits_create(&options, &model) != LPD_OK) {
    fprintf(stderr, "the model cannot be opened\n");
    return 1;
  }
  float pixels[kSide * kSide], scores[kClasses];
  int64_t input_dims[] = {1, 1, kSide, kSide}, output_dims[] = {1, kClasses};
  lpd_tensor input = {
      .size = sizeof input, .data = pixels, .bytes = sizeof pixels, .dtype = 1, .rank = 4, .dims = input_dims};
  lpd_tensor output = {
      .size = sizeof output, .data = scores, .bytes = sizeof scores, .dtype = 1, .rank = 2, .dims = output_dims};
  int failed = 0;
  if (digits_bind(model, 0, &input) != LPD_OK || digits_bind(model, 1, &output) != LPD_OK) {
    fprintf(stderr, "%s\n", digits_error(model));
    failed = 1;
  }
  for (int i = 1; i < argc && !failed; ++i) {
    if (!read_picture(argv[i], pixels)) {
      failed = 1;
      continue;
    }
    if (digits_run(model, 0, NULL) != LPD_OK) {
      fprintf(stderr, "%s\n", digits_error(model));
      failed = 1;
      continue;
    }
    int best = 0;
    for (int k = 1; k < kClasses; ++k) {
      if (scores[k] > scores[best]) best = k;
    }
    printf("%-28s %d  (%.1f %%)\n", argv[i], best, 100 * (double)scores[best]);
  }
  digits_destroy(model);
  return failed;
}
