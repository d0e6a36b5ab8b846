/* NumPy's .npy: a magic number, a version, the length of a header, the header, the bytes. The header is the text of a
 * Python dictionary, {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }, as numpy.save writes it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

enum { kMagicBytes = 6, kLongestHeader = 10000 };
static const char kMagic[] = "\x93NUMPY";
static const int64_t kLongestExtent = INT64_C(1) << 40;

static const struct {
  const char *name;
  uint8_t dtype;
} kTypes[] = {{"f4", 1}, {"f8", 11}, {"f2", 10}, {"i1", 3}, {"i2", 5},  {"i4", 6},
              {"i8", 7}, {"u1", 2},  {"u2", 4},  {"b1", 9}, {"u4", 12}, {"u8", 13}};

/* The header's text, zero-terminated, and what follows it. */
static char *header_text(const char *path, lpd_bytes *file) {
  const size_t size = (size_t)(file->end - file->at);
  if (size < 10 || memcmp(file->at, kMagic, kMagicBytes) != 0)
    lpd_end(EXIT_WRONG_INPUT, "%s: not a .npy file", lpd_printable(path));
  const unsigned char *f = file->at;
  const size_t start = f[6] == 1 ? 10 : 12;
  if (f[6] < 1 || f[6] > 3 || size < start)
    lpd_end(EXIT_WRONG_INPUT, "%s: .npy version %d is not known", lpd_printable(path), f[6]);
  size_t length = (size_t)f[8] | (size_t)f[9] << 8;
  if (f[6] > 1) length |= (size_t)f[10] << 16 | (size_t)f[11] << 24;
  if (start + length > size) lpd_end(EXIT_WRONG_INPUT, "%s: the header is longer than the file", lpd_printable(path));
  if (length > kLongestHeader) lpd_end(EXIT_WRONG_INPUT, "%s: a header of %zu bytes", lpd_printable(path), length);
  char *text = lpd_memory((int64_t)length);
  memcpy(text, f + start, length);
  text[length] = 0;
  file->at += start + length;
  return text;
}

/* What follows 'key': in the header; NULL when it is not there. */
static const char *value_of(const char *header, const char *key) {
  const char *found = strstr(header, key);
  if (!found) return NULL;
  found += strlen(key);
  while (*found == ' ') ++found;
  return found;
}

/* *width: of strings, in characters. */
static uint8_t type_of(const char *path, const char *header, int64_t *width, int *wide) {
  const char *text = value_of(header, "'descr':");
  if (!text || *text++ != '\'' || !strchr("<|=>", *text) || (text[1] | 0x20) < 'a' || (text[1] | 0x20) > 'z')
    lpd_end(EXIT_WRONG_INPUT, "%s: the header names no simple type", lpd_printable(path));
  if (*text == '>') lpd_end(EXIT_UNSUPPORTED, "%s: big-endian data is not supported", lpd_printable(path));
  const char *name = text + 1, *end = strchr(name, '\'');
  if (!end || end - name > 10) lpd_end(EXIT_WRONG_INPUT, "%s: the header names no simple type", lpd_printable(path));
  for (size_t i = 0; i < sizeof kTypes / sizeof *kTypes; ++i)
    if (strlen(kTypes[i].name) == (size_t)(end - name) && memcmp(kTypes[i].name, name, (size_t)(end - name)) == 0)
      return kTypes[i].dtype;
  char *after;
  *width = strtoll(name + 1, &after, 10);
  *wide = *name == 'U';
  if ((*wide || *name == 'S') && after == end && *width >= 0) return LPD_STRING_TYPE;
  char type[16];
  memcpy(type, name, (size_t)(end - name));
  type[end - name] = 0;
  lpd_end(EXIT_UNSUPPORTED, "%s: element type %s is not supported", lpd_printable(path), lpd_printable(type));
}

static void read_shape(const char *path, const char *header, lpd_array *array) {
  const char *text = value_of(header, "'shape':"), *end = text ? strchr(text, ')') : NULL;
  if (!text || *text != '(' || !end) lpd_end(EXIT_WRONG_INPUT, "%s: the header has no shape", lpd_printable(path));
  int rank = 0;
  for (++text; text < end; ++text) {
    while (*text == ' ') ++text;
    if (text == end) break;
    char *after;
    const long long extent = strtoll(text, &after, 10);
    while (*after == ' ') ++after;
    if (after == text || (*after != ',' && after != end)) {
      const char *comma = strchr(text, ',');
      const int length = (int)((comma && comma < end ? comma : end) - text);
      char part[64];
      snprintf(part, sizeof part, "%.*s", length, text);
      lpd_end(EXIT_WRONG_INPUT, "%s: extent %s is no number", lpd_printable(path), lpd_printable(part));
    }
    if (extent < 0 || extent > kLongestExtent)
      lpd_end(EXIT_WRONG_INPUT, "%s: extent %lld is out of range", lpd_printable(path), extent);
    if (rank < LPD_MOST_RANK) array->dims[rank] = extent;
    ++rank;
    text = after;
  }
  if (rank > LPD_MOST_RANK)
    lpd_end(EXIT_WRONG_INPUT, "%s: rank %d exceeds %d", lpd_printable(path), rank, LPD_MOST_RANK);
  array->rank = (uint8_t)rank;
}

/* Elements that lie first index fastest, as Fortran has them, brought into our order; a copy in any case, since the
 * header's length may leave the data anywhere. */
static void *ordered(const lpd_array *array, int64_t bytes, int64_t width, int fortran) {
  char *result = lpd_take(&lpd_default_alloc, bytes + 1);
  if (!result) lpd_end(EXIT_FILE, "out of memory");
  if (!fortran) return memcpy(result, array->data, (size_t)bytes);
  int64_t strides[LPD_MOST_RANK], index[LPD_MOST_RANK] = {0}, stride = width, from = 0;
  for (int axis = 0; axis < array->rank; stride *= array->dims[axis++]) strides[axis] = stride;
  for (int64_t to = 0; to < bytes; to += width) {
    memcpy(result + to, (const char *)array->data + from, (size_t)width);
    for (int axis = array->rank - 1; axis >= 0; --axis) {
      from += strides[axis];
      if (++index[axis] < array->dims[axis]) break;
      from -= strides[axis] * array->dims[axis];
      index[axis] = 0;
    }
  }
  return result;
}

lpd_array lpd_read_npy(const char *path) {
  lpd_bytes file = lpd_read_file(path);
  const char *header = header_text(path, &file);
  int64_t width = 0;
  int wide = 0;
  lpd_array array = {
      .dtype = type_of(path, header, &width, &wide), .data = (void *)file.at, .bytes = file.end - file.at};
  read_shape(path, header, &array);
  const int strings = array.dtype == LPD_STRING_TYPE;
  int64_t bytes = lpd_tensor_bytes(array.dtype, array.rank, array.dims), count = bytes < 0 ? -1 : 1;
  for (int axis = 0; axis < array.rank && count > 0; ++axis) count *= array.dims[axis];
  if (strings && bytes >= 0 && __builtin_mul_overflow(count, width * (wide ? 4 : 1), &bytes)) bytes = -1;
  if (bytes < 0) lpd_end(EXIT_WRONG_INPUT, "%s: the shape overflows", lpd_printable(path));
  if (bytes != array.bytes)
    lpd_end(EXIT_WRONG_INPUT, "%s: the shape needs %lld bytes of data, the file has %lld", lpd_printable(path),
            (long long)bytes, (long long)array.bytes);
  const char *order = value_of(header, "'fortran_order':");
  if (!order || (strncmp(order, "True", 4) != 0 && strncmp(order, "False", 5) != 0))
    lpd_end(EXIT_WRONG_INPUT, "%s: the header has no order", lpd_printable(path));
  const int fortran = *order == 'T' && count > 0 && bytes > 0;
  if (strings && width == 0 && count > 0) lpd_end(EXIT_WRONG_INPUT, "%s: strings of no width", lpd_printable(path));
  array.data = ordered(&array, bytes, bytes / (count > 0 ? count : 1), fortran);
  if (strings) {
    array.data = lpd_unpad_strings(array.data, count, width, wide);
    array.bytes = count * (int64_t)sizeof(lpd_string);
    return array;
  }
  return array;
}

void lpd_write_npy(const char *path, const lpd_tensor *tensor) {
  const char *type = NULL;
  char wide[32];
  const void *data = tensor->data;
  int64_t bytes = tensor->bytes;
  if (tensor->dtype == LPD_STRING_TYPE) {
    const int64_t count = bytes / (int64_t)sizeof(lpd_string), width = lpd_string_width(data, count);
    data = lpd_pad_strings(data, count, width);
    bytes = 4 * count * width;
    snprintf(wide, sizeof wide, "U%lld", (long long)width);
    type = wide;
  }
  for (size_t i = 0; i < sizeof kTypes / sizeof *kTypes; ++i)
    if (kTypes[i].dtype == tensor->dtype) type = kTypes[i].name;
  if (!type)
    lpd_end(EXIT_UNSUPPORTED, "%s: .npy has no element type for %s", lpd_printable(path),
            lpd_short_type(tensor->dtype));
  char head[4096]; /* of any rank: 64 extents of at most 20 digits */
  size_t length = 10;
  length +=
      (size_t)snprintf(head + length, sizeof head - length, "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
                       *type != 'U' && type[1] == '1' ? '|' : '<', type);
  for (int axis = 0; axis < tensor->rank; ++axis)
    length += (size_t)snprintf(head + length, sizeof head - length, "%lld, ", (long long)tensor->dims[axis]);
  length += (size_t)snprintf(head + length, sizeof head - length, "), }");
  while ((length + 1) % 64 != 0) head[length++] = ' ';
  head[length++] = '\n';
  memcpy(head, kMagic, kMagicBytes);
  head[6] = 1, head[7] = 0;
  head[8] = (char)((length - 10) & 255), head[9] = (char)((length - 10) >> 8);
  lpd_write_file(path, head, length, data, bytes);
}
