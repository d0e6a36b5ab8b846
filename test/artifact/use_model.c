/* Drives a compiled model through its generated header, as a user's program would. It is C99 and C++98 at once, and
 * knows of the model only what the interface tells: check.py builds it with -DMODEL=name -DMODEL_HEADER='"name.h"'.
 *
 *   use_model memory THREADS [SYMBOL=VALUE ...]    one instance, three runs; prints peak, own and planned bytes
 *   use_model threads [SYMBOL=VALUE ...]           eight threads with an instance each give the bits of one alone
 *   use_model errors [SYMBOL=VALUE ...]            wrong calls give a status and a message and break nothing
 */
#include MODEL_HEADER

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOIN(a, b) a##_##b
#define NAMED(a, b) JOIN(a, b)
#define model(function) NAMED(MODEL, function)

enum { kMostSlots = 64, kMostRank = 16, kMostSymbols = 16, kTeam = 8, kRuns = 3 };

static struct {
  const char *name;
  long value;
} symbols[kMostSymbols];
static int symbol_count;

static int fail(const char *what, int detail) {
  fprintf(stderr, "use_model: %s (%d)\n", what, detail);
  return 1;
}

static void read_symbols(int count, char **texts) {
  int i;
  for (i = 0; i < count && i < kMostSymbols; ++i) {
    char *equals = strchr(texts[i], '=');
    if (!equals) continue;
    *equals = 0;
    symbols[symbol_count].name = texts[i];
    symbols[symbol_count++].value = atol(equals + 1);
  }
}

static int64_t symbol_value(const char *name) {
  int i;
  for (i = 0; i < symbol_count; ++i)
    if (strcmp(symbols[i].name, name) == 0) return symbols[i].value;
  return 2;
}

static int64_t element_bytes(int dtype) {
  switch (dtype) {
    case 2:
    case 3:
    case 9:
      return 1;
    case 4:
    case 5:
    case 10:
    case 16:
      return 2;
    case 7:
    case 11:
    case 13:
      return 8;
    default:
      return 4;
  }
}

/* --- tensors of the model's signature --------------------------------------------------------------------------- */

typedef struct {
  lpd_tensor tensor;
  int64_t dims[kMostRank];
} slot;

typedef struct {
  lpd_instance *instance;
  slot slots[kMostSlots];
} user;

static int slot_count(void) { return model(input_count)() + model(output_count)(); }

/* Small numbers, the same for every user. */
static void fill(lpd_tensor *tensor, int seed) {
  uint32_t state = 12345u + (uint32_t)seed;
  int64_t i, count = tensor->bytes / element_bytes(tensor->dtype);
  for (i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    if (tensor->dtype == 1)
      ((float *)tensor->data)[i] = (float)(state >> 16) / 32768.0f - 1.0f;
    else if (tensor->dtype == 6)
      ((int32_t *)tensor->data)[i] = (int32_t)(state >> 30);
    else if (tensor->dtype == 7)
      ((int64_t *)tensor->data)[i] = (int64_t)(state >> 30);
  }
}

static int make_slot(int index, slot *made) {
  lpd_tensor_info info;
  info.size = sizeof info;
  int axis;
  if (model(describe)(index, &info) != LPD_OK || info.rank > kMostRank) return fail("describe", index);
  memset(made, 0, sizeof *made);
  made->tensor.size = sizeof made->tensor;
  made->tensor.dtype = info.dtype;
  made->tensor.rank = info.rank;
  made->tensor.dims = made->dims;
  made->tensor.bytes = element_bytes(info.dtype);
  for (axis = 0; axis < info.rank; ++axis) {
    made->dims[axis] = info.dims[axis] >= 0 ? info.dims[axis] : symbol_value(info.dim_names[axis]);
    made->tensor.bytes *= made->dims[axis];
  }
  if (index >= model(input_count)()) return 0; /* outputs are the instance's own: their extents may be formulas */
  made->tensor.data = malloc((size_t)made->tensor.bytes + 1);
  if (!made->tensor.data) return fail("memory", index);
  memset(made->tensor.data, 0, (size_t)made->tensor.bytes);
  fill(&made->tensor, index);
  return 0;
}

static int open_user(user *u, int threads) {
  lpd_options options;
  int i;
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.threads = threads;
  memset(u, 0, sizeof *u);
  if (slot_count() > kMostSlots) return fail("slots", slot_count());
  if (model(create)(&options, &u->instance) != LPD_OK) return fail("create", threads);
  for (i = 0; i < slot_count(); ++i) {
    if (make_slot(i, &u->slots[i])) return 1;
    if (i < model(input_count)() && model(bind)(u->instance, i, &u->slots[i].tensor) != LPD_OK)
      return fail(model(error)(u->instance), i);
  }
  return 0;
}

static void close_user(user *u) {
  int i;
  model(destroy)(u->instance);
  for (i = 0; i < model(input_count)(); ++i) free(u->slots[i].tensor.data);
}

static int run(user *u) {
  lpd_status status = model(run)(u->instance, 0, NULL);
  return status == LPD_OK ? 0 : fail(model(error)(u->instance), (int)status);
}

/* FNV-1a over all outputs; 0 on a failure. */
static uint64_t output_hash(user *u) {
  uint64_t hash = 1469598103934665603u;
  int i;
  int64_t b;
  for (i = model(input_count)(); i < slot_count(); ++i) {
    lpd_tensor tensor;
    tensor.size = sizeof tensor;
    if (model(output)(u->instance, i, &tensor) != LPD_OK) return 0;
    for (b = 0; b < tensor.bytes; ++b) hash = (hash ^ ((const unsigned char *)tensor.data)[b]) * 1099511628211u;
  }
  return hash;
}

/* --- memory ------------------------------------------------------------------------------------------------------ */

static long status_kilobytes(const char *key) {
  char line[256];
  long kilobytes = -1;
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    if (strncmp(line, key, strlen(key)) == 0) kilobytes = atol(line + strlen(key));
  if (file) fclose(file);
  return kilobytes;
}

static int check_memory(int threads) {
  static user u;
  int64_t values[kMostSymbols], callers = 0;
  int32_t count = 0, s;
  int i;
  const char *const *names = model(symbols)(&count);
  if (count > kMostSymbols || open_user(&u, threads)) return fail("open", (int)count);
  for (s = 0; s < count; ++s) values[s] = symbol_value(names[s]);
  for (i = 0; i < kRuns; ++i)
    if (run(&u)) return 1;
  for (i = 0; i < slot_count(); ++i) {
    lpd_tensor tensor;
    tensor.size = sizeof tensor;
    if (model(output)(u.instance, i, &tensor) != LPD_OK) return fail("output", i);
    callers += tensor.bytes;
  }
  printf("peak %ld own %ld arena %ld tensors %ld\n", status_kilobytes("VmHWM:") * 1024,
         status_kilobytes("RssAnon:") * 1024, (long)model(arena_bytes)(values), (long)callers);
  close_user(&u);
  return 0;
}

/* --- threads ----------------------------------------------------------------------------------------------------- */

static uint64_t wanted_hash;

static void *use_alone(void *argument) {
  static int failure;
  int threads = *(const int *)argument, i;
  user *u = (user *)malloc(sizeof *u);
  int failed = !u || open_user(u, threads);
  for (i = 0; i < kRuns && !failed; ++i) failed = run(u) || output_hash(u) != wanted_hash;
  if (!failed) close_user(u);
  free(u);
  return failed ? &failure : NULL;
}

static int check_threads(void) {
  static user alone;
  pthread_t team[kTeam];
  int threads[kTeam], i, failed = 0;
  if (open_user(&alone, 1) || run(&alone)) return 1;
  wanted_hash = output_hash(&alone);
  close_user(&alone);
  for (i = 0; i < kTeam; ++i) {
    threads[i] = i < 6 ? 1 : 2;
    if (pthread_create(&team[i], NULL, use_alone, &threads[i])) return fail("pthread_create", i);
  }
  for (i = 0; i < kTeam; ++i) {
    void *result;
    pthread_join(team[i], &result);
    failed |= result != NULL;
  }
  return failed || wanted_hash == 0 ? fail("other bits beside others than alone", 0) : 0;
}

/* --- errors ------------------------------------------------------------------------------------------------------ */

static int failures;

static void expect(user *u, const char *what, lpd_status found, lpd_status wanted) {
  if (found == wanted && (!u || model(error)(u->instance)[0] != 0)) return;
  fprintf(stderr, "use_model: %s: status %d, expected %d, message '%s'\n", what, (int)found, (int)wanted,
          u ? model(error)(u->instance) : "");
  ++failures;
}

/* The input bound wrongly in one way; what was bound before stays. */
static void expect_bind(user *u, const char *what, lpd_tensor tensor, lpd_status wanted) {
  expect(u, what, model(bind)(u->instance, 0, &tensor), wanted);
}

static void check_wrong_tensors(user *u) {
  const lpd_tensor good = u->slots[0].tensor;
  int64_t dims[kMostRank];
  lpd_tensor wrong = good;
  wrong.size = 3;
  expect_bind(u, "struct size", wrong, LPD_INVALID_ARGUMENT);
  wrong = good, wrong.device = 1;
  expect_bind(u, "device", wrong, LPD_INVALID_ARGUMENT);
  wrong = good, wrong.dtype = (uint8_t)(good.dtype == 11 ? 1 : 11);
  expect_bind(u, "element type", wrong, LPD_WRONG_INPUT);
  wrong = good, wrong.dtype = 200;
  expect_bind(u, "unknown element type", wrong, LPD_WRONG_INPUT);
  wrong = good, wrong.rank = (uint8_t)(good.rank + 1);
  memcpy(dims, good.dims, sizeof dims);
  dims[good.rank] = 1, wrong.dims = dims;
  expect_bind(u, "rank", wrong, LPD_WRONG_INPUT);
  wrong = good, wrong.data = NULL;
  expect_bind(u, "no data", wrong, LPD_INVALID_ARGUMENT);
  wrong = good, wrong.dims = NULL;
  expect_bind(u, "no dims", wrong, LPD_INVALID_ARGUMENT);
  wrong = good, wrong.bytes = good.bytes - 1;
  expect_bind(u, "too few bytes", wrong, LPD_WRONG_INPUT);
  wrong = good, wrong.bytes = -1;
  expect_bind(u, "negative bytes", wrong, LPD_WRONG_INPUT);
  wrong = good, wrong.data = (char *)good.data + 1;
  expect_bind(u, "alignment", wrong, LPD_WRONG_INPUT);
  memcpy(dims, good.dims, sizeof dims);
  dims[good.rank - 1] = -4;
  wrong = good, wrong.dims = dims;
  expect_bind(u, "negative extent", wrong, LPD_WRONG_INPUT);
  dims[0] = dims[good.rank - 1] = INT64_C(1) << 62;
  wrong = good, wrong.dims = dims;
  if (model(bind)(u->instance, 0, &wrong) == LPD_OK) expect(u, "an overflowing extent", LPD_OK, LPD_LIMIT);
  {
    int64_t strides[kMostRank];
    memset(strides, 0, sizeof strides);
    strides[0] = 12345;
    wrong = good, wrong.strides = strides;
    expect_bind(u, "strides", wrong, LPD_WRONG_INPUT);
  }
}

static void check_wrong_calls(user *u) {
  lpd_tensor tensor = u->slots[0].tensor;
  lpd_tensor_info info;
  info.size = sizeof info;
  lpd_instance *none = NULL;
  lpd_options options;
  int cancelled = 1;
  expect(NULL, "create into null", model(create)(NULL, NULL), LPD_INVALID_ARGUMENT);
  memset(&options, 0, sizeof options);
  expect(NULL, "options of no size", model(create)(&options, &none), LPD_INVALID_ARGUMENT);
  options.size = sizeof options, options.threads = -1;
  expect(NULL, "negative threads", model(create)(&options, &none), LPD_INVALID_ARGUMENT);
  expect(NULL, "describe nothing", model(describe)(-1, &info), LPD_INVALID_ARGUMENT);
  expect(NULL, "describe beyond", model(describe)(slot_count(), &info), LPD_INVALID_ARGUMENT);
  expect(NULL, "describe into null", model(describe)(0, NULL), LPD_INVALID_ARGUMENT);
  expect(NULL, "bind without instance", model(bind)(NULL, 0, &tensor), LPD_INVALID_ARGUMENT);
  expect(NULL, "run without instance", model(run)(NULL, 0, NULL), LPD_INVALID_ARGUMENT);
  expect(NULL, "output without instance", model(output)(NULL, 0, &tensor), LPD_INVALID_ARGUMENT);
  expect(u, "bind nothing", model(bind)(u->instance, 0, NULL), LPD_INVALID_ARGUMENT);
  expect(u, "bind before the first", model(bind)(u->instance, -1, &tensor), LPD_INVALID_ARGUMENT);
  expect(u, "bind beyond the last", model(bind)(u->instance, slot_count(), &tensor), LPD_INVALID_ARGUMENT);
  expect(u, "entry -1", model(run)(u->instance, -1, NULL), LPD_INVALID_ARGUMENT);
  expect(u, "entry 99", model(run)(u->instance, 99, NULL), LPD_INVALID_ARGUMENT);
  expect(u, "cancelled", model(run)(u->instance, 0, &cancelled), LPD_CANCELLED);
  expect(u, "output into null", model(output)(u->instance, 0, NULL), LPD_INVALID_ARGUMENT);
  expect(u, "output beyond", model(output)(u->instance, 999, &tensor), LPD_INVALID_ARGUMENT);
  model(destroy)(NULL);
}

static void check_unbound(void) {
  static user fresh;
  fresh.instance = NULL;
  if (model(create)(NULL, &fresh.instance) != LPD_OK) {
    ++failures;
    return;
  }
  if (model(error)(fresh.instance)[0] != 0) ++failures;
  expect(&fresh, "run with nothing bound", model(run)(fresh.instance, 0, NULL), LPD_INVALID_ARGUMENT);
  model(destroy)(fresh.instance);
}

static void check_small_limit(void) {
  static user u;
  lpd_options options;
  memset(&options, 0, sizeof options);
  options.size = sizeof options, options.threads = 1, options.max_bytes = 1;
  if (open_user(&u, 1)) {
    ++failures;
    return;
  }
  model(destroy)(u.instance);
  if (model(create)(&options, &u.instance) == LPD_OK) {
    int i;
    for (i = 0; i < model(input_count)(); ++i) model(bind)(u.instance, i, &u.slots[i].tensor);
    expect(&u, "an arena above max_bytes", model(run)(u.instance, 0, NULL), LPD_LIMIT);
  }
  close_user(&u);
}

static int check_errors(void) {
  static user u;
  uint64_t hash;
  if (open_user(&u, 2) || run(&u)) return 1;
  hash = output_hash(&u);
  check_wrong_tensors(&u);
  check_wrong_calls(&u);
  if (model(bind)(u.instance, 0, &u.slots[0].tensor) != LPD_OK || run(&u) || output_hash(&u) != hash)
    return fail("the instance does not work any more", 0);
  close_user(&u);
  check_unbound();
  check_small_limit();
  return failures != 0;
}

int main(int argc, char **argv) {
  if (argc >= 3 && strcmp(argv[1], "memory") == 0) {
    read_symbols(argc - 3, argv + 3);
    return check_memory(atoi(argv[2]));
  }
  if (argc >= 2) read_symbols(argc - 2, argv + 2);
  if (argc >= 2 && strcmp(argv[1], "threads") == 0) return check_threads();
  if (argc >= 2 && strcmp(argv[1], "errors") == 0) return check_errors();
  return fail("usage: use_model memory|threads|errors [SYMBOL=VALUE ...]", argc);
}
