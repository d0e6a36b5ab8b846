/* How many threads a team should have: one for each core this process may use. The affinity mask counts logical CPUs,
 * of which hyper-threads of one core count once (they share the vector units); a cgroup's CPU quota, v2 or v1, caps
 * that. What cannot be read does not limit. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

enum { kMaxCpus = 8192, kWordBits = 64, kText = 4096 };
typedef struct {
  uint64_t words[kMaxCpus / kWordBits];
} cpu_mask;

static int in_mask(const cpu_mask *mask, long cpu) {
  return cpu >= 0 && cpu < kMaxCpus && (mask->words[cpu / kWordBits] >> (cpu % kWordBits) & 1);
}

static uint32_t read_mask(cpu_mask *mask) {
  memset(mask, 0, sizeof *mask);
  uint32_t count = 0;
  if (syscall(SYS_sched_getaffinity, 0, sizeof *mask, mask) > 0)
    for (long cpu = 0; cpu < kMaxCpus; ++cpu) count += (uint32_t)in_mask(mask, cpu);
  return count ? count : 1;
}

/* The start of a file as text; 0 when it cannot be read. */
static int read_text(const char *path, char text[kText]) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  ssize_t length = read(file, text, kText - 1);
  close(file);
  text[length > 0 ? length : 0] = 0;
  return length > 0;
}

/* A core is counted at the first of its CPUs that is in the mask. A list looks like "0,64" or "0-1". */
static int first_of_its_core(const cpu_mask *mask, long cpu) {
  char path[96], text[kText];
  snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%ld/topology/thread_siblings_list", cpu);
  if (!read_text(path, text)) return 1;
  for (char *at = text; *at >= '0' && *at <= '9';) {
    long from = strtol(at, &at, 10), to = from;
    if (*at == '-') to = strtol(at + 1, &at, 10);
    for (long other = from; other <= to && other < cpu; ++other)
      if (in_mask(mask, other)) return 0;
    if (*at == ',') ++at;
  }
  return 1;
}

/* Whole CPUs of a quota in microseconds per period; 0: no limit. */
static uint32_t whole_cpus(long long quota, long long period) {
  if (quota <= 0 || period <= 0) return 0;
  return quota < period ? 1 : (uint32_t)(quota / period);
}

static uint32_t quota_at(const char *folder) {
  char path[kText + 64], text[kText], period[kText];
  snprintf(path, sizeof path, "%.4095s/cpu.max", folder); /* v2: "max 100000" or "150000 100000" */
  if (read_text(path, text)) {
    char *rest;
    long long quota = strtoll(text, &rest, 10);
    return rest == text ? 0 : whole_cpus(quota, strtoll(rest, NULL, 10));
  }
  snprintf(path, sizeof path, "%.4095s/cpu.cfs_quota_us", folder); /* v1: -1 is no limit */
  if (!read_text(path, text)) return 0;
  snprintf(path, sizeof path, "%.4095s/cpu.cfs_period_us", folder);
  return read_text(path, period) ? whole_cpus(strtoll(text, NULL, 10), strtoll(period, NULL, 10)) : 0;
}

static uint32_t tighter(uint32_t a, uint32_t b) { return a == 0 || (b != 0 && b < a) ? b : a; }

/* The tightest quota from this process's group up to the root. */
static uint32_t quota_up_from(const char *root, char *group) {
  char folder[2 * kText];
  uint32_t least = 0;
  for (;;) {
    snprintf(folder, sizeof folder, "%s%s", root, group);
    least = tighter(least, quota_at(folder));
    char *slash = strrchr(group, '/');
    if (!slash) return least;
    *slash = 0;
  }
}

/* Lines of /proc/self/cgroup: "0::/path" (v2) and "4:cpu,cpuacct:/path" (v1). */
static uint32_t cgroup_quota(void) {
  char text[kText];
  if (!read_text("/proc/self/cgroup", text)) return 0;
  uint32_t least = 0;
  char *save = NULL;
  for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
    char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group) continue;
    *group++ = 0;
    ++controllers;
    if (*controllers == 0)
      least = tighter(least, quota_up_from("/sys/fs/cgroup", group));
    else if (strncmp(controllers, "cpu", 3) == 0 && (controllers[3] == 0 || controllers[3] == ','))
      least = tighter(least, quota_up_from("/sys/fs/cgroup/cpu", group));
  }
  return least;
}

uint32_t lpd_usable_cpus(void) {
  cpu_mask mask;
  return read_mask(&mask);
}

uint32_t lpd_usable_cores(void) {
  cpu_mask mask;
  uint32_t cpus = read_mask(&mask), cores = 0;
  for (long cpu = 0; cpu < kMaxCpus; ++cpu) cores += in_mask(&mask, cpu) && first_of_its_core(&mask, cpu);
  if (cores == 0) cores = cpus;
  uint32_t quota = cgroup_quota();
  if (quota != 0 && quota < cores) cores = quota;
  return cores < LPD_MAX_THREADS ? cores : LPD_MAX_THREADS;
}
