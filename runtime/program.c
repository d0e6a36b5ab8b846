/* A model as a program: app [--input NAME=FILE] [--output NAME=FILE] [--shape NAME=1x3] [--threads N]
 *                          [--max-memory BYTES] [--max-loop N] [--help]
 *
 * Runs the model once and prints the first elements of each output. Inputs not given are random (see fill); extents
 * that nothing fixes are 1. Files are .npy, or ONNX tensors when the name ends in .pb. It does what `lapidary run`
 * does, in its words. Test: test/artifact/products.py, test/error/command_line.py. */
#include "program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "strings.h"

const lpd_model *lpd_product_signature(void);
const char *lpd_product_missing_cpu_feature(void);
lpd_status lpd_product_create(const lpd_options *, lpd_instance **);

typedef struct {
  const char *symbol; /* a dim's text */
  int64_t extent;
} extent;

static struct {
  const char *name; /* of the program */
  const lpd_model *model;
  int inputs, slots;
  lpd_array *arrays;   /* of the inputs */
  const char **files;  /* of all slots: --input and --output; NULL when not given */
  const char **shapes; /* of the inputs: "1x3" of --shape */
  extent *extents;     /* known ones */
  int extent_count;
  int64_t threads, max_bytes, max_loop;
} app;

static const lpd_signature *signature(int slot) { return lpd_signature_of(app.model, slot); }

/* --- the command line ---------------------------------------------------------------------------------------- */

static const char *shape_text(int rank, const int64_t *dims, const char *const *names) {
  char *text = lpd_memory(rank * 96 + 8), *to = text;
  strcpy(text, rank ? "" : "scalar");
  for (int axis = 0; axis < rank; ++axis) {
    if (axis) *to++ = 'x';
    to += dims[axis] < 0 && names ? snprintf(to, 90, "%s", lpd_printable(names[axis]))
                                  : snprintf(to, 90, "%lld", (long long)dims[axis]);
  }
  return text;
}

static void print_help(void) {
  lpd_print("Runs the model '%s' once.\n\n", lpd_printable(lpd_model_name(app.model)));
  lpd_print(
      "%s [--input NAME=FILE] [--output NAME=FILE] [--shape NAME=1x3] [--threads N]\n%*s [--max-memory BYTES] "
      "[--max-loop N]\n\n",
      app.name, (int)strlen(app.name), "");
  for (int slot = 0; slot < app.slots; ++slot) {
    const lpd_signature *s = signature(slot);
    lpd_print("  %-6s  %s: %s %s\n", slot < app.inputs ? "input" : "output", lpd_printable(s->name),
              lpd_short_type(s->dtype), shape_text((int)s->rank, s->static_dims, s->dim_names));
  }
  lpd_print(
      "\nFiles are .npy, or ONNX tensors when the name ends in .pb; with one input or output its name may be left "
      "out.\nInputs not given are random, extents that nothing fixes 1. --threads 0: one for each core.\n"
      "--max-memory: what the run may take beside weights, inputs and outputs of known size; --max-loop: iterations\n"
      "any loop may take; 0: no limit.\n"
      "Exit codes: 0 fine, 1 wrong input, 2 wrong usage, 3 not supported on this machine, 4 a file or memory.\n");
}

/* Names may hold '=' themselves. */
static int slot_named(const char *text, int first, int end, const char **rest) {
  for (int slot = first; slot < end; ++slot) {
    const size_t length = strlen(signature(slot)->name);
    if (strncmp(text, signature(slot)->name, length) == 0 && text[length] == '=') {
      *rest = text + length + 1;
      return slot;
    }
  }
  return -1;
}

static int slot_of(const char *option, const char *text, int first, int end, const char **file) {
  const int found = slot_named(text, first, end, file);
  if (found >= 0) return found;
  if (end - first == 1 && !strchr(text, '=')) {
    *file = text;
    return first;
  }
  char known[1024] = "";
  for (int slot = first; slot < end && strlen(known) < sizeof known - 400; ++slot)
    snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", slot > first ? ", " : "",
             lpd_printable(signature(slot)->name));
  lpd_end(EXIT_USAGE, "%s takes NAME=FILE with NAME one of: %s; got '%s'", option, known, lpd_printable(text));
}

static int64_t number_of(const char *option, const char *text, int64_t most) {
  char *end;
  const long long value = strtoll(text, &end, 10);
  if (*end || end == text || value < 0 || value > most)
    lpd_end(EXIT_USAGE, "%s takes a number up to %lld, got '%s'", option, (long long)most, lpd_printable(text));
  return value;
}

static void take_option(const char *option, const char *value) {
  if (strcmp(option, "--input") == 0 || strcmp(option, "--output") == 0) {
    const int is_input = option[2] == 'i';
    const char *file;
    const int slot =
        is_input ? slot_of(option, value, 0, app.inputs, &file) : slot_of(option, value, app.inputs, app.slots, &file);
    if (app.files[slot])
      lpd_end(EXIT_USAGE, "%s '%s' is given twice", option + 2, lpd_printable(signature(slot)->name));
    app.files[slot] = file;
  } else if (strcmp(option, "--shape") == 0) {
    const char *shape;
    const int slot = slot_named(value, 0, app.inputs, &shape);
    if (slot < 0)
      lpd_end(EXIT_USAGE, "--shape takes NAME=1x3x224x224 with the name of an input, got '%s'", lpd_printable(value));
    app.shapes[slot] = shape;
  } else if (strcmp(option, "--threads") == 0) {
    app.threads = number_of(option, value, LPD_MAX_THREADS);
  } else {
    *(strcmp(option, "--max-loop") == 0 ? &app.max_loop : &app.max_bytes) = number_of(option, value, INT64_MAX - 1);
  }
}

static void read_arguments(int count, char **arguments) {
  static const char *const options[] = {"--input", "--output", "--shape", "--threads", "--max-memory", "--max-loop"};
  for (int i = 1; i < count; ++i) {
    const char *option = NULL, *value = NULL;
    if (strcmp(arguments[i], "--help") == 0 || strcmp(arguments[i], "-h") == 0) {
      print_help();
      exit(0);
    }
    for (size_t k = 0; k < sizeof options / sizeof *options; ++k) {
      const size_t length = strlen(options[k]);
      if (strncmp(arguments[i], options[k], length) != 0) continue;
      if (arguments[i][length] == '=') option = options[k], value = arguments[i] + length + 1;
      if (arguments[i][length] == 0) option = options[k], value = ++i < count ? arguments[i] : NULL;
      break;
    }
    if (option && !value) lpd_end(EXIT_USAGE, "%s: %s needs a value (see %s --help)", app.name, option, app.name);
    if (!option)
      lpd_end(EXIT_USAGE, "%s: there is no argument '%s' (see %s --help)", app.name, lpd_printable(arguments[i]),
              app.name);
    take_option(option, value);
  }
}

/* --- inputs -------------------------------------------------------------------------------------------------- */

static extent *extent_of(const char *symbol) {
  for (int i = 0; i < app.extent_count; ++i)
    if (strcmp(app.extents[i].symbol, symbol) == 0) return &app.extents[i];
  return NULL;
}

static void note_extents(int slot, int rank, const int64_t *dims) {
  const lpd_signature *s = signature(slot);
  if (rank != (int)s->rank) return; /* binding it complains */
  for (int axis = 0; axis < rank; ++axis)
    if (s->static_dims[axis] < 0 && !extent_of(s->dim_names[axis]))
      app.extents[app.extent_count++] = (extent){s->dim_names[axis], dims[axis]};
}

static void read_shape(int slot) {
  const lpd_signature *s = signature(slot);
  const char *text = app.shapes[slot];
  int64_t dims[LPD_MOST_RANK];
  uint32_t rank = 0;
  for (const char *at = text; rank < s->rank && rank < LPD_MOST_RANK; ++rank) {
    char *end;
    dims[rank] = strtoll(at, &end, 10);
    if (end == at || *at < '0' || *at > '9' || dims[rank] == INT64_MAX || (*end != 'x' && *end)) break;
    if (s->static_dims[rank] >= 0 && s->static_dims[rank] != dims[rank]) break;
    at = *end ? end + 1 : end;
    if (!*end && rank + 1 < s->rank) break;
    if (*end && rank + 1 == s->rank) break;
  }
  if (rank != s->rank)
    lpd_end(EXIT_USAGE, "--shape '%s' does not fit input '%s' of shape %s", lpd_printable(text), lpd_printable(s->name),
            shape_text((int)s->rank, s->static_dims, s->dim_names));
  note_extents(slot, (int)rank, dims);
}

/* The upper bits of a linear congruential generator; the same numbers every time. */
static uint32_t random_bits(void) {
  static uint64_t state = 1;
  state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (uint32_t)(state >> 33);
}

static double random_normal(void) { /* of twelve uniform ones, the sum has variance 1 */
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += random_bits() / 2147483648.0;
  return sum;
}

/* The upper half of a float; an IEEE half of one that is neither denormal nor too large. */
static uint16_t short_float(float x, int is_half) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  if (!is_half) return (uint16_t)(bits >> 16);
  const uint32_t magnitude = bits & 0x7fffffff;
  return (uint16_t)((bits >> 16 & 0x8000) | (magnitude < 0x38800000 ? 0 : (magnitude - 0x38000000) >> 13));
}

/* Floats are normally distributed, codes of a byte or less any, truths and whole numbers 0 and 1: the latter are often
 * indices. */
static void fill(lpd_array *array) {
  const unsigned bits = lpd_type_bits(array->dtype);
  const int64_t count = array->bytes * 8 / bits, width = bits / 8;
  memset(array->data, 0, (size_t)array->bytes);
  const int is_code = bits <= 8 && array->dtype != 9;
  for (int64_t i = 0; is_code && i < array->bytes; ++i) {
    const uint32_t code = random_bits() >> 8 & 255;
    ((unsigned char *)array->data)[i] = array->dtype >= 17 && array->dtype <= 20 ? code & 0xbf : code; /* f8: below 2 */
  }
  for (int64_t i = 0; i < count && !is_code; ++i) {
    if (array->dtype == LPD_STRING_TYPE)
      ((lpd_string *)array->data)[i] = (lpd_string){"ab" + (random_bits() >> 8 & 1), 1};
    else if (array->dtype == 1)
      ((float *)array->data)[i] = (float)random_normal();
    else if (array->dtype == 11)
      ((double *)array->data)[i] = random_normal();
    else if (array->dtype == 10 || array->dtype == 16)
      ((uint16_t *)array->data)[i] = short_float((float)random_normal(), array->dtype == 10);
    else
      ((unsigned char *)array->data)[i * width] = random_bits() >> 8 & 1; /* the low byte */
  }
}

/* Extents that nothing fixes are collected in a list of names. */
static void make_input(int slot, char *guessed, size_t room) {
  const lpd_signature *s = signature(slot);
  lpd_array *array = &app.arrays[slot];
  if (s->rank > LPD_MOST_RANK)
    lpd_end(EXIT_UNSUPPORTED, "random data of rank %u for input '%s'", s->rank, lpd_printable(s->name));
  array->dtype = (uint8_t)s->dtype;
  array->rank = (uint8_t)s->rank;
  for (uint32_t axis = 0; axis < s->rank; ++axis) {
    array->dims[axis] = s->static_dims[axis];
    if (array->dims[axis] >= 0) continue;
    const extent *known = extent_of(s->dim_names[axis]);
    array->dims[axis] = known ? known->extent : 1;
    if (known) continue;
    app.extents[app.extent_count++] = (extent){s->dim_names[axis], 1};
    if (strlen(guessed) + 400 < room)
      snprintf(guessed + strlen(guessed), 400, "%s'%s'", *guessed ? ", " : "", lpd_printable(s->dim_names[axis]));
  }
  array->bytes = lpd_tensor_bytes(array->dtype, array->rank, array->dims);
  if (lpd_type_bits(array->dtype) == 0)
    lpd_end(EXIT_UNSUPPORTED, "random data of type %s for input '%s'", lpd_short_type(array->dtype),
            lpd_printable(s->name));
  array->data = array->bytes < 0 ? NULL : lpd_take(&lpd_default_alloc, array->bytes + 1);
  if (!array->data) lpd_end(EXIT_FILE, "out of memory");
  fill(array);
}

static int is_onnx(const char *path) {
  const size_t length = strlen(path);
  return length >= 3 && strcmp(path + length - 3, ".pb") == 0;
}

static void make_inputs(void) {
  for (int slot = 0; slot < app.inputs; ++slot) {
    if (!app.files[slot]) continue;
    app.arrays[slot] = is_onnx(app.files[slot]) ? lpd_read_onnx(app.files[slot]) : lpd_read_npy(app.files[slot]);
    note_extents(slot, app.arrays[slot].rank, app.arrays[slot].dims);
  }
  for (int slot = 0; slot < app.inputs; ++slot)
    if (app.shapes[slot]) read_shape(slot);
  char guessed[2048] = "";
  for (int slot = 0; slot < app.inputs; ++slot)
    if (!app.files[slot]) make_input(slot, guessed, sizeof guessed);
  if (*guessed) lpd_warn("warning: %s taken as 1; --shape or --input says otherwise", guessed);
}

/* --- the run ------------------------------------------------------------------------------------------------- */

static void check(lpd_status status, const lpd_instance *instance) {
  if (status == LPD_OK) return;
  const char *missing = lpd_product_missing_cpu_feature();
  if (status == LPD_UNSUPPORTED_CPU)
    lpd_end(EXIT_UNSUPPORTED, "this CPU has no %s, which the program needs", missing ? missing : "instruction");
  const int wrong = status == LPD_WRONG_INPUT || status == LPD_INVALID_ARGUMENT || status == LPD_LIMIT;
  const int unsupported = status >= LPD_NO_DRIVER && status <= LPD_PTX_TOO_NEW;
  const char *text = instance ? lpd_error(instance) : "";
  lpd_end(wrong         ? EXIT_WRONG_INPUT
          : unsupported ? EXIT_UNSUPPORTED
                        : EXIT_FILE,
          "%s: %s", app.name,
          *text                         ? text
          : status == LPD_OUT_OF_MEMORY ? "out of memory"
                                        : "the model cannot be run");
}

static double small_float(uint32_t code, int exponent_bits, int mantissa_bits) { /* IEEE's 16-bit types */
  const int most = (1 << exponent_bits) - 1, bias = most / 2;
  const int exponent = (int)(code >> mantissa_bits & (uint32_t)most);
  const uint32_t mantissa = code & ((1u << mantissa_bits) - 1);
  double value = exponent == most ? (mantissa ? __builtin_nan("") : __builtin_inf())
                                  : (double)(exponent ? mantissa | 1u << mantissa_bits : mantissa);
  for (int e = (exponent ? exponent : 1) - bias - mantissa_bits; e != 0 && exponent != most; e += e < 0 ? 1 : -1)
    value *= e < 0 ? 0.5 : 2;
  return code >> (exponent_bits + mantissa_bits) & 1 ? -value : value;
}

/* The beginning of a string, on one line. */
static void string_text(lpd_string string, char text[32]) {
  char *to = text;
  int64_t at = 0;
  *to++ = '\'';
  while (at < string.size && to < text + 20) {
    const uint32_t c = lpd_next_code_point(string, &at);
    if (c >= kNoCodePoint || c < 0x20 || (c >= 0x7f && c < 0xa0))
      to += snprintf(to, 6, "\\x%02x", c & 255);
    else
      to = lpd_put_code_point(to, c);
  }
  strcpy(to, at < string.size ? "…'" : "'");
}

/* Element i as text; "…" for types that have no short one. */
static void element_text(const lpd_tensor *t, int64_t i, char text[32]) {
  union {
    float f32;
    double f64;
    int64_t whole;
    uint16_t half;
  } value = {.whole = 0};
  const int width = (int)lpd_type_bits(t->dtype) / 8;
  if (t->dtype == LPD_STRING_TYPE) {
    string_text(((const lpd_string *)t->data)[i], text);
    return;
  }
  memcpy(&value, (const char *)t->data + i * width, (size_t)(width <= 8 ? width : 0));
  const int is_signed = t->dtype == 3 || t->dtype == 5 || t->dtype == 6 || t->dtype == 7;
  if (t->dtype == 1)
    snprintf(text, 32, "%.6g", (double)value.f32);
  else if (t->dtype == 11)
    snprintf(text, 32, "%.6g", value.f64);
  else if (t->dtype == 10 || t->dtype == 16)
    snprintf(text, 32, "%.6g", small_float(value.half, t->dtype == 10 ? 5 : 8, t->dtype == 10 ? 10 : 7));
  else if (t->dtype == 13)
    snprintf(text, 32, "%llu", (unsigned long long)value.whole);
  else if (is_signed || t->dtype == 2 || t->dtype == 4 || t->dtype == 9 || t->dtype == 12)
    snprintf(text, 32, "%lld",
             (long long)(is_signed ? value.whole << (64 - 8 * width) >> (64 - 8 * width) : value.whole));
  else
    snprintf(text, 32, "?");
}

static void print_output(const char *name, const lpd_tensor *t) {
  enum { kMost = 8 };
  char text[kMost * 34 + 8] = "", one[32];
  int64_t count = 1;
  for (int axis = 0; axis < t->rank; ++axis) count *= t->dims[axis];
  for (int64_t i = 0; i < count && i < kMost; ++i) {
    element_text(t, i, one);
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? ", " : "", one);
  }
  lpd_print("%s: %s %s: %s%s\n", lpd_printable(name), lpd_short_type(t->dtype), shape_text(t->rank, t->dims, NULL),
            text, count > kMost ? ", …" : "");
}

static void read_model(const char *path) {
  const char *slash = strrchr(path, '/');
  app.name = lpd_printable(slash ? slash + 1 : path);
  app.model = lpd_product_signature();
  app.inputs = lpd_input_count(app.model);
  app.slots = app.inputs + lpd_output_count(app.model);
  int extents = 0;
  for (int slot = 0; slot < app.inputs; ++slot) extents += (int)signature(slot)->rank;
  app.arrays = lpd_memory(app.inputs * (int64_t)sizeof *app.arrays);
  app.files = lpd_memory(app.slots * (int64_t)sizeof *app.files);
  app.shapes = lpd_memory(app.inputs * (int64_t)sizeof *app.shapes);
  app.extents = lpd_memory(extents * (int64_t)sizeof *app.extents);
  memset(app.files, 0, (size_t)app.slots * sizeof *app.files);
  memset(app.shapes, 0, (size_t)app.inputs * sizeof *app.shapes);
}

int lpd_program_main(int count, char **arguments) {
  read_model(count > 0 ? arguments[0] : "model");
  read_arguments(count, arguments);
  lpd_instance *instance = NULL;
  const lpd_options options = {
      .size = sizeof options, .threads = (int32_t)app.threads, .max_bytes = app.max_bytes, .max_loop = app.max_loop};
  const lpd_status created = lpd_product_create(&options, &instance);
  check(created, instance);
  make_inputs();
  for (int slot = 0; slot < app.inputs; ++slot) {
    const lpd_array *array = &app.arrays[slot];
    const lpd_tensor tensor = {.size = sizeof tensor,
                               .data = array->data,
                               .bytes = array->bytes,
                               .dtype = array->dtype,
                               .rank = array->rank,
                               .dims = array->dims};
    check(lpd_bind(instance, slot, &tensor), instance);
  }
  check(lpd_run(instance, 0, NULL), instance);
  for (int slot = app.inputs; slot < app.slots; ++slot) {
    lpd_tensor tensor = {.size = sizeof tensor};
    check(lpd_output(instance, slot, &tensor), instance);
    print_output(signature(slot)->name, &tensor);
  }
  for (int slot = app.inputs; slot < app.slots; ++slot) {
    lpd_tensor tensor = {.size = sizeof tensor};
    if (!app.files[slot]) continue;
    check(lpd_output(instance, slot, &tensor), instance);
    if (is_onnx(app.files[slot]))
      lpd_write_onnx(app.files[slot], signature(slot)->name, &tensor);
    else
      lpd_write_npy(app.files[slot], &tensor);
  }
  lpd_destroy(instance);
  return 0;
}
