#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "program.h"

static const char *reason(int error_number) {
  return error_number == EISDIR ? "not a regular file" : strerror(error_number);
}

lpd_bytes lpd_read_file(const char *path) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) lpd_end(EXIT_FILE, "%s: cannot open: %s", lpd_printable(path), strerror(errno));
  size_t length = 0, capacity = 1 << 16;
  unsigned char *bytes = lpd_memory((int64_t)capacity);
  ssize_t count;
  while ((count = read(file, bytes + length, capacity - length)) > 0) {
    length += (size_t)count;
    if (length < capacity) continue;
    capacity *= 2;
    bytes = realloc(bytes, capacity);
    if (!bytes) lpd_end(EXIT_FILE, "out of memory");
  }
  if (count < 0) lpd_end(EXIT_FILE, "%s: %s", lpd_printable(path), reason(errno));
  close(file);
  return (lpd_bytes){bytes, bytes + length};
}

static int write_whole(int file, const char *data, int64_t bytes) {
  while (bytes > 0) {
    const ssize_t written = write(file, data, (size_t)bytes);
    if (written < 0) return 0;
    data += written;
    bytes -= written;
  }
  return 1;
}

void lpd_write_file(const char *path, const void *head, size_t head_bytes, const void *data, int64_t bytes) {
  const size_t room = strlen(path) + 32;
  char *temporary = lpd_memory((int64_t)room);
  snprintf(temporary, room, "%s.tmp-%d", path, (int)getpid());
  const int file = open(temporary, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
  int fine = file >= 0 && write_whole(file, head, (int64_t)head_bytes) && write_whole(file, data, bytes);
  int problem = errno;
  if (file >= 0 && close(file) != 0 && fine) fine = 0, problem = errno;
  if (fine && rename(temporary, path) != 0) fine = 0, problem = errno;
  if (fine) return;
  if (file >= 0) unlink(temporary);
  lpd_end(EXIT_FILE, "cannot write '%s': %s", lpd_printable(path), reason(problem));
}
