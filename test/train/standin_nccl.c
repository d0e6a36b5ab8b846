/* The part of NCCL that lapidary_mpi.so calls, on the stand-in libcuda: sums go through the host and MPI. At its end it
 * says how many it made. */
#include <dlfcn.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  char bytes[128];
} ncclUniqueId;

static const char kId[] = "the stand-in's";
static int sums;

static int call(const char* name, void* to, const void* from, size_t bytes, void* stream) {
  void* cuda = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  int (*copy)(void*, const void*, size_t, void*);
  int (*wait)(void*);
  *(void**)&copy = dlsym(cuda, name);
  *(void**)&wait = dlsym(cuda, "cuStreamSynchronize");
  return copy(to, from, bytes, stream) || wait(stream);
}

int ncclGetUniqueId(ncclUniqueId* id) {
  memcpy(id->bytes, kId, sizeof kId);
  return 0;
}

int ncclCommInitRank(void** comm, int ranks, ncclUniqueId id, int rank) {
  int own_rank, own_ranks;
  MPI_Comm_rank(MPI_COMM_WORLD, &own_rank);
  MPI_Comm_size(MPI_COMM_WORLD, &own_ranks);
  *comm = &sums;
  return rank != own_rank || ranks != own_ranks || strcmp(id.bytes, kId) != 0;
}

int ncclAllReduce(const void* from, void* to, size_t count, int type, int op, void* comm, void* stream) {
  const MPI_Datatype mpi_type = type == 7 ? MPI_FLOAT : type == 4 ? MPI_INT64_T : MPI_DATATYPE_NULL;
  const size_t bytes = count * (type == 7 ? 4 : 8);
  void* host = malloc(bytes);
  int failed = op != 0 || comm != &sums || mpi_type == MPI_DATATYPE_NULL ||
               call("cuMemcpyDtoHAsync_v2", host, from, bytes, stream) ||
               MPI_Allreduce(MPI_IN_PLACE, host, (int)count, mpi_type, MPI_SUM, MPI_COMM_WORLD) ||
               call("cuMemcpyHtoDAsync_v2", to, host, bytes, stream);
  free(host);
  ++sums;
  return failed;
}

int ncclCommDestroy(void* comm) {
  (void)comm;
  fprintf(stderr, "%d sums by NCCL\n", sums);
  return 0;
}
