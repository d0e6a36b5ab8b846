/* Kernel steps as launches in the instance's stream, where each begins when the one before is done. Kernels without
 * threads of their own are given one for each task, in blocks of LPD_BLOCK_THREADS; with a stage, no more threads than
 * have room for theirs, and each takes several tasks. */
#include "cuda.h"

enum { kMostStage = 64 << 20, kMostBlocks = INT32_MAX, kStageAlignment = 16 };

/* --- preparing --------------------------------------------------------------------------------------------------- */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* How many threads, or blocks that do a task each, share the stage. */
static int64_t sharers(int64_t tasks, int64_t stage_each) {
  if (stage_each == 0) return tasks;
  const int64_t room = kMostStage / stage_each;
  return least(tasks, room > 1 ? room : 1);
}

static void shape_launch(lpd_cuda_launch *launch, const lpd_device_kernel *kernel, int64_t tasks, int multiprocessors) {
  const int64_t workers = sharers(kernel->persistent ? least(tasks, multiprocessors) : tasks, launch->stage_each);
  launch->shared_bytes = (unsigned)kernel->shared_bytes;
  if (kernel->threads > 0) {
    launch->block = kernel->threads;
    launch->grid = (unsigned)least(workers, kMostBlocks);
    return;
  }
  const int staged = launch->stage_each > 0;
  launch->block = staged && workers < LPD_BLOCK_THREADS ? (unsigned)workers : LPD_BLOCK_THREADS;
  launch->grid = (unsigned)least(
      staged ? workers / launch->block : workers / LPD_BLOCK_THREADS + (workers % LPD_BLOCK_THREADS != 0), kMostBlocks);
}

lpd_status lpd_cuda_prepare_region(lpd_instance *instance, uint32_t entry, lpd_region *region) {
  const lpd_cuda_instance *own = lpd_cuda_of(instance);
  const lpd_model *model = instance->model;
  int64_t most = 0;
  for (uint32_t s = region->first_step; s < region->first_step + region->step_count; ++s) {
    const lpd_job *job = &instance->plans[entry].jobs[s];
    if (job->threads == 0) continue;
    const lpd_variant *variant =
        lpd_chosen_variant(model, instance->dims, &model->steps[model->entries[entry].first_step + s]);
    const lpd_device_kernel *kernel = &model->device_code->kernels[variant->kernel];
    lpd_cuda_launch *launch = &own->plans[entry].launches[s];
    const int64_t stage = lpd_slot_or(instance->dims, variant->stage_bytes, 0);
    if (stage < 0 || stage > INT64_MAX / 2)
      return lpd_fail(instance, LPD_LIMIT, "the workspaces' size overflows for these input shapes");
    launch->function = own->shared->functions[variant->kernel];
    launch->stage_each = (stage + kStageAlignment - 1) & -(int64_t)kStageAlignment;
    launch->integers = variant->integer_count;
    launch->maps = &model->device_code->maps[kernel->first_map];
    launch->map_count = kernel->map_count;
    if (kernel->map_count > 0 && !lpd_cu.cuTensorMapEncodeTiled)
      return lpd_fail(instance, LPD_DRIVER_TOO_OLD,
                      "the CUDA driver has no call cuTensorMapEncodeTiled, which kernels for %s need",
                      own->shared->image->arch);
    shape_launch(launch, kernel, job->tasks_each, own->shared->multiprocessors);
    const int64_t workers = (int64_t)launch->grid * (kernel->threads > 0 ? 1 : launch->block);
    if (launch->stage_each > 0 && workers * launch->stage_each > most) most = workers * launch->stage_each;
  }
  return lpd_provide_stages(instance, most, 1);
}

/* --- launching --------------------------------------------------------------------------------------------------- */

CUresult lpd_cuda_node(lpd_instance *instance, const lpd_step *step, const lpd_job *job, const lpd_cuda_launch *launch,
                       int64_t round, lpd_cuda_tasks *tasks, CUDA_KERNEL_NODE_PARAMS *node) {
  void **parameters = lpd_cuda_of(instance)->parameters, **next = parameters;
  tasks->begin = round * job->tasks_each;
  tasks->end = (round + 1) * job->tasks_each;
  tasks->stage = instance->stages.data;
  for (uint32_t b = 0; b < step->buffer_count; ++b) *next++ = (void *)&job->frame.buffers[b];
  *next++ = &tasks->begin;
  *next++ = &tasks->end;
  *next++ = &tasks->stage;
  *next++ = (void *)&launch->stage_each;
  for (uint32_t i = 0; i < launch->integers; ++i) *next++ = (void *)&job->frame.integers[i];
  for (uint32_t m = 0; m < launch->map_count; ++m) *next++ = &tasks->maps[m];
  *node = (CUDA_KERNEL_NODE_PARAMS){.func = launch->function,
                                    .grid = {launch->grid, 1, 1},
                                    .block = {launch->block, 1, 1},
                                    .shared_bytes = launch->shared_bytes,
                                    .parameters = parameters};
  return lpd_cuda_encode_maps(launch, &job->frame, tasks->maps);
}

static lpd_status launch_job(lpd_instance *instance, const lpd_step *step, const lpd_job *job,
                             const lpd_cuda_launch *launch) {
  const CUstream stream = lpd_cuda_of(instance)->stream;
  CUresult result = CUDA_SUCCESS;
  for (int64_t round = 0; job->threads > 0 && round < job->rounds && !result; ++round) {
    lpd_cuda_tasks tasks;
    CUDA_KERNEL_NODE_PARAMS node;
    result = lpd_cuda_node(instance, step, job, launch, round, &tasks, &node);
    if (result) break;
    result = lpd_cu.cuLaunchKernel(node.func, node.grid[0], 1, 1, node.block[0], 1, 1, node.shared_bytes, stream,
                                   node.parameters, NULL);
  }
  return lpd_cuda_check(instance, result, step->origin);
}

static lpd_status make_events(lpd_instance *instance, uint32_t count) {
  lpd_cuda_instance *own = lpd_cuda_of(instance);
  while (own->event_count < count) {
    const CUresult result = lpd_cu.cuEventCreate(&own->events[own->event_count], 0);
    if (result) return lpd_cuda_fail(instance, result, "making events");
    ++own->event_count;
  }
  return LPD_OK;
}

/* Steps whose condition does not hold take none, whatever lies between their events. */
static lpd_status add_times(lpd_instance *instance, const lpd_job *jobs, int64_t *nanoseconds, uint32_t count) {
  const lpd_cuda_instance *own = lpd_cuda_of(instance);
  CUresult result = lpd_cu.cuStreamSynchronize(own->stream);
  for (uint32_t s = 0; s < count && !result; ++s) {
    if (jobs[s].threads == 0) continue;
    float milliseconds = 0;
    result = lpd_cu.cuEventElapsedTime(&milliseconds, own->events[s], own->events[s + 1]);
    nanoseconds[s] += (int64_t)((double)milliseconds * 1e6);
  }
  return lpd_cuda_check(instance, result, "timing the steps");
}

/* One by one; when profiling, each between two events. */
static lpd_status launch_all(lpd_instance *instance, uint32_t entry, const lpd_region *region,
                             const volatile int *cancel) {
  const lpd_cuda_instance *own = lpd_cuda_of(instance);
  const lpd_plan *plan = &instance->plans[entry];
  const lpd_step *steps = &instance->model->steps[instance->model->entries[entry].first_step];
  const int profiled = instance->profiling;
  lpd_status status = profiled ? make_events(instance, region->step_count + 1) : LPD_OK;
  for (uint32_t i = 0; i < region->step_count && !status; ++i) {
    const uint32_t s = region->first_step + i;
    if (cancel && *cancel) return lpd_fail(instance, LPD_CANCELLED, "cancelled");
    if (profiled)
      status = lpd_cuda_check(instance, lpd_cu.cuEventRecord(own->events[i], own->stream), "timing the steps");
    if (!status) status = launch_job(instance, &steps[s], &plan->jobs[s], &own->plans[entry].launches[s]);
  }
  if (status || !profiled) return status;
  status =
      lpd_cuda_check(instance, lpd_cu.cuEventRecord(own->events[region->step_count], own->stream), "timing the steps");
  return status ? status
                : add_times(instance, plan->jobs + region->first_step, plan->nanoseconds + region->first_step,
                            region->step_count);
}

lpd_status lpd_cuda_run_region(lpd_instance *instance, uint32_t entry, lpd_region *region, const volatile int *cancel) {
  if (cancel && *cancel) return lpd_fail(instance, LPD_CANCELLED, "cancelled");
  lpd_cuda_graph *graph = NULL;
  const lpd_status status = instance->profiling ? LPD_OK : lpd_cuda_find_graph(instance, entry, region, &graph);
  if (status) return status;
  if (graph && lpd_cuda_launch_graph(instance, entry, region, graph)) return LPD_OK;
  return launch_all(instance, entry, region, cancel);
}
