/* Opens a compiled model, runs it, and closes it again, many times over: nothing may be left behind.
 *
 *   reopen LIBRARY NAME TIMES      prints "kilobytes maps descriptors threads" after a few rounds and at the end
 *
 * Inputs of symbolic extents get 2 for each.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lapidary.h"

enum { kWarmUp = 20, kMostRank = 16 };

static void *find(void *library, const char *model, const char *function) {
  char name[256];
  void *symbol;
  snprintf(name, sizeof name, "%s_%s", model, function);
  symbol = dlsym(library, name);
  if (!symbol) fprintf(stderr, "reopen: no %s\n", name), exit(1);
  return symbol;
}

static int bind_inputs(void *library, const char *model, lpd_instance *instance, void **memory) {
  int32_t (*input_count)(void);
  lpd_status (*describe)(int, lpd_tensor_info *), (*bind)(lpd_instance *, int, const lpd_tensor *);
  *(void **)&input_count = find(library, model, "input_count");
  *(void **)&describe = find(library, model, "describe");
  *(void **)&bind = find(library, model, "bind");
  for (int i = 0; i < input_count(); ++i) {
    int64_t dims[kMostRank], bytes = 8;
    lpd_tensor_info info;
    info.size = sizeof info;
    if (describe(i, &info)) return 0;
    for (int axis = 0; axis < info.rank; ++axis) bytes *= dims[axis] = info.dims[axis] < 0 ? 2 : info.dims[axis];
    memory[i] = calloc(1, (size_t)bytes);
    lpd_tensor tensor = {
        .size = sizeof tensor, .data = memory[i], .bytes = bytes, .dtype = info.dtype, .rank = info.rank, .dims = dims};
    if (bind(instance, i, &tensor)) return 0;
  }
  return 1;
}

static void use_once(const char *path, const char *model) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL), *memory[64] = {0};
  if (!library) fprintf(stderr, "reopen: %s\n", dlerror()), exit(1);
  lpd_status (*create)(const lpd_options *, lpd_instance **), (*run)(lpd_instance *, int, const volatile int *);
  void (*destroy)(lpd_instance *);
  const char *(*error)(const lpd_instance *);
  *(void **)&create = find(library, model, "create");
  *(void **)&run = find(library, model, "run");
  *(void **)&destroy = find(library, model, "destroy");
  *(void **)&error = find(library, model, "error");
  lpd_options options = {.size = sizeof options, .threads = 2};
  lpd_instance *instance;
  if (create(&options, &instance)) fprintf(stderr, "reopen: create\n"), exit(1);
  if (!bind_inputs(library, model, instance, memory) || run(instance, 0, NULL))
    fprintf(stderr, "reopen: %s\n", error(instance)), exit(1);
  destroy(instance);
  for (int i = 0; i < 64; ++i) free(memory[i]);
  if (dlclose(library)) fprintf(stderr, "reopen: dlclose\n"), exit(1);
}

static int entries(const char *folder) {
  DIR *open = opendir(folder);
  int count = 0;
  while (open && readdir(open)) ++count;
  if (open) closedir(open);
  return count;
}

static void print_holdings(void) {
  char line[512];
  long kilobytes = 0, maps = 0;
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    if (strncmp(line, "VmRSS:", 6) == 0) kilobytes = atol(line + 6);
  if (file) fclose(file);
  file = fopen("/proc/self/maps", "r");
  while (file && fgets(line, sizeof line, file)) ++maps;
  if (file) fclose(file);
  printf("%ld %ld %d %d\n", kilobytes, maps, entries("/proc/self/fd"), entries("/proc/self/task"));
}

int main(int argc, char **argv) {
  if (argc != 4) return 1;
  for (int i = 0; i < atoi(argv[3]); ++i) {
    use_once(argv[1], argv[2]);
    if (i + 1 == kWarmUp) print_holdings();
  }
  print_holdings();
  return 0;
}
