/* Host functions on strings: what each does is said in ir/host_functions.def. Python's str.split and ONNX Runtime's
 * Cast are the models where ONNX leaves details open. */
#include <string.h>

#include "strings.h"

lpd_status lpd_concat_strings(const lpd_call *call) {
  const int64_t *a = call->operands[0], *b = call->operands[1];
  int64_t *numbers = call->operands[2];
  for (int64_t i = 0; i < call->integers[0]; ++i) {
    const lpd_string first = lpd_text_of(call, a[i]), second = lpd_text_of(call, b[i]);
    int64_t bytes;
    if (__builtin_add_overflow(first.size, second.size, &bytes)) bytes = -1;
    char *room;
    lpd_status status = lpd_text_room(call, bytes, &room);
    if (status) return status;
    if (first.size > 0) memcpy(room, first.data, (size_t)first.size);
    if (second.size > 0) memcpy(room + first.size, second.data, (size_t)second.size);
    status = lpd_number_of_new(call, room, bytes, &numbers[i]);
    if (status) return status;
  }
  return LPD_OK;
}

/* --- case ---------------------------------------------------------------------------------------------------- */

typedef struct {
  int32_t first, last, step, distance;
} letters;

static uint32_t mapped(const letters *table, int64_t count, uint32_t c) {
  int64_t low = 0, high = count; /* the first run that ends at c or later */
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if ((uint32_t)table[middle].last < c)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == count || c < (uint32_t)table[low].first) return c;
  if ((c - (uint32_t)table[low].first) % (uint32_t)table[low].step != 0) return c;
  return c + (uint32_t)table[low].distance;
}

lpd_status lpd_map_case(const lpd_call *call) {
  const int64_t *from = call->operands[0];
  int64_t *to = call->operands[2];
  for (int64_t i = 0; i < call->integers[0]; ++i) {
    const lpd_string text = lpd_text_of(call, from[i]);
    int64_t most;
    if (__builtin_mul_overflow(text.size, (int64_t)4, &most)) most = -1;
    char *room;
    lpd_status status = lpd_text_room(call, most, &room);
    if (status) return status;
    char *end = room;
    for (int64_t at = 0; at < text.size;)
      end = lpd_put_code_point(end, mapped(call->operands[1], call->integers[1], lpd_next_code_point(text, &at)));
    status = lpd_number_of_new(call, room, end - room, &to[i]);
    if (status) return status;
  }
  return LPD_OK;
}

/* --- order --------------------------------------------------------------------------------------------------- */

static int comes_before(const lpd_call *call, int64_t a, int64_t b) {
  const lpd_string first = lpd_text_of(call, a), second = lpd_text_of(call, b);
  const int64_t shorter = first.size < second.size ? first.size : second.size;
  const int order = shorter > 0 ? memcmp(first.data, second.data, (size_t)shorter) : 0;
  return order != 0 ? order < 0 : first.size < second.size;
}

typedef struct {
  int64_t number, place;
} ranked;

static void sift(const lpd_call *call, ranked *heap, int64_t root, int64_t count) {
  for (int64_t child; (child = 2 * root + 1) < count; root = child) {
    if (child + 1 < count && comes_before(call, heap[child].number, heap[child + 1].number)) ++child;
    if (!comes_before(call, heap[root].number, heap[child].number)) return;
    const ranked moved = heap[root];
    heap[root] = heap[child], heap[child] = moved;
  }
}

lpd_status lpd_rank_texts(const lpd_call *call) {
  lpd_instance *instance = call->instance;
  const int64_t *numbers = call->operands[0], count = call->integers[0];
  int64_t *ranks = call->operands[1], bytes;
  if (__builtin_mul_overflow(count, (int64_t)sizeof(ranked), &bytes)) bytes = -1;
  const lpd_status status = lpd_check_limit(instance, bytes, "strings");
  if (status || count == 0) return status;
  ranked *heap = lpd_take(&instance->alloc, bytes);
  if (!heap) return lpd_fail(instance, LPD_OUT_OF_MEMORY, "no memory to order %lld strings", (long long)count);
  for (int64_t i = 0; i < count; ++i) heap[i] = (ranked){numbers[i], i};
  for (int64_t i = count / 2; i-- > 0;) sift(call, heap, i, count);
  for (int64_t end = count - 1; end > 0; --end) {
    const ranked last = heap[0];
    heap[0] = heap[end], heap[end] = last;
    sift(call, heap, 0, end);
  }
  for (int64_t i = 0, rank = 0; i < count; ++i) {
    rank += i > 0 && heap[i].number != heap[i - 1].number;
    ranks[heap[i].place] = rank;
  }
  lpd_give(&instance->alloc, heap, bytes);
  return LPD_OK;
}

/* --- automata ------------------------------------------------------------------------------------------------ */

lpd_status lpd_match_automaton(const lpd_call *call) {
  const int64_t *numbers = call->operands[0];
  const int32_t *table = call->operands[1];
  uint8_t *matches = call->operands[2];
  const int64_t classes = table[1];
  const int32_t *class_of = table + 2, *accepts = class_of + 256, *next = accepts + table[0];
  for (int64_t i = 0; i < call->integers[0]; ++i) {
    const lpd_string text = lpd_text_of(call, numbers[i]);
    int64_t state = 0;
    for (int64_t at = 0; at < text.size; ++at) state = next[state * classes + class_of[(unsigned char)text.data[at]]];
    matches[i] = (uint8_t)accepts[state];
  }
  return LPD_OK;
}

/* --- parts --------------------------------------------------------------------------------------------------- */

typedef struct {
  lpd_string text, delimiter;
  int64_t at, splits; /* splits: how many are left; -1: any number */
  int done;
} splitter;

static int is_space(uint32_t c) {
  return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static lpd_string part(const splitter *s, int64_t begin, int64_t end) {
  return (lpd_string){s->text.data + begin, end - begin};
}

static int next_between_spaces(splitter *s, lpd_string *found) {
  int64_t begin = s->at;
  while (s->at < s->text.size && is_space(lpd_next_code_point(s->text, &s->at))) begin = s->at;
  if (begin == s->text.size) return 0;
  int64_t end = s->at = begin;
  while (s->at < s->text.size) {
    const int space = is_space(lpd_next_code_point(s->text, &s->at));
    if (space && s->splits != 0) break;
    if (!space) end = s->at;
  }
  s->splits -= s->splits > 0;
  *found = part(s, begin, end);
  return 1;
}

static int next_between_delimiters(splitter *s, lpd_string *found) {
  const int64_t begin = s->at, length = s->delimiter.size;
  for (int64_t at = begin; s->splits != 0 && at <= s->text.size - length; ++at) {
    if (memcmp(s->text.data + at, s->delimiter.data, (size_t)length) != 0) continue;
    *found = part(s, begin, at);
    s->at = at + length;
    s->splits -= s->splits > 0;
    return 1;
  }
  s->done = 1;
  *found = part(s, begin, s->text.size);
  return 1;
}

static int next_part(splitter *s, lpd_string *found) {
  if (s->done) return 0;
  return s->delimiter.size > 0 ? next_between_delimiters(s, found) : next_between_spaces(s, found);
}

static splitter split(const lpd_call *call, int64_t row, int64_t splits) {
  const int64_t *texts = call->operands[0], *delimiter = call->operands[1];
  return (splitter){lpd_text_of(call, texts[row]), lpd_text_of(call, *delimiter), 0, splits, 0};
}

lpd_status lpd_count_parts(const lpd_call *call) {
  int64_t *counts = call->operands[2];
  lpd_string found;
  for (int64_t i = 0; i < call->integers[0]; ++i) {
    splitter s = split(call, i, call->integers[1]);
    for (counts[i] = 0; next_part(&s, &found);) ++counts[i];
  }
  return LPD_OK;
}

lpd_status lpd_split_parts(const lpd_call *call) {
  const int64_t width = call->integers[1], rows = width > 0 ? call->integers[0] / width : 0;
  int64_t *numbers = call->operands[2];
  lpd_string found;
  for (int64_t row = 0; row < rows; ++row) {
    splitter s = split(call, row, call->integers[2]);
    for (int64_t i = 0; i < width; ++i, ++numbers) {
      *numbers = 0; /* "" */
      const lpd_status status = next_part(&s, &found) ? lpd_number_of(call, found, numbers) : LPD_OK;
      if (status) return status;
    }
  }
  return LPD_OK;
}
