/* Sums over ranks in the memory of CUDA devices, by NCCL, which is looked for when it is wanted. */
#ifndef LAPIDARY_NCCL_REDUCER_H
#define LAPIDARY_NCCL_REDUCER_H

#include "tools/reducer_library.h"

typedef struct {
  char bytes[128];
} lapidary_nccl_id; /* ncclUniqueId */

/* Finds the libraries; with an id, fills it. All these give NULL or what is wrong, in one line. */
const char* lapidary_nccl_open(lapidary_nccl_id*);
/* Called by all ranks at once, with the id of one. */
const char* lapidary_nccl_join(const lapidary_nccl_id*, int device, int rank, int ranks, lpd_reducer*);
void lapidary_nccl_leave(void);

#endif
