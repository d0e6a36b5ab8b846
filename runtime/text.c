#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "program.h"

enum { kLongestLine = 4096, kLongestName = 80 };

static int write_all(int file, const char *text, size_t length) {
  while (length > 0) {
    const ssize_t written = write(file, text, length);
    if (written <= 0) return 0;
    text += written;
    length -= (size_t)written;
  }
  return 1;
}

static int write_line(int file, const char *format, va_list arguments, const char *end) {
  char line[kLongestLine];
  int length = vsnprintf(line, sizeof line - 1, format, arguments);
  if (length > (int)sizeof line - 2) length = (int)sizeof line - 2;
  return write_all(file, line, (size_t)length) && write_all(file, end, strlen(end));
}

void lpd_end(int exit_code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  write_line(2, format, arguments, "\n");
  va_end(arguments);
  _exit(exit_code);
}

void lpd_warn(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  write_line(2, format, arguments, "\n");
  va_end(arguments);
}

void lpd_print(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int fine = write_line(1, format, arguments, "");
  va_end(arguments);
  if (!fine) lpd_end(EXIT_FILE, "standard output cannot be written");
}

const char *lpd_printable(const char *text) {
  char *result = lpd_memory(4 * kLongestName + 4), *to = result;
  int count = 0;
  for (; text[count] && count < kLongestName; ++count) {
    const unsigned char c = (unsigned char)text[count];
    if (c >= 0x20 && c < 0x7f)
      *to++ = (char)c;
    else
      to += snprintf(to, 5, "\\x%02x", c);
  }
  strcpy(to, text[count] ? "..." : "");
  return result;
}

const char *lpd_short_type(uint32_t dtype) {
  static const char *const shorter[][2] = {{"bfloat", "bf"}, {"float", "f"}, {"uint", "u"}, {"int", "i"}};
  const char *name = lpd_type_name(dtype);
  for (size_t i = 0; i < sizeof shorter / sizeof *shorter; ++i) {
    const size_t length = strlen(shorter[i][0]);
    if (strncmp(name, shorter[i][0], length) != 0) continue;
    char *result = lpd_memory((int64_t)strlen(name));
    snprintf(result, strlen(name) + 1, "%s%s", shorter[i][1], name + length);
    return result;
  }
  return name;
}

void *lpd_memory(int64_t bytes) {
  void *memory = bytes < 0 ? NULL : malloc((size_t)bytes + 1);
  if (!memory) lpd_end(EXIT_FILE, "out of memory");
  return memory;
}
