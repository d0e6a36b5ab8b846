/* The last error of an instance: one line. Names in it come from the model, so control characters are replaced.
 * Without an instance nobody is told. */
#include <stdarg.h>
#include <stdio.h>

#include "internal.h"

lpd_status lpd_fail(lpd_instance *instance, lpd_status status, const char *format, ...) {
  if (!instance) return status;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(instance->error, LPD_ERROR_BYTES, format, arguments);
  va_end(arguments);
  for (char *c = instance->error; *c; ++c)
    if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
  return status;
}

const char *lpd_error(const lpd_instance *instance) { return instance ? instance->error : "no instance"; }
