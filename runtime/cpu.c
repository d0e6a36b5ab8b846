/* Whether this CPU has what the kernels need, asked once when an instance is made, by code built for plain x86-64:
 * a product never dies of an illegal instruction. Vector features also need the system to save their registers
 * (XCR0). Names are LLVM's; one that is not in the table counts as missing. Source: Intel SDM volume 2, CPUID. */
#include <stddef.h>
#include <string.h>

#include "internal.h"

#if defined(__x86_64__)
#include <cpuid.h>

enum register_name { kEbx, kEcx, kEdx, kEax };
enum saved_state { kNone = 0, kAvx = 0x6, kAvx512 = 0xe6, kAmx = 0x60000 }; /* bits of XCR0 */

typedef struct {
  const char *name;
  uint32_t leaf, subleaf;
  uint8_t reg, bit;
  uint32_t state;
} feature;

static const feature kFeatures[] = {
    {"sse3", 1, 0, kEcx, 0, kNone},
    {"pclmul", 1, 0, kEcx, 1, kNone},
    {"ssse3", 1, 0, kEcx, 9, kNone},
    {"fma", 1, 0, kEcx, 12, kAvx},
    {"cx16", 1, 0, kEcx, 13, kNone},
    {"sse4.1", 1, 0, kEcx, 19, kNone},
    {"sse4.2", 1, 0, kEcx, 20, kNone},
    {"movbe", 1, 0, kEcx, 22, kNone},
    {"popcnt", 1, 0, kEcx, 23, kNone},
    {"aes", 1, 0, kEcx, 25, kNone},
    {"avx", 1, 0, kEcx, 28, kAvx},
    {"f16c", 1, 0, kEcx, 29, kAvx},
    {"bmi", 7, 0, kEbx, 3, kNone},
    {"avx2", 7, 0, kEbx, 5, kAvx},
    {"bmi2", 7, 0, kEbx, 8, kNone},
    {"avx512f", 7, 0, kEbx, 16, kAvx512},
    {"avx512dq", 7, 0, kEbx, 17, kAvx512},
    {"adx", 7, 0, kEbx, 19, kNone},
    {"avx512ifma", 7, 0, kEbx, 21, kAvx512},
    {"avx512cd", 7, 0, kEbx, 28, kAvx512},
    {"avx512bw", 7, 0, kEbx, 30, kAvx512},
    {"avx512vl", 7, 0, kEbx, 31, kAvx512},
    {"avx512vbmi", 7, 0, kEcx, 1, kAvx512},
    {"avx512vbmi2", 7, 0, kEcx, 6, kAvx512},
    {"gfni", 7, 0, kEcx, 8, kNone},
    {"vaes", 7, 0, kEcx, 9, kAvx},
    {"vpclmulqdq", 7, 0, kEcx, 10, kAvx},
    {"avx512vnni", 7, 0, kEcx, 11, kAvx512},
    {"avx512bitalg", 7, 0, kEcx, 12, kAvx512},
    {"avx512vpopcntdq", 7, 0, kEcx, 14, kAvx512},
    {"avx512vp2intersect", 7, 0, kEdx, 8, kAvx512},
    {"amx-bf16", 7, 0, kEdx, 22, kAmx},
    {"avx512fp16", 7, 0, kEdx, 23, kAvx512},
    {"amx-tile", 7, 0, kEdx, 24, kAmx},
    {"amx-int8", 7, 0, kEdx, 25, kAmx},
    {"avxvnni", 7, 1, kEax, 4, kAvx},
    {"avx512bf16", 7, 1, kEax, 5, kAvx512},
    {"avxifma", 7, 1, kEax, 23, kAvx},
    {"avxvnniint8", 7, 1, kEdx, 4, kAvx},
    {"avxneconvert", 7, 1, kEdx, 5, kAvx},
    {"avxvnniint16", 7, 1, kEdx, 10, kAvx},
    {"lzcnt", 0x80000001, 0, kEcx, 5, kNone},
};

static uint32_t saved_states(void) {
  uint32_t eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & (1u << 27))) return 0; /* OSXSAVE */
  __asm__("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
  return eax;
}

static int has(const feature *f, uint32_t states) {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (f->subleaf != 0 && (!__get_cpuid_count(f->leaf, 0, &eax, &ebx, &ecx, &edx) || eax < f->subleaf)) return 0;
  if (!__get_cpuid_count(f->leaf, f->subleaf, &eax, &ebx, &ecx, &edx)) return 0;
  const uint32_t value[] = {[kEbx] = ebx, [kEcx] = ecx, [kEdx] = edx, [kEax] = eax};
  return (value[f->reg] >> f->bit & 1) && (states & f->state) == f->state;
}

const char *lpd_missing_feature(const char *const *features) {
  const uint32_t states = saved_states();
  for (; features && *features; ++features) {
    const feature *found = NULL;
    for (size_t i = 0; i < sizeof kFeatures / sizeof *kFeatures; ++i)
      if (strcmp(kFeatures[i].name, *features) == 0) found = &kFeatures[i];
    if (!found || !has(found, states)) return *features;
  }
  return NULL;
}

#else

const char *lpd_missing_feature(const char *const *features) { return features ? *features : NULL; }

#endif
