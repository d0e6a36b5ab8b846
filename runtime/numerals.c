/* Numbers as text and back, whatever the locale of the process: its decimal point is skipped where printf writes it and
 * never given to strtod. Forms: ir/host_functions.def. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "strings.h"

enum element_type {
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kUint16 = 4,
  kInt16 = 5,
  kInt32 = 6,
  kInt64 = 7,
  kBool = 9,
  kDouble = 11,
  kUint32 = 12,
  kUint64 = 13
};

/* --- to text ------------------------------------------------------------------------------------------------- */

/* %.8g */
static int print_float(double value, char text[32]) {
  enum { kDigits = 8 };
  if (value != value) return snprintf(text, 32, "NaN");
  if (value > 1.7976931348623157e308 || value < -1.7976931348623157e308)
    return snprintf(text, 32, value > 0 ? "INF" : "-INF");
  char e[48], digits[kDigits + 1];
  snprintf(e, sizeof e, "%.*e", kDigits - 1, value);
  const char *at = e + (e[0] == '-');
  digits[0] = *at++;
  while (*at < '0' || *at > '9') ++at;
  memcpy(digits + 1, at, kDigits - 1);
  digits[kDigits] = 0;
  const int exponent = (int)strtol(strchr(at, 'e') + 1, NULL, 10);
  int count = kDigits;
  while (count > 1 && digits[count - 1] == '0') digits[--count] = 0;
  char *to = text;
  if (e[0] == '-') *to++ = '-';
  if (exponent < -4 || exponent >= kDigits) {
    to += snprintf(to, 24, "%c%s%s", digits[0], count > 1 ? "." : "", digits + 1);
    return (int)(to - text) + snprintf(to, 8, "e%c%02d", exponent < 0 ? '-' : '+', exponent < 0 ? -exponent : exponent);
  }
  if (exponent < 0) return (int)(to - text) + snprintf(to, 24, "0.%.*s%s", -exponent - 1, "000", digits);
  for (int i = 0; i < count || i <= exponent; ++i) {
    if (i == exponent + 1) *to++ = '.';
    *to++ = i < count ? digits[i] : '0';
  }
  return (int)(to - text);
}

static int print_number(const void *data, int64_t i, int64_t type, char text[32]) {
  switch ((enum element_type)type) {
    case kFloat:
      return print_float((double)((const float *)data)[i], text);
    case kDouble:
      return print_float(((const double *)data)[i], text);
    case kBool:
    case kUint8:
      return snprintf(text, 32, "%d", ((const uint8_t *)data)[i]);
    case kInt8:
      return snprintf(text, 32, "%d", ((const int8_t *)data)[i]);
    case kUint16:
      return snprintf(text, 32, "%d", ((const uint16_t *)data)[i]);
    case kInt16:
      return snprintf(text, 32, "%d", ((const int16_t *)data)[i]);
    case kInt32:
      return snprintf(text, 32, "%d", ((const int32_t *)data)[i]);
    case kUint32:
      return snprintf(text, 32, "%u", ((const uint32_t *)data)[i]);
    case kInt64:
      return snprintf(text, 32, "%lld", (long long)((const int64_t *)data)[i]);
    case kUint64:
      return snprintf(text, 32, "%llu", (unsigned long long)((const uint64_t *)data)[i]);
  }
  return 0;
}

lpd_status lpd_format_numbers(const lpd_call *call) {
  int64_t *numbers = call->operands[1];
  for (int64_t i = 0; i < call->integers[0]; ++i) {
    char *room;
    lpd_status status = lpd_text_room(call, 32, &room);
    if (status) return status;
    const int bytes = print_number(call->operands[0], i, call->integers[1], room);
    status = lpd_number_of_new(call, room, bytes, &numbers[i]);
    if (status) return status;
  }
  return LPD_OK;
}

/* --- from text ----------------------------------------------------------------------------------------------- */

static int is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static int is_digit(char c) { return c >= '0' && c <= '9'; }

static lpd_string trimmed(lpd_string text) {
  while (text.size > 0 && is_blank(text.data[0])) ++text.data, --text.size;
  while (text.size > 0 && is_blank(text.data[text.size - 1])) --text.size;
  return text;
}

/* Lower-case letters in `word`. */
static int is_word(lpd_string text, const char *word) {
  if ((size_t)text.size != strlen(word)) return 0;
  for (int64_t i = 0; i < text.size; ++i)
    if ((text.data[i] | 0x20) != word[i]) return 0;
  return 1;
}

static int take_sign(lpd_string *text) {
  const int negative = text->size > 0 && text->data[0] == '-';
  if (negative || (text->size > 0 && text->data[0] == '+')) ++text->data, --text->size;
  return negative;
}

/* Exact for 800 digits, which decide the rounding of every double; what comes after them can only be told from zero. */
enum { kMostDigits = 800 };

/* digits[.digits][e[sign]digits] as an integer and an exponent, "314e-2". */
static int to_integer_form(lpd_string text, char form[kMostDigits + 32]) {
  int64_t at = 0, exponent = 0;
  int count = 0, any = 0, point = 0, rest = 0;
  for (; at < text.size && (is_digit(text.data[at]) || (text.data[at] == '.' && !point)); ++at) {
    if (text.data[at] == '.') {
      point = 1;
      continue;
    }
    any = 1;
    if (count < kMostDigits && (count > 0 || text.data[at] != '0'))
      form[count++] = text.data[at], exponent -= point;
    else if (count == kMostDigits)
      rest |= text.data[at] != '0', exponent += !point;
    else
      exponent -= point;
  }
  if (!any) return 0;
  if (rest) form[count++] = '1', --exponent;
  if (count == 0) form[count++] = '0';
  if (at < text.size) {
    if ((text.data[at++] | 0x20) != 'e') return 0;
    lpd_string digits = {text.data + at, text.size - at};
    const int negative = take_sign(&digits);
    if (digits.size == 0) return 0;
    int64_t value = 0;
    for (int64_t i = 0; i < digits.size; ++i) {
      if (!is_digit(digits.data[i])) return 0;
      if (value < 100000000) value = 10 * value + (digits.data[i] - '0');
    }
    exponent += negative ? -value : value;
  }
  if (exponent > 100000000) exponent = 100000000;
  if (exponent < -100000000) exponent = -100000000;
  snprintf(form + count, 24, "e%lld", (long long)exponent);
  return 1;
}

static int parse_float(lpd_string text, int64_t type, void *to, int64_t i) {
  const int negative = take_sign(&text);
  char form[kMostDigits + 32];
  double value;
  float narrow;
  if (is_word(text, "inf") || is_word(text, "infinity"))
    narrow = (float)(value = __builtin_inf());
  else if (is_word(text, "nan"))
    narrow = (float)(value = __builtin_nan(""));
  else if (to_integer_form(text, form))
    narrow = strtof(form, NULL), value = strtod(form, NULL);
  else
    return 0;
  if (type == kFloat)
    ((float *)to)[i] = negative ? -narrow : narrow;
  else
    ((double *)to)[i] = negative ? -value : value;
  return 1;
}

static int parse_whole(lpd_string text, int is_unsigned, int64_t *to) {
  const int negative = take_sign(&text);
  uint64_t value = 0;
  for (int64_t i = 0; i < text.size; ++i) {
    if (!is_digit(text.data[i]) || __builtin_mul_overflow(value, (uint64_t)10, &value) ||
        __builtin_add_overflow(value, (uint64_t)(text.data[i] - '0'), &value))
      return 0;
  }
  const uint64_t most = is_unsigned && !negative ? UINT64_MAX : (uint64_t)INT64_MAX + negative;
  if (text.size == 0 || value > most) return 0;
  *to = (int64_t)(negative ? -value : value);
  return 1;
}

lpd_status lpd_parse_numbers(const lpd_call *call) {
  const int64_t *numbers = call->operands[0];
  for (int64_t i = 0; i < call->integers[0]; ++i) {
    const lpd_string whole = lpd_text_of(call, numbers[i]), text = trimmed(whole);
    const int64_t type = call->integers[1];
    const int fine = type == kInt64 || type == kUint64
                         ? parse_whole(text, type == kUint64, (int64_t *)call->operands[1] + i)
                         : parse_float(text, call->integers[1], call->operands[1], i);
    if (fine) continue;
    return lpd_fail(call->instance, LPD_WRONG_INPUT, "%.200s: '%.*s' is no number", call->origin,
                    (int)(whole.size < 80 ? whole.size : 80), whole.size > 0 ? whole.data : "");
  }
  return LPD_OK;
}
