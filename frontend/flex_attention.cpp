// FlexAttention: attention with graphs of the model's own between its parts. Without any it is the composite that a
// kernel knows; else the parts are written one after the other and the graphs imported in place.
#include "frontend/importer.h"
#include "frontend/ops/heads.h"
#include "ir/composites.h"

namespace lapidary::frontend {

// What a graph of one input makes of x: of the same type.
Value* Importer::modified(Node& node, const Attributes& attributes, const char* modifier, Value* x, Scope& scope,
                          const Frame& frame) {
  const auto found = attributes.find(modifier);
  if (found == attributes.end()) return x;
  const GraphProto& graph = found->second->g();
  if (graph.input_size() != 1 || graph.output_size() != 1)
    fail("{} takes {} and yields {}, expected one of each", modifier, counted(graph.input_size(), "value"),
         graph.output_size());
  const Origin origin = node.build.origin;
  const Type before = x->type;
  Scope inner{scope.writer, &scope};
  inner.values[graph.input(0).name()] = x;
  Value* y = import_graph(graph, inner, frame).at(0).value;
  node.build.origin = origin;
  if (!y) fail("{} yields no tensor", modifier);
  if (y->type.dtype != before.dtype || y->type.rank() != before.rank())
    fail("{} makes {} of {}", modifier, to_string(y->type), to_string(before));
  for (size_t axis = 0; axis < before.shape.size(); ++axis)
    require_same(node, before.shape[axis], y->type.shape[axis], "extents before and after a modifier");
  return y;
}

Importer::Bindings Importer::import_flex_attention(Node& node, const Attributes& attributes, Scope& scope,
                                                   const Frame& frame) {
  GraphBuilder& build = node.build;
  const DType dtype = node.type(0).dtype;
  const DType precision = node.has("softmax_precision") ? node.dtype("softmax_precision")
                          : dtype == DType::F64         ? DType::F64
                                                        : DType::F32;
  if (!is_float(precision) || bit_width(precision) < 16) fail("softmax_precision is {}", name_of(precision));
  const DType inside = dtype == DType::F64 || precision == DType::F64 ? DType::F64 : DType::F32;
  constexpr const char* kOperands[] = {"Q", "K", "V"};
  for (int i = 0; i < 3; ++i) check_rank(node.input(i), 4, kOperands[i]);
  AttentionCall call{.q = build.convert(node.input(0), inside),
                     .k = build.convert(node.input(1), inside),
                     .v = build.convert(node.input(2), inside)};
  const Shape &q = call.q->type.shape, &k = call.k->type.shape, &v = call.v->type.shape;
  require_same(node, q[0], k[0], "batches of Q and K"), require_same(node, k[0], v[0], "batches of K and V");
  require_same(node, q[3], k[3], "head sizes of Q and K"), require_same(node, k[2], v[2], "lengths of K and V");
  require_same(node, k[1], v[1], "heads of K and V");
  const auto query_heads = value_of(q[1]), key_heads = value_of(k[1]);
  if (query_heads && key_heads && (*key_heads == 0 || *query_heads % *key_heads != 0))
    fail("{} heads of Q are not a multiple of {} of K", *query_heads, *key_heads);
  if (node.has("scale"))
    call.scale = node.number("scale");
  else
    set_scale(node, call);
  if (!attributes.contains("score_mod") && !attributes.contains("prob_mod"))
    return {build.convert(attend(node, call), dtype)};
  Value* scores = build.convert(composites::attention_scores(build, call.q, call.k, call.scale), precision);
  scores = build.convert(modified(node, attributes, "score_mod", scores, scope, frame), inside);
  Value* weights = build.convert(composites::softmax(build, scores, 3), precision);
  weights = build.convert(modified(node, attributes, "prob_mod", weights, scope, frame), inside);
  return {build.convert(composites::attention_values(build, weights, call.v), dtype)};
}

}  // namespace lapidary::frontend
