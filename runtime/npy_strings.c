/* NumPy's strings, "<U5" and "|S5": each fills its width with zeros, in UTF-32 or bytes. What UTF-8 cannot be has the
 * code points that Python gives it, U+DC00 + byte. */
#include <string.h>

#include "program.h"
#include "strings.h"

enum { kBytes = 0xdc00 };

static int64_t trimmed(const uint32_t *wide, const char *narrow, int64_t length) {
  while (length > 0 && (wide ? wide[length - 1] == 0 : narrow[length - 1] == 0)) --length;
  return length;
}

void *lpd_unpad_strings(const void *elements, int64_t count, int64_t width, int wide) {
  lpd_string *texts = lpd_memory(count * (int64_t)sizeof *texts);
  uint32_t *points = lpd_memory(4 * width);
  for (int64_t i = 0; i < count; ++i) {
    const char *element = (const char *)elements + i * width * (wide ? 4 : 1);
    if (wide) memcpy(points, element, 4 * (size_t)width);
    const int64_t length = trimmed(wide ? points : NULL, element, width);
    char *text = lpd_memory(4 * length), *end = text;
    for (int64_t k = 0; k < length; ++k) {
      const uint32_t c = wide ? points[k] : 0;
      const int byte = c >= kBytes + 0x80 && c <= kBytes + 0xff;
      if (wide)
        end = lpd_put_code_point(end, byte ? kNoCodePoint + (c - kBytes) : c < kNoCodePoint ? c : 0xfffd);
      else
        *end++ = element[k];
    }
    texts[i] = (lpd_string){text, end - text};
  }
  return texts;
}

int64_t lpd_string_width(const lpd_string *texts, int64_t count) {
  int64_t most = 1;
  for (int64_t i = 0; i < count; ++i) {
    int64_t length = 0;
    for (int64_t at = 0; at < texts[i].size; ++length) lpd_next_code_point(texts[i], &at);
    if (length > most) most = length;
  }
  return most;
}

void *lpd_pad_strings(const lpd_string *texts, int64_t count, int64_t width) {
  int64_t all;
  if (__builtin_mul_overflow(count, 4 * width, &all)) lpd_end(EXIT_FILE, "out of memory");
  uint32_t *points = lpd_memory(all), *to = points;
  memset(points, 0, (size_t)all);
  for (int64_t i = 0; i < count; ++i, to += width) {
    int64_t length = 0;
    for (int64_t at = 0; at < texts[i].size; ++length) {
      const uint32_t c = lpd_next_code_point(texts[i], &at);
      to[length] = c >= kNoCodePoint ? kBytes + (c - kNoCodePoint) : c;
    }
  }
  return points;
}
