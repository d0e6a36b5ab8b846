// Graphs of kernels. A launch runs the nodes in an order that the dependencies allow: of those that are ready the first
// added, or the last, in turn, so that a dependency that is missing shows.
#include "test/cuda/driver/driver.h"

namespace standin {
namespace {

struct Node {
  Launch launch;
  std::vector<size_t> waits_for;
};
struct Graph {
  std::vector<Node> nodes;
};
struct NodeHandle {
  Graph* graph;
  size_t index;
};
struct Executable {
  Graph* made_from;
  std::vector<Node> nodes;
  unsigned launches = 0;
};
struct NodeParameters {  // the first version of CUDA_KERNEL_NODE_PARAMS
  Function* function;
  unsigned grid[3], block[3], shared_bytes;
  void **parameters, **extra;
};

std::map<Graph*, std::vector<NodeHandle*>> graphs;
std::set<Executable*> executables;

int run_nodes(const std::vector<Node>& nodes, bool last_first) {
  std::vector<bool> done(nodes.size());
  for (size_t left = nodes.size(); left > 0; --left) {
    size_t next = nodes.size();
    for (size_t i = 0; i < nodes.size(); ++i) {
      bool ready = !done[i] && (last_first || next == nodes.size());
      for (size_t before : nodes[i].waits_for) ready = ready && done[before];
      if (ready) next = i;
    }
    done[next] = true;
    if (const int status = run_launch(nodes[next].launch)) return status;
  }
  return kSuccess;
}

}  // namespace

size_t live_graphs() { return graphs.size() + executables.size(); }

}  // namespace standin

using namespace standin;

EXPORT int cuGraphCreate(Graph** out, unsigned flags) {
  STANDIN_CALL("cuGraphCreate", kContext);
  if (flags) return kInvalidValue;
  graphs[*out = new Graph];
  return kSuccess;
}

EXPORT int cuGraphDestroy(Graph* graph) {
  STANDIN_CALL("cuGraphDestroy", kContext);
  const auto found = graphs.find(graph);
  if (found == graphs.end()) return kInvalidHandle;
  for (NodeHandle* node : found->second) delete node;
  graphs.erase(found);
  delete graph;
  return kSuccess;
}

EXPORT int cuGraphAddKernelNode(NodeHandle** out, Graph* graph, NodeHandle* const* dependencies, size_t count,
                                const NodeParameters* given) {
  STANDIN_CALL("cuGraphAddKernelNode", kContext);
  if (!graphs.count(graph)) return kInvalidHandle;
  Node node;
  for (size_t i = 0; i < count; ++i) {
    if (dependencies[i]->graph != graph) return kInvalidValue;
    node.waits_for.push_back(dependencies[i]->index);
  }
  const int status = check_launch(given->function, given->grid, given->block, given->shared_bytes, given->parameters,
                                  given->extra, &node.launch);
  if (status) return status;
  *out = new NodeHandle{graph, graph->nodes.size()};
  graphs[graph].push_back(*out);
  graph->nodes.push_back(std::move(node));
  return kSuccess;
}

// Edges may be programmatic from a kernel to a kernel; run here, what they allow to overlap does not.
EXPORT int cuGraphAddDependencies_v2(Graph* graph, NodeHandle* const* from, NodeHandle* const* to,
                                     const unsigned char (*edges)[8], size_t count) {
  STANDIN_CALL("cuGraphAddDependencies_v2", kContext);
  if (!graphs.count(graph)) return kInvalidHandle;
  for (size_t i = 0; i < count; ++i) {
    const bool early = edges && edges[i][0] == 1 && edges[i][1] == 0 && edges[i][2] == 1;
    if (edges && !early) return kInvalidValue;
    if (early && machine().capability < 90) return kNotSupported;
    if (from[i]->graph != graph || to[i]->graph != graph) return kInvalidValue;
    Node& node = graph->nodes[to[i]->index];
    node.waits_for.push_back(from[i]->index);
    node.launch.early |= early;
  }
  return kSuccess;
}

EXPORT int cuGraphInstantiateWithFlags(Executable** out, Graph* graph, unsigned long long) {
  STANDIN_CALL("cuGraphInstantiateWithFlags", kContext);
  if (!graphs.count(graph)) return kInvalidHandle;
  executables.insert(*out = new Executable{graph, graph->nodes});
  return kSuccess;
}

EXPORT int cuGraphExecDestroy(Executable* executable) {
  STANDIN_CALL("cuGraphExecDestroy", kContext);
  if (!executables.count(executable)) return kInvalidHandle;
  const int status = run_all_streams();
  executables.erase(executable);
  delete executable;
  return status;
}

// Any of the parameters may change but the kernel, which older drivers do not let change.
EXPORT int cuGraphExecKernelNodeSetParams(Executable* executable, NodeHandle* node, const NodeParameters* given) {
  STANDIN_CALL("cuGraphExecKernelNodeSetParams", kContext);
  if (!executables.count(executable) || !graphs.count(node->graph) || node->graph != executable->made_from)
    return kInvalidHandle;
  Launch& launch = executable->nodes[node->index].launch;
  if (given->function != launch.function) return kInvalidValue;
  return check_launch(given->function, given->grid, given->block, given->shared_bytes, given->parameters, given->extra,
                      &launch);
}

// What is started keeps the parameters that it had then.
EXPORT int cuGraphLaunch(Executable* executable, Stream* stream) {
  STANDIN_CALL("cuGraphLaunch", kContext);
  if (!executables.count(executable)) return kInvalidHandle;
  const bool last_first = executable->launches++ % 2;
  return enqueue(stream, [nodes = executable->nodes, last_first] { return run_nodes(nodes, last_first); });
}
