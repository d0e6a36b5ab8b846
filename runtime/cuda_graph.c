/* A region's launches as CUDA graphs, one for each of the last few dims, built when their kernels come a second time:
 * one call then starts them all, and those that need not wait for each other may run at once. Dims are told apart by
 * what they make of the launches: a prompt and the tokens after it, or two sizes of a batch, have each their own, and a
 * loop's counter that a region does not read is nothing to it. A node waits for all nodes before the barrier that
 * stands before its step; launches with a stage, of which there is one for all, wait for each other.
 *
 * Where a pointer, or a number that the dims decide, has changed since, the nodes that hold it are told. So new dims
 * for which there is no place, each token's of a cache that grows, take over the graph unused for longest of those with
 * their kernels. That may be running: what it was started with stays ("the modifications only affect future launches",
 * says NVIDIA's reference of cuGraphExecKernelNodeSetParams; the kernel stays the same, as older drivers ask for).
 *
 * Where the driver makes no graph, for want of memory most likely, its kernels are launched one by one from then on:
 * what is wrong with more than the graph those launches tell.
 *
 * Test: test/cuda/products.py, against the launches one by one. */
#include <string.h>

#include "cuda.h"

enum { kLeastNodes = 2, kMostNodes = 1 << 16 };

static const lpd_step *steps_of(const lpd_instance *instance, uint32_t entry, const lpd_region *region) {
  return &instance->model->steps[instance->model->entries[entry].first_step + region->first_step];
}

/* kMostNodes + 1: more. */
static int64_t count_nodes(const lpd_job *jobs, uint32_t count) {
  int64_t nodes = 0;
  for (uint32_t s = 0; s < count && nodes <= kMostNodes; ++s)
    if (jobs[s].threads > 0) nodes += jobs[s].rounds < kMostNodes ? jobs[s].rounds : kMostNodes + 1;
  return nodes;
}

/* --- which one --------------------------------------------------------------------------------------------------- */

/* Nodes and pointers; what was launched is known still. */
static void drop(lpd_instance *instance, lpd_cuda_graph *graph) {
  if (lpd_cuda_of(instance)->entered && graph->exec) {
    lpd_cu.cuStreamSynchronize(lpd_cuda_of(instance)->stream); /* it may be running */
    lpd_cu.cuGraphExecDestroy(graph->exec);
  }
  if (lpd_cuda_of(instance)->entered && graph->graph) lpd_cu.cuGraphDestroy(graph->graph);
  lpd_give(&instance->alloc, graph->memory.data, graph->memory.bytes);
  *graph = (lpd_cuda_graph){.key = graph->key, .last_used = graph->last_used};
}

static int give_up(lpd_instance *instance, lpd_cuda_graph *graph) {
  drop(instance, graph);
  graph->refused = 1;
  return 0;
}

void lpd_cuda_drop_graphs(lpd_instance *instance, lpd_cuda_graphs *graphs) {
  for (int i = 0; i < LPD_CUDA_GRAPHS; ++i) {
    drop(instance, &graphs->graphs[i]);
    lpd_release(instance, &graphs->graphs[i].key, LPD_ON_HOST);
  }
}

/* All that the dims decide of the launches: what nodes there are and which kernels they have, of each step a
 * kNodeWords, then the numbers that those are told. */
typedef struct {
  int64_t *words, bytes, node_bytes;
} launch_key;
enum { kNodeWords = 3, kNumberWords = LPD_CUDA_KEY_WORDS - kNodeWords }; /* the latter beside a step's integers */

static launch_key make_key(const lpd_job *jobs, const lpd_cuda_launch *launches, uint32_t count, int64_t *words) {
  int64_t *next = words;
  for (uint32_t s = 0; s < count; ++s) {
    const int runs = jobs[s].threads > 0;
    *next++ = runs ? (int64_t)(intptr_t)launches[s].function : 0;
    *next++ = runs ? jobs[s].rounds : 0;
    *next++ = runs && launches[s].stage_each > 0;
  }
  const int64_t node_bytes = (next - words) * (int64_t)sizeof *words;
  for (uint32_t s = 0; s < count; ++s) {
    if (jobs[s].threads == 0) continue;
    *next++ = jobs[s].tasks_each;
    *next++ = launches[s].stage_each;
    for (uint32_t i = 0; i < launches[s].integers; ++i) *next++ = jobs[s].frame.integers[i];
  }
  return (launch_key){words, (next - words) * (int64_t)sizeof *words, node_bytes};
}

/* Of those whose keys are as this one in so many bytes, the one unused for longest. */
static lpd_cuda_graph *oldest_like(lpd_cuda_graphs *graphs, const launch_key *key, int64_t bytes) {
  lpd_cuda_graph *oldest = NULL;
  for (lpd_cuda_graph *graph = graphs->graphs; graph < graphs->graphs + LPD_CUDA_GRAPHS; ++graph) {
    if (graph->key.bytes != key->bytes || memcmp(graph->key.data, key->words, (size_t)bytes) != 0) continue;
    if (!oldest || graph->last_used < oldest->last_used) oldest = graph;
  }
  return oldest;
}

/* One that was never used, if there is one left. */
static lpd_cuda_graph *oldest_of_all(lpd_cuda_graphs *graphs) {
  lpd_cuda_graph *oldest = graphs->graphs;
  for (int i = 1; i < LPD_CUDA_GRAPHS; ++i)
    if (graphs->graphs[i].last_used < oldest->last_used) oldest = &graphs->graphs[i];
  return oldest;
}

/* For new dims: a place that is free; else one with the same nodes; else whichever was unused for longest. `alike`: one
 * with the same nodes, or NULL. NULL: there is no memory. */
static lpd_cuda_graph *make_room(lpd_instance *instance, lpd_cuda_graphs *graphs, const launch_key *key,
                                 lpd_cuda_graph *alike) {
  lpd_cuda_graph *place = oldest_of_all(graphs);
  const int refused = alike && alike->refused;
  if (place->key.data && alike)
    place = alike;
  else
    drop(instance, place);
  lpd_release(instance, &place->key, LPD_ON_HOST);
  void *copy = lpd_take(&instance->alloc, key->bytes);
  if (!copy) return NULL;
  place->key = (lpd_block){memcpy(copy, key->words, (size_t)key->bytes), key->bytes};
  place->refused = refused;
  return place;
}

lpd_status lpd_cuda_find_graph(lpd_instance *instance, uint32_t entry, const lpd_region *region, lpd_cuda_graph **out) {
  const lpd_cuda_instance *own = lpd_cuda_of(instance);
  lpd_cuda_graphs *graphs = &own->plans[entry].graphs[region - instance->plans[entry].regions];
  const lpd_job *jobs = instance->plans[entry].jobs + region->first_step;
  int came_before = 1;
  if (!graphs->current || graphs->dims_version != region->dims_version) {
    const lpd_cuda_launch *launches = own->plans[entry].launches + region->first_step;
    const launch_key key = make_key(jobs, launches, region->step_count, own->key);
    lpd_cuda_graph *found = oldest_like(graphs, &key, key.bytes), *alike = oldest_like(graphs, &key, key.node_bytes);
    came_before = alike != NULL;
    graphs->current = found ? found : make_room(instance, graphs, &key, alike);
    if (!graphs->current) return lpd_fail(instance, LPD_OUT_OF_MEMORY, "no memory for what tells graphs apart");
    graphs->dims_version = region->dims_version;
  }
  graphs->current->last_used = ++graphs->looks;
  const int64_t nodes = count_nodes(jobs, region->step_count);
  const int fit = nodes >= kLeastNodes && nodes <= kMostNodes && !graphs->current->refused;
  *out = came_before && fit ? graphs->current : NULL;
  return LPD_OK;
}

/* --- building ---------------------------------------------------------------------------------------------------- */

/* The last nodes of the steps between two barriers: those that the next steps wait for, and those being added. */
typedef struct {
  CUgraphNode *before, *now;
  size_t before_count, now_count;
  int staged, owed; /* one of those being added has a stage; a barrier stands before the next step */
} builder;

static void pass_barrier(builder *b) {
  if (b->now_count == 0) return;
  CUgraphNode *spare = b->before;
  b->before = b->now;
  b->before_count = b->now_count;
  b->now = spare;
  b->now_count = 0;
  b->staged = 0;
}

/* Behind one node alone a kernel may be started before that is through: it waits itself, and its start costs less. */
static CUresult add_behind(CUgraph graph, const CUgraphNode *before, CUgraphNode node) {
  const CUgraphEdgeData early = {.from_port = CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC,
                                 .type = CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC};
  return lpd_cu.cuGraphAddDependencies_v2(graph, before, &node, &early, 1);
}

static CUresult add_node(const lpd_instance *instance, CUgraph graph, const CUgraphNode *before, size_t count,
                         const CUDA_KERNEL_NODE_PARAMS *parameters, CUgraphNode *node) {
  const int early = count == 1 && lpd_cuda_of(instance)->shared->starts_early;
  const CUresult result = lpd_cu.cuGraphAddKernelNode(node, graph, before, early ? 0 : count, parameters);
  return result || !early ? result : add_behind(graph, before, *node);
}

/* A step's rounds, one behind the other; the nodes are written to `nodes`. */
static CUresult add_rounds(lpd_instance *instance, const lpd_step *step, const lpd_job *job,
                           const lpd_cuda_launch *launch, CUgraph graph, builder *b, CUgraphNode *nodes) {
  for (int64_t round = 0; round < job->rounds; ++round) {
    lpd_cuda_tasks tasks;
    CUDA_KERNEL_NODE_PARAMS node;
    const CUgraphNode *waits_for = round > 0 ? &nodes[round - 1] : b->before;
    CUresult result = lpd_cuda_node(instance, step, job, launch, round, &tasks, &node);
    if (!result) result = add_node(instance, graph, waits_for, round > 0 ? 1 : b->before_count, &node, &nodes[round]);
    if (result) return result;
  }
  return CUDA_SUCCESS;
}

static CUresult add_nodes(lpd_instance *instance, uint32_t entry, const lpd_region *region, lpd_cuda_graph *graph,
                          builder *b) {
  const lpd_step *steps = steps_of(instance, entry, region);
  const lpd_job *jobs = instance->plans[entry].jobs + region->first_step;
  const lpd_cuda_launch *launches = lpd_cuda_of(instance)->plans[entry].launches + region->first_step;
  CUgraphNode *nodes = graph->nodes;
  for (uint32_t s = 0; s < region->step_count; ++s) {
    b->owed |= steps[s].flags & LPD_STEP_BARRIER_BEFORE;
    if (jobs[s].threads == 0) continue;
    const int staged = launches[s].stage_each > 0;
    if (b->owed || (staged && b->staged)) pass_barrier(b);
    const CUresult result = add_rounds(instance, &steps[s], &jobs[s], &launches[s], graph->graph, b, nodes);
    if (result) return result;
    nodes += jobs[s].rounds;
    b->now[b->now_count++] = nodes[-1];
    b->staged |= staged;
    b->owed = jobs[s].rounds > 1; /* rounds end with a barrier */
  }
  return CUDA_SUCCESS;
}

static CUresult take_tables(lpd_instance *instance, const lpd_step *steps, const lpd_job *jobs, uint32_t count,
                            lpd_cuda_graph *graph, builder *b) {
  const int64_t nodes = count_nodes(jobs, count);
  int64_t pointers = 0;
  for (uint32_t s = 0; s < count; ++s) pointers += steps[s].buffer_count;
  graph->memory.bytes = (nodes + pointers + 2 * (int64_t)count) * (int64_t)sizeof(void *) + graph->key.bytes;
  graph->memory.data = lpd_take(&instance->alloc, graph->memory.bytes);
  if (!graph->memory.data) return CUDA_ERROR_OUT_OF_MEMORY;
  graph->nodes = graph->memory.data;
  graph->pointers = (void **)(graph->nodes + nodes);
  b->before = (CUgraphNode *)(graph->pointers + pointers);
  b->now = b->before + count;
  graph->told = (int64_t *)(b->now + count);
  return CUDA_SUCCESS;
}

static void remember_pointers(const lpd_step *steps, const lpd_job *jobs, uint32_t count, void **pointers) {
  for (uint32_t s = 0; s < count; pointers += steps[s++].buffer_count)
    memcpy(pointers, jobs[s].frame.buffers, steps[s].buffer_count * sizeof *pointers);
}

static CUresult build(lpd_instance *instance, uint32_t entry, const lpd_region *region, lpd_cuda_graph *graph) {
  const lpd_step *steps = steps_of(instance, entry, region);
  const lpd_job *jobs = instance->plans[entry].jobs + region->first_step;
  builder b = {0};
  CUresult result = take_tables(instance, steps, jobs, region->step_count, graph, &b);
  if (!result) result = lpd_cu.cuGraphCreate(&graph->graph, 0);
  if (!result) result = add_nodes(instance, entry, region, graph, &b);
  if (!result) result = lpd_cu.cuGraphInstantiateWithFlags(&graph->exec, graph->graph, 0);
  if (result) return result;
  remember_pointers(steps, jobs, region->step_count, graph->pointers);
  memcpy(graph->told, graph->key.data, (size_t)graph->key.bytes);
  graph->stage = instance->stages.data;
  return CUDA_SUCCESS;
}

/* --- changing ---------------------------------------------------------------------------------------------------- */

static CUresult tell_step(lpd_instance *instance, const lpd_step *step, const lpd_job *job,
                          const lpd_cuda_launch *launch, CUgraphExec exec, const CUgraphNode *nodes) {
  CUresult result = CUDA_SUCCESS;
  for (int64_t round = 0; round < job->rounds && !result; ++round) {
    lpd_cuda_tasks tasks;
    CUDA_KERNEL_NODE_PARAMS node;
    result = lpd_cuda_node(instance, step, job, launch, round, &tasks, &node);
    if (!result) result = lpd_cu.cuGraphExecKernelNodeSetParams(exec, nodes[round], &node);
  }
  return result;
}

static CUresult tell_nodes(lpd_instance *instance, uint32_t entry, const lpd_region *region, lpd_cuda_graph *graph) {
  const lpd_step *steps = steps_of(instance, entry, region);
  const lpd_job *jobs = instance->plans[entry].jobs + region->first_step;
  const lpd_cuda_launch *launches = lpd_cuda_of(instance)->plans[entry].launches + region->first_step;
  const CUgraphNode *nodes = graph->nodes;
  void **pointers = graph->pointers;
  const int stage_moved = graph->stage != instance->stages.data;
  const int64_t *numbers = (const int64_t *)graph->key.data + kNodeWords * region->step_count;
  const int64_t *told = graph->told + kNodeWords * region->step_count;
  const int other_dims = memcmp(graph->told, graph->key.data, (size_t)graph->key.bytes) != 0;
  for (uint32_t s = 0; s < region->step_count; pointers += steps[s++].buffer_count) {
    if (jobs[s].threads == 0) continue;
    const int64_t words = kNumberWords + launches[s].integers;
    const size_t bytes = steps[s].buffer_count * sizeof *pointers;
    if ((stage_moved && launches[s].stage_each > 0) || memcmp(pointers, jobs[s].frame.buffers, bytes) != 0 ||
        (other_dims && memcmp(told, numbers, (size_t)words * sizeof *told) != 0)) {
      const CUresult result = tell_step(instance, &steps[s], &jobs[s], &launches[s], graph->exec, nodes);
      if (result) return result;
      memcpy(pointers, jobs[s].frame.buffers, bytes);
    }
    nodes += jobs[s].rounds;
    numbers += words, told += words;
  }
  graph->stage = instance->stages.data;
  if (other_dims) memcpy(graph->told, graph->key.data, (size_t)graph->key.bytes);
  return CUDA_SUCCESS;
}

int lpd_cuda_launch_graph(lpd_instance *instance, uint32_t entry, const lpd_region *region, lpd_cuda_graph *graph) {
  CUresult result = graph->exec ? tell_nodes(instance, entry, region, graph) : build(instance, entry, region, graph);
  if (!result) result = lpd_cu.cuGraphLaunch(graph->exec, lpd_cuda_of(instance)->stream);
  return result ? give_up(instance, graph) : 1;
}
