/* A region's launches as a CUDA graph, built when they come a second time with the same dims: one call then starts them
 * all, and those that need not wait for each other may run at once. A node waits for all nodes before the barrier that
 * stands before its step; launches with a stage, of which there is one for all, wait for each other. When a pointer has
 * changed since, the nodes that hold it are told.
 *
 * Test: test/cuda/products.py, against the launches one by one. */
#include <string.h>

#include "cuda.h"

enum { kLeastNodes = 2, kMostNodes = 1 << 16 };

static lpd_cuda_graph *graph_of(const lpd_instance *instance, uint32_t entry, const lpd_region *region) {
  return &lpd_cuda_of(instance)->plans[entry].graphs[region - instance->plans[entry].regions];
}

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

int lpd_cuda_wants_graph(const lpd_instance *instance, uint32_t entry, const lpd_region *region) {
  lpd_cuda_graph *graph = graph_of(instance, entry, region);
  if (graph->launched_version != region->dims_version) {
    graph->launched_version = region->dims_version;
    return 0;
  }
  const int64_t nodes = count_nodes(instance->plans[entry].jobs + region->first_step, region->step_count);
  return nodes >= kLeastNodes && nodes <= kMostNodes;
}

void lpd_cuda_drop_graph(lpd_instance *instance, lpd_cuda_graph *graph) {
  const int entered = lpd_cuda_of(instance)->entered;
  if (entered && graph->exec) lpd_cu.cuGraphExecDestroy(graph->exec);
  if (entered && graph->graph) lpd_cu.cuGraphDestroy(graph->graph);
  lpd_give(&instance->alloc, graph->memory.data, graph->memory.bytes);
  *graph = (lpd_cuda_graph){.launched_version = graph->launched_version};
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

static lpd_status take_tables(lpd_instance *instance, const lpd_step *steps, const lpd_job *jobs, uint32_t count,
                              lpd_cuda_graph *graph, builder *b) {
  const int64_t nodes = count_nodes(jobs, count);
  int64_t pointers = 0;
  for (uint32_t s = 0; s < count; ++s) pointers += steps[s].buffer_count;
  graph->memory.bytes = (nodes + pointers + 2 * (int64_t)count) * (int64_t)sizeof(void *);
  graph->memory.data = lpd_take(&instance->alloc, graph->memory.bytes);
  if (!graph->memory.data)
    return lpd_fail(instance, LPD_OUT_OF_MEMORY, "no memory for a graph of %lld kernels", (long long)nodes);
  graph->nodes = graph->memory.data;
  graph->pointers = (void **)(graph->nodes + nodes);
  b->before = (CUgraphNode *)(graph->pointers + pointers);
  b->now = b->before + count;
  return LPD_OK;
}

static void remember_pointers(const lpd_step *steps, const lpd_job *jobs, uint32_t count, void **pointers) {
  for (uint32_t s = 0; s < count; pointers += steps[s++].buffer_count)
    memcpy(pointers, jobs[s].frame.buffers, steps[s].buffer_count * sizeof *pointers);
}

static lpd_status build(lpd_instance *instance, uint32_t entry, const lpd_region *region, lpd_cuda_graph *graph) {
  const lpd_step *steps = steps_of(instance, entry, region);
  const lpd_job *jobs = instance->plans[entry].jobs + region->first_step;
  builder b = {0};
  const lpd_status status = take_tables(instance, steps, jobs, region->step_count, graph, &b);
  if (status) return status;
  CUresult result = lpd_cu.cuGraphCreate(&graph->graph, 0);
  if (!result) result = add_nodes(instance, entry, region, graph, &b);
  if (!result) result = lpd_cu.cuGraphInstantiateWithFlags(&graph->exec, graph->graph, 0);
  remember_pointers(steps, jobs, region->step_count, graph->pointers);
  graph->stage = instance->stages.data;
  graph->dims_version = region->dims_version;
  return lpd_cuda_check(instance, result, "making a graph of the kernels");
}

/* --- changing ---------------------------------------------------------------------------------------------------- */

static CUresult tell_nodes(lpd_instance *instance, uint32_t entry, const lpd_region *region, lpd_cuda_graph *graph) {
  const lpd_step *steps = steps_of(instance, entry, region);
  const lpd_job *jobs = instance->plans[entry].jobs + region->first_step;
  const lpd_cuda_launch *launches = lpd_cuda_of(instance)->plans[entry].launches + region->first_step;
  CUgraphNode *nodes = graph->nodes;
  void **pointers = graph->pointers;
  for (uint32_t s = 0; s < region->step_count; pointers += steps[s++].buffer_count) {
    if (jobs[s].threads == 0) continue;
    const size_t bytes = steps[s].buffer_count * sizeof *pointers;
    const int changed = memcmp(pointers, jobs[s].frame.buffers, bytes) != 0;
    for (int64_t round = 0; changed && round < jobs[s].rounds; ++round) {
      lpd_cuda_tasks tasks;
      CUDA_KERNEL_NODE_PARAMS node;
      CUresult result = lpd_cuda_node(instance, &steps[s], &jobs[s], &launches[s], round, &tasks, &node);
      if (!result) result = lpd_cu.cuGraphExecKernelNodeSetParams(graph->exec, nodes[round], &node);
      if (result) return result;
    }
    if (changed) memcpy(pointers, jobs[s].frame.buffers, bytes);
    nodes += jobs[s].rounds;
  }
  return CUDA_SUCCESS;
}

lpd_status lpd_cuda_launch_graph(lpd_instance *instance, uint32_t entry, const lpd_region *region) {
  lpd_cuda_graph *graph = graph_of(instance, entry, region);
  lpd_status status = LPD_OK;
  if (!graph->exec || graph->dims_version != region->dims_version || graph->stage != instance->stages.data) {
    lpd_cuda_drop_graph(instance, graph);
    if ((status = build(instance, entry, region, graph))) lpd_cuda_drop_graph(instance, graph);
  } else {
    status = lpd_cuda_check(instance, tell_nodes(instance, entry, region, graph), "telling a graph of new addresses");
  }
  if (status) return status;
  return lpd_cuda_check(instance, lpd_cu.cuGraphLaunch(graph->exec, lpd_cuda_of(instance)->stream),
                        "starting a graph of kernels");
}
