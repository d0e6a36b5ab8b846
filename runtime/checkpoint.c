/* Checkpoints: all states of an instance in one file, so that training which ends in the middle, however it does, goes
 * on from its last checkpoint to the same bits. A file is
 *
 *   head         64 bytes: what it is, its version, what its states are, how long it is, and a checksum of the head
 *   note         the caller's text
 *   states       in the order of the model's table
 *   checksum     8 bytes, of all before it
 *
 * little-endian, as the machines are that products run on. It appears under its name only when it is whole and on the
 * disk, and the one that was there is kept as PATH.previous: a file is written as PATH.new, then
 *
 *   link PATH → PATH.old, rename PATH.new → PATH, rename PATH.old → PATH.previous
 *
 * so that at any moment PATH or, where it turns out to be damaged, PATH.previous is a whole checkpoint. Nothing that is
 * no checkpoint is overwritten. One writer at a time for each path. Test: test/train/checkpoints.py. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

enum { kVersion = 1, kPiece = 1 << 20, kMostPath = 4000, kMostNote = 65536 };
static const char kMagic[8] = {(char)0x89, 'L', 'P', 'D', 'S', 'T', '\r', '\n'};

typedef struct {
  char magic[8];
  uint32_t version, state_count;
  uint64_t fingerprint; /* of the states' names, types and extents */
  int64_t note_bytes, state_bytes;
  uint64_t unused[2];
  uint64_t checksum; /* of the head before it */
} head;

/* Bytes in eights, each through a bijection of what was before: two files that differ in one place differ in it. */
static uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
  return x ^ (x >> 31);
}

static uint64_t checksum(uint64_t sum, const void *data, int64_t bytes) {
  const char *at = data;
  uint64_t word;
  for (; bytes >= 8; at += 8, bytes -= 8) {
    memcpy(&word, at, 8);
    sum = mixed(sum ^ word);
  }
  word = UINT64_C(1) << 63;
  memcpy(&word, at, (size_t)bytes);
  return bytes > 0 ? mixed(sum ^ word) : sum;
}

static head head_of(const lpd_model *model, int64_t note_bytes) {
  head h = {.version = kVersion, .state_count = model->state_count, .note_bytes = note_bytes};
  memcpy(h.magic, kMagic, sizeof h.magic);
  for (uint32_t i = 0; i < model->state_count; ++i) {
    const lpd_state *state = &model->states[i];
    const uint32_t kind[2] = {state->dtype, state->rank};
    h.fingerprint = checksum(h.fingerprint, state->name, (int64_t)strlen(state->name) + 1);
    h.fingerprint = checksum(h.fingerprint, kind, sizeof kind);
    h.fingerprint = checksum(h.fingerprint, state->dims, (int64_t)state->rank * 8);
    h.state_bytes += state->bytes;
  }
  h.checksum = checksum(0, &h, offsetof(head, checksum));
  return h;
}

static int64_t file_bytes(const head *h) { return (int64_t)sizeof *h + h->note_bytes + h->state_bytes + 8; }

/* --- one file being read or written ---------------------------------------------------------------------------- */

typedef struct {
  lpd_instance *instance;
  const char *path;
  int file;
  uint64_t sum; /* of what went through */
} stream;

static const char *reason(int error_number) {
  return error_number == EISDIR ? "not a regular file" : strerror(error_number);
}

static lpd_status fail(const stream *s, lpd_status status, const char *what) {
  return lpd_fail(s->instance, status, "checkpoint '%.200s': %s", s->path, what);
}

static lpd_status put(stream *s, const void *data, int64_t bytes) {
  s->sum = checksum(s->sum, data, bytes);
  const char *at = data;
  while (bytes > 0) {
    const ssize_t written = write(s->file, at, (size_t)bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail(s, LPD_SYSTEM, reason(errno));
    at += written, bytes -= written;
  }
  return LPD_OK;
}

/* *got, when given: how much there was; else all must be there. */
static lpd_status get(stream *s, void *data, int64_t bytes, int64_t *got) {
  int64_t done = 0;
  while (done < bytes) {
    const ssize_t count = read(s->file, (char *)data + done, (size_t)(bytes - done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(s, LPD_SYSTEM, reason(errno));
    if (count == 0) break;
    done += count;
  }
  s->sum = checksum(s->sum, data, done);
  if (got) *got = done;
  return got || done == bytes ? LPD_OK : fail(s, LPD_WRONG_INPUT, "truncated");
}

/* --- states, piece by piece where they are a device's ------------------------------------------------------------ */

static lpd_status move_piece(stream *s, char *seen, char *piece, int64_t bytes, int writes) {
  lpd_instance *instance = s->instance;
  if (!instance->driver) return writes ? put(s, seen, bytes) : get(s, seen, bytes, NULL);
  lpd_status status =
      writes ? instance->driver->copy(instance, piece, seen, bytes, LPD_FROM_DEVICE) : get(s, piece, bytes, NULL);
  if (!status && !writes) status = instance->driver->copy(instance, seen, piece, bytes, LPD_TO_DEVICE);
  if (!status) status = instance->driver->settle(instance, -1);
  return status || !writes ? status : put(s, piece, bytes);
}

static lpd_status move_states(stream *s, char *piece, int writes) {
  const lpd_model *model = s->instance->model;
  lpd_status status = LPD_OK;
  for (uint32_t i = 0; i < model->state_count && !status; ++i) {
    const lpd_state *state = &model->states[i];
    for (int64_t at = 0; at < state->bytes && !status; at += kPiece) {
      const int64_t bytes = state->bytes - at < kPiece ? state->bytes - at : kPiece;
      status = move_piece(s, (char *)s->instance->states.data + state->offset + at, piece, bytes, writes);
    }
  }
  return status;
}

/* --- saving ------------------------------------------------------------------------------------------------------ */

static lpd_status write_all(stream *s, const char *note, char *piece) {
  const head h = head_of(s->instance->model, (int64_t)strlen(note));
  lpd_status status = put(s, &h, sizeof h);
  if (!status) status = put(s, note, h.note_bytes);
  if (!status) status = move_states(s, piece, 1);
  const uint64_t sum = s->sum;
  if (!status) status = put(s, &sum, sizeof sum);
  if (!status && fsync(s->file) != 0) status = fail(s, LPD_SYSTEM, reason(errno));
  return status;
}

/* A device or FIFO would be removed by a rename, and a file that is something else lost. */
static lpd_status check_replaced(stream *s, const char *ending) {
  char path[kMostPath + 16];
  snprintf(path, sizeof path, "%s%s", s->path, ending);
  s->file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (s->file < 0) return errno == ENOENT ? LPD_OK : fail(s, LPD_SYSTEM, reason(errno));
  struct stat there;
  char begin[sizeof kMagic];
  int64_t got = 0;
  lpd_status status = LPD_OK;
  if (syscall(SYS_fstat, s->file, &there) != 0 || !S_ISREG(there.st_mode))
    status = lpd_fail(s->instance, LPD_SYSTEM, "checkpoint '%.200s%s': not a regular file", s->path, ending);
  if (!status) status = get(s, begin, sizeof begin, &got);
  if (!status && memcmp(begin, kMagic, (size_t)got) != 0)
    status = lpd_fail(s->instance, LPD_SYSTEM,
                      "checkpoint '%.200s%s': what is there is no checkpoint, and is not overwritten", s->path, ending);
  close(s->file);
  return status;
}

static void sync_folder(const char *path) {
  char folder[kMostPath + 1];
  strcpy(folder, path);
  char *slash = strrchr(folder, '/');
  if (!slash)
    strcpy(folder, ".");
  else
    slash[slash == folder] = 0;
  const int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return;
  fsync(file); /* not every file system can */
  close(file);
}

/* Where there are no links, there is a moment in which only PATH.previous is there. */
static lpd_status put_in_place(const stream *s, const char *written) {
  char old[kMostPath + 16], previous[kMostPath + 16];
  snprintf(old, sizeof old, "%s.old", s->path);
  snprintf(previous, sizeof previous, "%s.previous", s->path);
  unlink(old);
  const int linked = link(s->path, old) == 0;
  if (!linked && errno != ENOENT && rename(s->path, previous) != 0) return fail(s, LPD_SYSTEM, reason(errno));
  if (rename(written, s->path) != 0) return fail(s, LPD_SYSTEM, reason(errno));
  if (linked && rename(old, previous) != 0) return fail(s, LPD_SYSTEM, reason(errno));
  sync_folder(s->path);
  return LPD_OK;
}

static lpd_status save(stream *s, const char *note, char *piece) {
  char written[kMostPath + 16];
  snprintf(written, sizeof written, "%s.new", s->path);
  static const char *const endings[] = {"", ".new", ".old", ".previous"};
  lpd_status status = LPD_OK;
  for (size_t i = 0; i < sizeof endings / sizeof *endings && !status; ++i) status = check_replaced(s, endings[i]);
  if (status) return status;
  unlink(written);
  s->sum = 0;
  s->file = open(written, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
  if (s->file < 0) return fail(s, LPD_SYSTEM, reason(errno));
  status = write_all(s, note, piece);
  if (close(s->file) != 0 && !status) status = fail(s, LPD_SYSTEM, reason(errno));
  if (!status) status = put_in_place(s, written);
  if (status) unlink(written);
  return status;
}

/* --- loading ----------------------------------------------------------------------------------------------------- */

static lpd_status check_head(const stream *s, const head *h, int64_t got, int64_t size) {
  if (memcmp(h->magic, kMagic, (size_t)(got < 8 ? got : 8)) != 0)
    return fail(s, LPD_INVALID_ARGUMENT, "not a checkpoint");
  if (got < (int64_t)sizeof *h) return fail(s, LPD_WRONG_INPUT, "truncated");
  if (h->checksum != checksum(0, h, offsetof(head, checksum))) return fail(s, LPD_WRONG_INPUT, "damaged");
  if (h->version != kVersion)
    return lpd_fail(s->instance, LPD_INVALID_ARGUMENT, "checkpoint '%.200s': version %u, this library reads %d",
                    s->path, h->version, kVersion);
  const head own = head_of(s->instance->model, h->note_bytes);
  if (h->fingerprint != own.fingerprint || h->state_count != own.state_count || h->state_bytes != own.state_bytes)
    return fail(s, LPD_INVALID_ARGUMENT,
                "of another model or optimizer: its states have other names, types or extents");
  if (h->note_bytes < 0 || h->note_bytes > kMostNote) return fail(s, LPD_WRONG_INPUT, "damaged");
  if (size < file_bytes(h)) return fail(s, LPD_WRONG_INPUT, "truncated");
  return size == file_bytes(h) ? LPD_OK : fail(s, LPD_WRONG_INPUT, "damaged: it goes on behind its end");
}

/* Reads all of it, and changes nothing; goes back to where the note begins. */
static lpd_status check_all(stream *s, head *h, char *piece) {
  struct stat there;
  if (syscall(SYS_fstat, s->file, &there) != 0 || !S_ISREG(there.st_mode))
    return fail(s, LPD_SYSTEM, "not a regular file");
  int64_t got = 0;
  lpd_status status = get(s, h, sizeof *h, &got);
  if (!status) status = check_head(s, h, got, there.st_size);
  if (status) return status;
  /* In the pieces it was written in, whose last words may be short. */
  status = get(s, piece, h->note_bytes, NULL);
  for (uint32_t i = 0; i < s->instance->model->state_count && !status; ++i)
    for (int64_t at = 0, bytes = s->instance->model->states[i].bytes; at < bytes && !status; at += kPiece)
      status = get(s, piece, bytes - at < kPiece ? bytes - at : kPiece, NULL);
  const uint64_t sum = s->sum;
  uint64_t expected;
  if (!status) status = get(s, &expected, sizeof expected, NULL);
  if (!status && sum != expected) status = fail(s, LPD_WRONG_INPUT, "damaged: its checksum is wrong");
  if (!status && lseek(s->file, sizeof *h, SEEK_SET) < 0) status = fail(s, LPD_SYSTEM, reason(errno));
  return status;
}

static lpd_status load_file(stream *s, char *note, int64_t room, char *piece) {
  head h;
  s->sum = 0;
  s->file = open(s->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (s->file < 0) return fail(s, LPD_SYSTEM, reason(errno));
  lpd_status status = check_all(s, &h, piece);
  if (!status && note && h.note_bytes >= room)
    status =
        lpd_fail(s->instance, LPD_INVALID_ARGUMENT, "checkpoint '%.200s': its note has %lld bytes, room is for %lld",
                 s->path, (long long)h.note_bytes, (long long)room - 1);
  if (!status) status = get(s, piece, h.note_bytes, NULL);
  if (!status && note) memcpy(note, piece, (size_t)h.note_bytes), note[h.note_bytes] = 0;
  if (!status) status = move_states(s, piece, 0);
  close(s->file);
  return status;
}

/* Missing, unreadable or damaged: not what somebody else wrote, or another version. */
static int is_lost(lpd_status status) { return status == LPD_WRONG_INPUT || status == LPD_SYSTEM; }

static lpd_status load(stream *s, char *note, int64_t room, char *piece) {
  const lpd_status status = load_file(s, note, room, piece);
  if (!is_lost(status)) return status;
  char previous[kMostPath + 16], why[LPD_ERROR_BYTES];
  snprintf(previous, sizeof previous, "%s.previous", s->path);
  strcpy(why, s->instance->error);
  stream other = {s->instance, previous, -1, 0};
  const lpd_status found = load_file(&other, note, room, piece);
  if (found == LPD_OK) return lpd_fail(s->instance, LPD_OK, "%.400s; loaded the one before it", why);
  return lpd_fail(s->instance, status, "%s", why);
}

/* --- the calls --------------------------------------------------------------------------------------------------- */

/* Saves when there is a note to save. */
static lpd_status transfer(lpd_instance *instance, const char *path, char *to, int64_t room, const char *note) {
  if (!instance) return LPD_INVALID_ARGUMENT;
  if (instance->broken) return instance->broken;
  instance->error[0] = 0;
  if (!path || !path[0] || strlen(path) > kMostPath)
    return lpd_fail(instance, LPD_INVALID_ARGUMENT, "a checkpoint's path is null, empty or longer than %d bytes",
                    kMostPath);
  if (note && strlen(note) > kMostNote)
    return lpd_fail(instance, LPD_INVALID_ARGUMENT, "a checkpoint's note is longer than %d bytes", kMostNote);
  if (instance->model->state_count == 0) return lpd_fail(instance, LPD_INVALID_ARGUMENT, "the model has no states");
  char *piece = lpd_take(&instance->alloc, kPiece);
  if (!piece) return lpd_fail(instance, LPD_OUT_OF_MEMORY, "no memory for a checkpoint's piece");
  stream s = {instance, path, -1, 0};
  lpd_status status = instance->driver ? instance->driver->enter(instance) : LPD_OK;
  if (!status) {
    status = lpd_catch_up(instance);
    if (!status) status = lpd_provide_states(instance);
    if (!status) status = note ? save(&s, note, piece) : load(&s, to, room, piece);
    if (status && instance->driver) instance->driver->wait(instance);
    if (instance->driver) instance->driver->leave(instance);
  }
  lpd_give(&instance->alloc, piece, kPiece);
  return status;
}

lpd_status lpd_save(lpd_instance *instance, const char *path, const char *note) {
  return transfer(instance, path, NULL, 0, note ? note : "");
}

lpd_status lpd_load(lpd_instance *instance, const char *path, char *note, int64_t room) {
  return transfer(instance, path, note, room, NULL);
}
