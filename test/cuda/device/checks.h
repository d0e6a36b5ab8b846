// Counts what holds. A program of checks ends with `return report();` and prints `N passed, N failed`.
#pragma once

#include <cstdarg>
#include <cstdio>

inline int passed = 0, failed = 0;

// Says what was expected when it does not hold, for the first few.
inline void check(bool holds, const char* format, ...) {
  ++(holds ? passed : failed);
  if (holds || failed > 20) return;
  va_list arguments;
  va_start(arguments, format);
  std::printf("FAILED: ");
  std::vprintf(format, arguments);
  std::printf("\n");
  va_end(arguments);
}

inline int report() {
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
