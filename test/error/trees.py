"""Tree ensembles of ai.onnx.ml that are no trees: cycles, children and features out of range, lists of different lengths."""
import onnx
from case import FINE, UNSUPPORTED, Case, model

ML = {"imports": '"ai.onnx.ml" : 3', "inputs": "float[N,3] x", "outputs": "float[a,b] y"}
LEAST, MOST = -(1 << 63), (1 << 63) - 1
# A split and two leaves.
STUMP = dict(n_targets=1, nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0], nodes_values=[0.5, 0.0, 0.0], nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
             nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0], target_treeids=[0, 0], target_nodeids=[1, 2], target_ids=[0, 0], target_weights=[1.0, 2.0])
TENSOR = dict(n_targets=1, tree_roots=[0], nodes_featureids=[0], nodes_truenodeids=[0], nodes_falsenodeids=[1], nodes_trueleafs=[1], nodes_falseleafs=[1], leaf_targetids=[0, 0])


def ensemble(name, line, operator="TreeEnsembleRegressor", exit=1, base=STUMP, version=3, **changes):
    message = model(f"[n] y = ai.onnx.ml.{operator}(x)", **{**ML, "imports": f'"ai.onnx.ml" : {version}'})
    values = {**base, **changes}
    for key, value in values.items():
        if value is not None:
            message.graph.node[0].attribute.append(onnx.helper.make_attribute(key, value))
    return Case(f"{operator}: {name}", message.SerializeToString(), [f"node 'n' ({operator}, opset {version}): {line}"] if line is not None else [], exit)


def floats(*values):
    return onnx.TensorProto(dims=[len(values)], data_type=1, float_data=values)


def modes(*values):
    return onnx.TensorProto(dims=[len(values)], data_type=2, int32_data=values)


def tensors(name, line, exit=1, **changes):
    return ensemble(name, line, "TreeEnsemble", exit, {**TENSOR, "nodes_splits": floats(0.5), "nodes_modes": modes(0), "leaf_weights": floats(1, 2)}, 5, **changes)


CHAIN = 200_000   # splits, each the false child of the one before
LINE = dict(n_targets=1, nodes_treeids=[0] * (2 * CHAIN + 1), nodes_nodeids=list(range(2 * CHAIN + 1)), nodes_featureids=[0] * (2 * CHAIN + 1), nodes_values=[0.5] * (2 * CHAIN + 1),
            nodes_modes=["BRANCH_LEQ"] * CHAIN + ["LEAF"] * (CHAIN + 1), nodes_truenodeids=[CHAIN + i for i in range(CHAIN)] + [0] * (CHAIN + 1),
            nodes_falsenodeids=[i + 1 for i in range(CHAIN - 1)] + [2 * CHAIN] + [0] * (CHAIN + 1), target_treeids=[0], target_nodeids=[2 * CHAIN], target_ids=[0], target_weights=[1.0])

RUNGS = 60   # both children of each split are the next: 2^60 ways from the root to the leaf
LADDER = dict(n_targets=1, nodes_treeids=[0] * (RUNGS + 1), nodes_nodeids=list(range(RUNGS + 1)), nodes_featureids=[0] * (RUNGS + 1), nodes_values=[0.5] * (RUNGS + 1),
              nodes_modes=["BRANCH_LEQ"] * RUNGS + ["LEAF"], nodes_truenodeids=[i + 1 for i in range(RUNGS)] + [0], nodes_falsenodeids=[i + 1 for i in range(RUNGS)] + [0],
              target_treeids=[0], target_nodeids=[RUNGS], target_ids=[0], target_weights=[1.0])

CASES = [
    ensemble("right", None, exit=FINE),
    ensemble("a node that is its own child", "", nodes_truenodeids=[0, 0, 0]),
    ensemble("children that are each other's", "", nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "BRANCH_LEQ"], nodes_truenodeids=[1, 2, 1], nodes_falsenodeids=[2, 2, 1]),
    ensemble("a child that leads back to the root", "", nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF"], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 2, 0]),
    ensemble("two parents of one leaf", None, exit=FINE, nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[1, 0, 0]),
    ensemble("a child that is not there", "tree 0 has no node 9", nodes_truenodeids=[9, 0, 0]),
    ensemble("a negative child", "tree 0 has no node -1", nodes_truenodeids=[-1, 0, 0]),
    ensemble("a child beyond 32 bits", "attribute 'nodes_truenodeids' has", nodes_truenodeids=[1 << 40, 0, 0]),
    ensemble("the least integer as a child", "attribute 'nodes_falsenodeids' has", nodes_falsenodeids=[LEAST, 0, 0]),
    ensemble("a feature that is not there", "", nodes_featureids=[3, 0, 0]),
    ensemble("a negative feature", "", nodes_featureids=[-1, 0, 0]),
    ensemble("feature 2^31 - 1", "", nodes_featureids=[2**31 - 1, 0, 0]),
    ensemble("feature 2^63 - 1", "", nodes_featureids=[MOST, 0, 0]),
    ensemble("a node twice", "node 1 of tree 0 is there twice", nodes_nodeids=[0, 1, 1]),
    ensemble("fewer modes than nodes", "", nodes_modes=["BRANCH_LEQ", "LEAF"]),
    ensemble("fewer thresholds than nodes", "", nodes_values=[0.5]),
    ensemble("fewer children than nodes", "", nodes_truenodeids=[1]),
    ensemble("no features", "", nodes_featureids=None),
    ensemble("an unknown mode", "node mode 'BRANCH_MAYBE' is unknown", nodes_modes=["BRANCH_MAYBE", "LEAF", "LEAF"]),
    ensemble("no nodes", "", nodes_treeids=None, nodes_nodeids=None, nodes_featureids=None, nodes_values=None, nodes_modes=None, nodes_truenodeids=None, nodes_falsenodeids=None,
             target_treeids=None, target_nodeids=None, target_ids=None, target_weights=None),
    ensemble("a weight of a node that is not there", "", target_nodeids=[1, 7]),
    ensemble("a weight of a tree that is not there", "", target_treeids=[0, 9]),
    ensemble("a weight of a split", None, exit=FINE, target_nodeids=[0, 2]),
    ensemble("a target that is not there", "", target_ids=[0, 5]),
    ensemble("a negative target", "", target_ids=[0, -1]),
    ensemble("fewer weights than targets", "", target_weights=[1.0]),
    ensemble("no targets", "", n_targets=0),
    ensemble("-1 targets", "", n_targets=-1),
    ensemble("2^62 targets", "", n_targets=1 << 62),
    ensemble("2^31 targets", "", n_targets=1 << 31),
    ensemble("three base values for one target", "", base_values=[1.0, 2.0, 3.0]),
    ensemble("an unknown aggregate", "", aggregate_function="MEDIAN"),
    ensemble("an unknown transform", "", post_transform="TWIST"),
    ensemble("thresholds that are no numbers", None, exit=FINE, nodes_values=[float("nan"), float("inf"), float("-inf")]),
    ensemble("a chain of 200000 splits", None, base=LINE, exit=FINE),
    ensemble("a chain that bites its tail", "", base=LINE, nodes_falsenodeids=LINE["nodes_falsenodeids"][:CHAIN - 1] + [0] + [0] * (CHAIN + 1)),
    ensemble("a ladder of 60 splits", None, exit=FINE, base=LADDER),

    tensors("right", None, exit=FINE),
    tensors("a root that is not there", "", tree_roots=[7]),
    tensors("a negative root", "", tree_roots=[-1]),
    tensors("the same root a thousand times", None, exit=FINE, tree_roots=[0] * 1000),
    tensors("no roots", "", tree_roots=None),
    tensors("a split that is its own child", "", nodes_trueleafs=[0]),
    tensors("a leaf that is not there", "", nodes_falsenodeids=[99]),
    tensors("a negative leaf", "", nodes_falsenodeids=[-5]),
    tensors("a child beyond 64 bits of anything", "", nodes_truenodeids=[MOST]),
    tensors("a target that is not there", "", leaf_targetids=[0, 8]),
    tensors("a feature that is not there", "", nodes_featureids=[1000]),
    tensors("an unknown mode", "", nodes_modes=modes(77)),
    tensors("more thresholds than splits", "", nodes_splits=floats(1, 2, 3)),
    tensors("an unknown aggregate", "", aggregate_function=99),
    tensors("a cycle of two", "", nodes_featureids=[0, 0], nodes_splits=floats(1, 2), nodes_modes=modes(0, 0), nodes_truenodeids=[1, 0], nodes_falsenodeids=[1, 1], nodes_trueleafs=[0, 0], nodes_falseleafs=[1, 1]),
    tensors("a member set that does not end", None, exit=FINE, nodes_modes=modes(6), membership_values=floats(1, 2)),
]
