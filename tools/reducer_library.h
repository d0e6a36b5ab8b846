/* What a library for `lapidary train --data-parallel` exports: how sums are made among processes that run the same
 * command. lapidary_mpi.so, beside lapidary, is one (mpi_reducer.c); --reducer names another. */
#ifndef LAPIDARY_REDUCER_LIBRARY_H
#define LAPIDARY_REDUCER_LIBRARY_H

#include "runtime/lapidary.h"

#define LAPIDARY_REDUCER_VERSION 1

typedef struct {
  int32_t version;              /* LAPIDARY_REDUCER_VERSION */
  lpd_reducer reducer;          /* of this process, in the host's memory */
  int32_t local_rank, reserved; /* among the processes on this machine: which of its devices this one's is */
  /* A reducer in the memory of a CUDA device, made by all processes at once; NULL, or why there is none. Nobody else's
   * calls may be under way. The pointer may be NULL. */
  const char* (*on_device)(void* self, int device, lpd_reducer*);
  void (*leave)(void* self);           /* the last call, when all processes are done */
  void (*abort)(void* self, int code); /* ends all of them with this exit code, whatever they are in; does not return */
} lapidary_reducer_library;

/* Once in a process. NULL, or what is wrong, in one line. */
typedef const char* lapidary_join_function(lapidary_reducer_library*);
#define LAPIDARY_JOIN_SYMBOL "lapidary_join"

#endif
