/* What the files of a program share: a model compiled with --emit=exe. It is a process of its own, so what goes wrong
 * ends it, with one line on stderr and an exit code. Products to link against hold none of this. */
#ifndef LAPIDARY_RUNTIME_PROGRAM_H
#define LAPIDARY_RUNTIME_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "internal.h"

enum exit_code { EXIT_WRONG_INPUT = 1, EXIT_USAGE = 2, EXIT_UNSUPPORTED = 3, EXIT_FILE = 4 };
enum { LPD_MOST_RANK = 64 };

typedef struct {
  uint8_t dtype, rank;
  int64_t dims[LPD_MOST_RANK];
  void *data;
  int64_t bytes;
} lpd_array;

typedef struct {
  const unsigned char *at, *end;
} lpd_bytes;

/* --- text.c -------------------------------------------------------------------------------------------------- */
__attribute__((format(printf, 2, 3), noreturn)) void lpd_end(int exit_code, const char *format, ...);
/* To stdout, whole; a full disk ends the program. */
__attribute__((format(printf, 1, 2))) void lpd_print(const char *format, ...);
__attribute__((format(printf, 1, 2))) void lpd_warn(const char *format, ...);
/* A name or a path fit for a line: the first 80 bytes, other than printable ASCII as \xNN. */
const char *lpd_printable(const char *text);
const char *lpd_short_type(uint32_t dtype); /* "f32" */
void *lpd_memory(int64_t bytes);            /* never NULL */

/* --- files.c ------------------------------------------------------------------------------------------------- */
lpd_bytes lpd_read_file(const char *path);
/* Under a temporary name first: what is there under the name is whole. */
void lpd_write_file(const char *path, const void *head, size_t head_bytes, const void *data, int64_t bytes);

/* --- npy_file.c, onnx_file.c --------------------------------------------------------------------------------- */
lpd_array lpd_read_npy(const char *path);
void lpd_write_npy(const char *path, const lpd_tensor *);
/* npy_strings.c: elements of a fixed width, UTF-32 or bytes, to strings and back; the width in characters. */
void *lpd_unpad_strings(const void *elements, int64_t count, int64_t width, int wide);
int64_t lpd_string_width(const lpd_string *, int64_t count);
void *lpd_pad_strings(const lpd_string *, int64_t count, int64_t width);
lpd_array lpd_read_onnx(const char *path);
void lpd_write_onnx(const char *path, const char *name, const lpd_tensor *);

#endif
