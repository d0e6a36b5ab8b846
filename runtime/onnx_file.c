/* ONNX's TensorProto (.pb): fields in protobuf's wire format, each a number, a kind and a value. Elements are the bytes
 * of raw_data or, in files of other writers, numbers in one of five typed fields; those are counted on a first walk and
 * put in place on a second. */
#include <stdio.h>
#include <string.h>

#include "program.h"

enum wire_kind { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
enum field {
  kDims = 1,
  kDataType = 2,
  kSegment = 3,
  kFloats = 4,
  kInts32 = 5,
  kStrings = 6,
  kInts64 = 7,
  kName = 8,
  kRaw = 9,
  kDoubles = 10,
  kUints64 = 11,
  kExternal = 13,
  kLocation = 14
};

typedef struct {
  const char *path;
  lpd_array array;
  const unsigned char *raw;
  int64_t raw_bytes, elements; /* elements: in the typed field */
  unsigned char *into;         /* NULL on the first walk */
  int width;                   /* bytes that each of them fills */
  int field;                   /* the typed field there is */
} reader;

static void wrong(const reader *r, const char *what) {
  lpd_end(EXIT_WRONG_INPUT, "%s: %s", lpd_printable(r->path), what);
}

static uint64_t read_varint(const reader *r, lpd_bytes *in) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (in->at == in->end) wrong(r, "truncated");
    const unsigned char byte = *in->at++;
    value |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) return value;
  }
  wrong(r, "not an ONNX tensor");
  return 0;
}

static uint64_t read_fixed(const reader *r, lpd_bytes *in, size_t bytes) {
  uint64_t value = 0;
  if ((size_t)(in->end - in->at) < bytes) wrong(r, "truncated");
  memcpy(&value, in->at, bytes);
  in->at += bytes;
  return value;
}

static lpd_bytes read_bytes(const reader *r, lpd_bytes *in) {
  const uint64_t length = read_varint(r, in);
  if (length > (uint64_t)(in->end - in->at)) wrong(r, "truncated");
  const lpd_bytes part = {in->at, in->at + length};
  in->at = part.end;
  return part;
}

static uint64_t read_number(const reader *r, lpd_bytes *in, int kind) {
  return kind == kVarint ? read_varint(r, in) : read_fixed(r, in, kind == kFixed64 ? 8 : 4);
}

static void take_number(reader *r, int field, uint64_t number) {
  if (field == kDims) {
    if (r->into) return;
    if (r->array.rank == LPD_MOST_RANK) wrong(r, "rank exceeds 64");
    r->array.dims[r->array.rank++] = (int64_t)number;
    return;
  }
  if (r->field != 0 && r->field != field) wrong(r, "elements in two fields");
  r->field = field;
  if (r->into) memcpy(r->into + r->elements * r->width, &number, (size_t)r->width); /* little-endian */
  ++r->elements;
}

/* It stays in the file's bytes. */
static void take_string(reader *r, lpd_bytes text) {
  if (r->field != 0 && r->field != kStrings) wrong(r, "elements in two fields");
  r->field = kStrings;
  if (r->into) ((lpd_string *)r->into)[r->elements] = (lpd_string){(const char *)text.at, text.end - text.at};
  ++r->elements;
}

/* A repeated field of numbers, each alone or many packed. `kind` is that of one number. */
static void take_numbers(reader *r, lpd_bytes *in, int field, int kind, int found) {
  if (found == kind) {
    take_number(r, field, read_number(r, in, kind));
  } else if (found == kBytes) {
    lpd_bytes packed = read_bytes(r, in);
    while (packed.at < packed.end) take_number(r, field, read_number(r, &packed, kind));
  } else {
    wrong(r, "not an ONNX tensor");
  }
}

static void skip(reader *r, lpd_bytes *in, int kind) {
  if (kind == kBytes)
    read_bytes(r, in);
  else if (kind == kVarint || kind == kFixed64 || kind == kFixed32)
    read_number(r, in, kind);
  else
    wrong(r, "not an ONNX tensor");
}

static void take_field(reader *r, lpd_bytes *in, uint64_t field, int kind) {
  switch (field) {
    case kDims:
    case kInts32:
    case kInts64:
    case kUints64:
      take_numbers(r, in, (int)field, kVarint, kind);
      return;
    case kFloats:
      take_numbers(r, in, (int)field, kFixed32, kind);
      return;
    case kDoubles:
      take_numbers(r, in, (int)field, kFixed64, kind);
      return;
    case kDataType: {
      if (kind != kVarint) wrong(r, "not an ONNX tensor");
      const uint64_t type = read_varint(r, in);
      r->array.dtype = type < 256 ? (uint8_t)type : 255;
      return;
    }
    case kRaw: {
      if (kind != kBytes) wrong(r, "not an ONNX tensor");
      const lpd_bytes raw = read_bytes(r, in);
      r->raw = raw.at;
      r->raw_bytes = raw.end - raw.at;
      return;
    }
    case kExternal:
    case kLocation:
      if (kind != (field == kExternal ? kBytes : kVarint)) wrong(r, "not an ONNX tensor");
      lpd_end(EXIT_WRONG_INPUT, "%s: external data is not for files of one tensor", lpd_printable(r->path));
    case kStrings:
      if (kind != kBytes) wrong(r, "not an ONNX tensor");
      take_string(r, read_bytes(r, in));
      return;
    case kSegment:
      lpd_end(EXIT_UNSUPPORTED, "%s: segments of a tensor are not supported", lpd_printable(r->path));
    default:
      if (field == 0) wrong(r, "not an ONNX tensor");
      skip(r, in, kind);
  }
}

static void walk(reader *r, lpd_bytes in) {
  r->elements = 0;
  while (in.at < in.end) {
    const uint64_t tag = read_varint(r, &in);
    take_field(r, &in, tag >> 3, (int)(tag & 7));
  }
}

static const char *shape_text(const lpd_array *array) {
  char *text = lpd_memory(LPD_MOST_RANK * 24), *to = text;
  *to = 0;
  for (int axis = 0; axis < array->rank; ++axis)
    to += snprintf(to, 24, "%s%lld", axis ? ", " : "", (long long)array->dims[axis]);
  return text;
}

lpd_array lpd_read_onnx(const char *path) {
  const lpd_bytes file = lpd_read_file(path);
  reader r = {.path = path};
  if (file.at == file.end) wrong(&r, "empty file");
  walk(&r, file);
  const int strings = r.array.dtype == LPD_STRING_TYPE;
  if (strings && r.raw) wrong(&r, "strings cannot be in raw_data");
  if (r.elements > 0 && strings != (r.field == kStrings)) wrong(&r, "its list is of another type");
  const int wanted = r.array.dtype == 1 || r.array.dtype == 14    ? kFloats
                     : r.array.dtype == 11 || r.array.dtype == 15 ? kDoubles
                                                                  : -1;
  if (r.elements > 0 && !strings && (wanted >= 0 ? r.field != wanted : r.field == kFloats || r.field == kDoubles))
    wrong(&r, "its list is of another type");
  const unsigned bits = lpd_type_bits(r.array.dtype);
  if (bits == 0) lpd_end(EXIT_WRONG_INPUT, "%s: unknown data_type %d", lpd_printable(path), r.array.dtype);
  const int64_t bytes = lpd_tensor_bytes(r.array.dtype, r.array.rank, r.array.dims);
  if (bytes < 0) wrong(&r, "the shape overflows");
  r.width = strings                            ? (int)sizeof(lpd_string)
            : r.field == kFloats               ? 4
            : r.field == kDoubles || bits > 64 ? 8
            : bits < 8                         ? 1
                                               : (int)bits / 8;
  const int64_t found = r.raw ? r.raw_bytes : r.elements * r.width;
  if (found != bytes)
    lpd_end(EXIT_WRONG_INPUT, "%s: %s[%s] needs %lld bytes, %s has %lld", lpd_printable(path),
            lpd_short_type(r.array.dtype), shape_text(&r.array), (long long)bytes, r.raw ? "raw_data" : "its list",
            (long long)found);
  r.array.bytes = bytes;
  r.array.data = lpd_take(&lpd_default_alloc, bytes + 8);
  if (!r.array.data) lpd_end(EXIT_FILE, "out of memory");
  if (r.raw) {
    memcpy(r.array.data, r.raw, (size_t)bytes);
  } else {
    r.into = r.array.data;
    walk(&r, file);
  }
  return r.array;
}

static char *put_varint(char *to, uint64_t value) {
  for (; value > 127; value >>= 7) *to++ = (char)(value | 128);
  *to++ = (char)value;
  return to;
}

static void write_strings(const char *path, const char *head, const char *head_end, const lpd_tensor *tensor) {
  const lpd_string *texts = tensor->data;
  const int64_t count = tensor->bytes / (int64_t)sizeof *texts;
  int64_t bytes = head_end - head;
  for (int64_t i = 0; i < count; ++i) bytes += 11 + texts[i].size;
  char *content = lpd_memory(bytes), *to = content;
  memcpy(to, head, (size_t)(head_end - head));
  to += head_end - head;
  for (int64_t i = 0; i < count; ++i) {
    to = put_varint(put_varint(to, kStrings << 3 | kBytes), (uint64_t)texts[i].size);
    if (texts[i].size > 0) memcpy(to, texts[i].data, (size_t)texts[i].size);
    to += texts[i].size;
  }
  lpd_write_file(path, content, (size_t)(to - content), NULL, 0);
}

void lpd_write_onnx(const char *path, const char *name, const lpd_tensor *tensor) {
  const size_t length = strlen(name);
  char *head = lpd_memory((int64_t)length + 64 + 11 * tensor->rank), *to = head;
  for (int axis = 0; axis < tensor->rank; ++axis)
    to = put_varint(put_varint(to, kDims << 3), (uint64_t)tensor->dims[axis]);
  to = put_varint(put_varint(to, kDataType << 3), tensor->dtype);
  to = put_varint(put_varint(to, kName << 3 | kBytes), length);
  memcpy(to, name, length);
  to += length;
  if (tensor->dtype == LPD_STRING_TYPE) {
    write_strings(path, head, to, tensor);
    return;
  }
  to = put_varint(put_varint(to, kRaw << 3 | kBytes), (uint64_t)tensor->bytes);
  lpd_write_file(path, head, (size_t)(to - head), tensor->data, tensor->bytes);
}
