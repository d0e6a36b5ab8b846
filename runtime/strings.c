#include "strings.h"

#include <string.h>

typedef struct { /* laid out by dictionary_of in ir/strings.cpp */
  int64_t count, slots;
  int64_t begin[];
} dictionary;

static lpd_string constant_text(const dictionary *d, int64_t number) {
  return (lpd_string){(const char *)d + d->begin[number], d->begin[number + 1] - d->begin[number]};
}

static uint64_t hash_of(lpd_string text) { /* FNV-1a, as in ir/strings.cpp */
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  for (int64_t i = 0; i < text.size; ++i) hash = (hash ^ (unsigned char)text.data[i]) * UINT64_C(0x100000001b3);
  return hash;
}

static int same(lpd_string a, lpd_string b) {
  return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, (size_t)a.size) == 0);
}

static lpd_string *views_of(const lpd_instance *instance) { return instance->strings.views.data; }

lpd_string lpd_text_of(const lpd_call *call, int64_t number) {
  const dictionary *d = call->dictionary;
  return number < d->count ? constant_text(d, number) : views_of(call->instance)[number - d->count];
}

/* --- numbers ------------------------------------------------------------------------------------------------- */

static int64_t constant_number(const dictionary *d, lpd_string text, uint64_t hash) {
  const uint32_t *table = (const uint32_t *)(d->begin + d->count + 1);
  for (uint64_t slot = hash & (uint64_t)(d->slots - 1); table[slot]; slot = (slot + 1) & (uint64_t)(d->slots - 1))
    if (same(constant_text(d, table[slot] - 1), text)) return table[slot] - 1;
  return -1;
}

/* The slot of a text of this run, or the free one where it belongs. */
static uint32_t *find_slot(const lpd_instance *instance, lpd_string text, uint64_t hash) {
  const lpd_strings *strings = &instance->strings;
  uint32_t *table = strings->table.data;
  uint64_t slot = hash & (uint64_t)(strings->slots - 1);
  while (table[slot] && !same(views_of(instance)[table[slot] - 1], text))
    slot = (slot + 1) & (uint64_t)(strings->slots - 1);
  return &table[slot];
}

/* Half of the slots at least stay free. */
static lpd_status make_slots(lpd_instance *instance) {
  enum { kLeast = 64 };
  lpd_strings *strings = &instance->strings;
  if (2 * (strings->count + 1) <= strings->slots) return LPD_OK;
  const int64_t slots = strings->slots ? 2 * strings->slots : kLeast;
  if (slots > INT64_C(1) << 32) return lpd_fail(instance, LPD_LIMIT, "more than 2^31 strings in a run");
  lpd_status status = lpd_grow(instance, &strings->table, LPD_ON_HOST, slots * (int64_t)sizeof(uint32_t), 0, "strings");
  if (!status)
    status = lpd_grow(instance, &strings->views, LPD_ON_HOST, slots / 2 * (int64_t)sizeof(lpd_string), 1, "strings");
  if (status) {
    strings->slots = strings->count = 0;
    return status;
  }
  strings->slots = slots;
  memset(strings->table.data, 0, (size_t)slots * sizeof(uint32_t));
  for (int64_t i = 0; i < strings->count; ++i) {
    const lpd_string text = views_of(instance)[i];
    *find_slot(instance, text, hash_of(text)) = (uint32_t)i + 1;
  }
  return LPD_OK;
}

lpd_status lpd_number_of(const lpd_call *call, lpd_string text, int64_t *number) {
  const dictionary *d = call->dictionary;
  lpd_instance *instance = call->instance;
  const uint64_t hash = hash_of(text);
  if ((*number = constant_number(d, text, hash)) >= 0) return LPD_OK;
  const lpd_status status = make_slots(instance);
  if (status) return status;
  uint32_t *slot = find_slot(instance, text, hash);
  if (!*slot) {
    views_of(instance)[instance->strings.count] = text;
    *slot = (uint32_t)++instance->strings.count;
  }
  *number = d->count + *slot - 1;
  return LPD_OK;
}

/* --- new texts ----------------------------------------------------------------------------------------------- */

lpd_status lpd_text_room(const lpd_call *call, int64_t bytes, char **room) {
  enum { kLeast = 1 << 12 };
  lpd_instance *instance = call->instance;
  lpd_strings *strings = &instance->strings;
  lpd_text_piece *last = strings->texts;
  if (last && bytes >= 0 && bytes <= last->bytes - last->used) {
    *room = (char *)last + last->used;
    return LPD_OK;
  }
  int64_t wanted = last ? 2 * last->bytes : kLeast, least;
  if (bytes < 0 || __builtin_add_overflow(bytes, (int64_t)sizeof *last, &least))
    return lpd_fail(instance, LPD_LIMIT, "%.200s: a text's size overflows", call->origin);
  const int fits = instance->max_bytes == 0 || wanted <= instance->max_bytes / 4;
  if (wanted < least || !fits) wanted = least;
  const lpd_status status = lpd_check_limit(instance, wanted, "strings");
  if (status) return status;
  lpd_text_piece *piece = lpd_take(&instance->alloc, wanted);
  if (!piece) return lpd_fail(instance, LPD_OUT_OF_MEMORY, "no memory for strings of %lld bytes", (long long)wanted);
  *piece = (lpd_text_piece){last, wanted, sizeof *piece};
  strings->texts = piece;
  strings->text_bytes += wanted;
  *room = (char *)piece + piece->used;
  return LPD_OK;
}

lpd_status lpd_number_of_new(const lpd_call *call, const char *room, int64_t bytes, int64_t *number) {
  const lpd_strings *strings = &call->instance->strings;
  const int64_t before = strings->count;
  const lpd_status status = lpd_number_of(call, (lpd_string){room, bytes}, number);
  if (!status && strings->count > before) strings->texts->used += bytes;
  return status;
}

static void free_pieces(lpd_instance *instance, lpd_text_piece *piece) {
  while (piece) {
    lpd_text_piece *before = piece->before;
    instance->strings.text_bytes -= piece->bytes;
    lpd_give(&instance->alloc, piece, piece->bytes);
    piece = before;
  }
}

int lpd_strings_hold(const lpd_instance *instance, const char *text) {
  for (const lpd_text_piece *piece = instance->strings.texts; piece; piece = piece->before)
    if (text >= (const char *)piece && text < (const char *)piece + piece->bytes) return 1;
  return 0;
}

/* The last piece, mostly the largest, is kept. */
void lpd_strings_reset(lpd_instance *instance) {
  lpd_strings *strings = &instance->strings;
  if (strings->count > 0) memset(strings->table.data, 0, (size_t)strings->slots * sizeof(uint32_t));
  strings->count = 0;
  if (!strings->texts) return;
  free_pieces(instance, strings->texts->before);
  strings->texts->before = NULL;
  strings->texts->used = sizeof *strings->texts;
}

void lpd_strings_destroy(lpd_instance *instance) {
  free_pieces(instance, instance->strings.texts);
  lpd_give(&instance->alloc, instance->strings.views.data, instance->strings.views.bytes);
  lpd_give(&instance->alloc, instance->strings.table.data, instance->strings.table.bytes);
}

/* --- UTF-8 --------------------------------------------------------------------------------------------------- */

uint32_t lpd_next_code_point(lpd_string text, int64_t *at) {
  const unsigned char *bytes = (const unsigned char *)text.data + *at;
  const uint32_t first = bytes[0];
  const int64_t left = text.size - (*at)++;
  if (first < 0x80) return first;
  const int length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || left < length) return kNoCodePoint + first;
  uint32_t value = first & (0x7fu >> length);
  for (int i = 1; i < length; ++i) {
    if ((bytes[i] & 0xc0) != 0x80) return kNoCodePoint + first;
    value = value << 6 | (bytes[i] & 0x3f);
  }
  const int too_long = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
  if (too_long || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return kNoCodePoint + first;
  *at += length - 1;
  return value;
}

char *lpd_put_code_point(char *to, uint32_t c) {
  if (c >= kNoCodePoint) {
    *to++ = (char)(c - kNoCodePoint);
  } else if (c < 0x80) {
    *to++ = (char)c;
  } else {
    const int length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    *to++ = (char)(0xf00u >> length | c >> 6 * (length - 1));
    for (int i = length - 2; i >= 0; --i) *to++ = (char)(0x80 | (c >> 6 * i & 0x3f));
  }
  return to;
}

/* --- the borders --------------------------------------------------------------------------------------------- */

lpd_status lpd_intern_strings(const lpd_call *call) {
  const lpd_string *texts = call->operands[0];
  int64_t *numbers = call->operands[1];
  for (int64_t i = 0; i < call->integers[0]; ++i) {
    if (texts[i].size < 0 || (texts[i].size > 0 && !texts[i].data))
      return lpd_fail(call->instance, LPD_WRONG_INPUT, "element %lld of an input is no string: %lld bytes at %s",
                      (long long)i, (long long)texts[i].size, texts[i].data ? "its data" : "null");
    const lpd_status status = lpd_number_of(call, texts[i], &numbers[i]);
    if (status) return status;
  }
  return LPD_OK;
}

lpd_status lpd_view_strings(const lpd_call *call) {
  const int64_t *numbers = call->operands[0];
  lpd_string *texts = call->operands[1];
  for (int64_t i = 0; i < call->integers[0]; ++i) texts[i] = lpd_text_of(call, numbers[i]);
  return LPD_OK;
}
