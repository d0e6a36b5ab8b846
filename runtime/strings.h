/* Strings in a run. Their elements are numbers: first those of the model's constants (the dictionary), then, in the
 * order they come up, those that the instance holds until the next run. Equal texts have one number, so kernels copy
 * and compare numbers and never see a text; what does need texts is a host function, and looks them up here. */
#ifndef LAPIDARY_RUNTIME_STRINGS_H
#define LAPIDARY_RUNTIME_STRINGS_H

#include "internal.h"

/* The text of a number; it lasts as long as the run's strings. */
lpd_string lpd_text_of(const lpd_call *, int64_t number);
/* The number of a text that lasts as long as the run's strings: an input's, a part of another. */
lpd_status lpd_number_of(const lpd_call *, lpd_string text, int64_t *number);
/* Room for a new text, which it becomes with lpd_number_of_new; else the room is free again. */
lpd_status lpd_text_room(const lpd_call *, int64_t bytes, char **room);
lpd_status lpd_number_of_new(const lpd_call *, const char *room, int64_t bytes, int64_t *number);

/* Code points of UTF-8; what is no UTF-8 is read byte by byte, each as kNoCodePoint + byte. As in ir/strings.cpp. */
enum { kNoCodePoint = 0x110000 };
uint32_t lpd_next_code_point(lpd_string text, int64_t *at);
char *lpd_put_code_point(char *to, uint32_t code_point); /* 4 bytes at most */

#endif
