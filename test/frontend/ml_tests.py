"""Operators of ai.onnx.ml, compiled, against ONNX Runtime.

    ml_tests.py --build BUILD [--only SUBSTRING]

A group is a model of many nodes over one input; each is compiled once and run by one and two threads on batches of
several sizes. Labels must be equal, scores within 1e-5 of the greatest of them (or as close as a case says). REFUSED
lists nodes that must be refused, and with which words. The last line is "N passed, N failed".
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from product import Product  # noqa: E402

DOMAIN = "ai.onnx.ml"
ELEMENT = {"f32": TensorProto.FLOAT, "f64": TensorProto.DOUBLE, "i64": TensorProto.INT64, "i32": TensorProto.INT32}
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
ROWS = (1, 3, 5, 21, 70)
NAN, INF = float("nan"), float("inf")


# --- models --------------------------------------------------------------------------------------------------------

class Group:
    """Nodes over one input x of some width (none: a vector) and element type."""

    def __init__(self, name, width, element="f32", opset=3, inputs=None):
        self.name, self.width, self.element, self.opset = name, width, element, opset
        self.nodes, self.outputs, self.labels, self.tolerance, self.theirs = [], [], {}, {}, []
        self.inputs = inputs  # of a batch size and a generator; None: normal ones

    def add(self, label, op, outputs=1, inputs=("x",), tolerance=1e-5, theirs={}, **attributes):
        """`theirs`: attributes that ONNX Runtime gets instead, where it reads them otherwise than ONNX's text says."""
        names = [f"o{len(self.outputs) + i}" for i in range(outputs)]
        attributes = {key: value for key, value in attributes.items() if value is not None}
        for nodes, given in ((self.nodes, attributes), (self.theirs, attributes | theirs)):
            nodes.append(helper.make_node(op, list(inputs), names, name=label, domain=DOMAIN, **given))
        for name in names:
            self.outputs.append(name)
            self.labels[name], self.tolerance[name] = label, tolerance
        return self

    def model(self, theirs=False):
        shape = ["N"] if self.width is None else ["N", self.width]
        x = helper.make_tensor_value_info("x", ELEMENT[self.element], shape)
        outputs = [onnx.ValueInfoProto(name=name) for name in self.outputs]
        graph = helper.make_graph(self.theirs if theirs else self.nodes, "g", [x], outputs)
        imports = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, self.opset)]
        return helper.make_model(graph, opset_imports=imports, ir_version=9)

    def batch(self, rows, rng):
        if self.inputs:
            return self.inputs(rows, rng)
        shape = (rows,) if self.width is None else (rows, self.width)
        kind = {"f32": np.float32, "f64": np.float64, "i64": np.int64, "i32": np.int32}[self.element]
        return (rng.standard_normal(shape) * (1 if self.element[0] == "f" else 4)).astype(kind)


def tensor(values, kind=np.float64):
    return onnx.numpy_helper.from_array(np.array(values, kind))


# --- trees ---------------------------------------------------------------------------------------------------------

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
VALUES = (-INF, -1.5, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.0, 1e-42, INF)


class Trees:
    """Random trees as lists of attributes. `leaf` gives what a leaf of a tree says: {target: weight}."""

    def __init__(self, rng, count, features, depth, leaf, modes=("BRANCH_LEQ",), missing=False, values=None, chain=False):
        self.rng, self.leaf, self.modes, self.missing, self.values = rng, leaf, modes, missing, values
        self.features, self.chain = features, chain
        self.nodes, self.weights = [], []
        for tree in range(count):
            self.next = 0
            self.grow(tree, depth)

    def grow(self, tree, depth):
        rng, node, row = self.rng, self.next, len(self.nodes)
        self.next += 1
        self.nodes.append(None)
        if depth == 0 or (node > 0 and not self.chain and rng.random() < 0.15):
            self.nodes[row] = (tree, node, 0, 0.0, "LEAF", 0, 0, 0)
            self.weights += [(tree, node, target, weight) for target, weight in self.leaf(tree, rng).items()]
            return node
        yes = self.grow(tree, depth - 1)
        no = self.grow(tree, 0 if self.chain else depth - 1)
        value = rng.choice(self.values) if self.values else np.float32(rng.standard_normal())
        self.nodes[row] = (tree, node, int(rng.integers(self.features)), float(value), str(rng.choice(self.modes)), yes, no,
                           int(self.missing and rng.random() < 0.5))
        return node

    def attributes(self, part, as_tensor=False):
        columns = list(zip(*self.nodes))
        names = ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids", "missing_value_tracks_true")
        result = {f"nodes_{name}": list(column) for name, column in zip(names, columns)}
        if not self.missing:
            del result["nodes_missing_value_tracks_true"]
        weights = zip(*self.weights)
        result |= {f"{part}_{name}": list(column) for name, column in zip(("treeids", "nodeids", "ids", "weights"), weights)}
        if as_tensor:
            for name in ("nodes_values", f"{part}_weights"):
                result[name + "_as_tensor"] = tensor(result.pop(name))
        return result


def one_target(targets, low=-1.0, high=1.0):
    return lambda tree, rng: {tree % targets: float(np.float32(rng.uniform(low, high)))}


def all_targets(targets, low=-1.0, high=1.0):
    return lambda tree, rng: {t: float(np.float32(rng.uniform(low, high))) for t in range(targets)}


def awkward(element):
    """Numbers that thresholds are equal to, infinities and NaN."""
    kind = np.float32 if element == "f32" else np.float64

    def batch(rows, rng):
        x = rng.choice(np.array(VALUES + (NAN, NAN), kind), (rows, 6))
        return np.where(rng.random(x.shape) < 0.3, rng.standard_normal(x.shape), x).astype(kind)
    return batch


def tree_groups(rng):
    for element in ("f32", "f64"):
        group = Group(f"modes {element}", 6, element, inputs=awkward(element))
        for modes, what in [*((((mode,), mode)) for mode in MODES), (MODES, "mixed")]:
            for missing in (False, True):
                trees = Trees(rng, 9, 6, 5, one_target(1), modes, missing, VALUES)
                group.add(f"{what} missing={missing}", "TreeEnsembleRegressor", n_targets=1, **trees.attributes("target"))
        if element == "f64":
            trees = Trees(rng, 9, 6, 5, one_target(2), MODES, True)
            for name, part, outputs, more in (("TreeEnsembleRegressor", "target", 1, {"n_targets": 2}),
                                              ("TreeEnsembleClassifier", "class", 2, {"classlabels_int64s": [0, 1, 2]})):
                group.add(f"{name} tensors", name, outputs, **more, **trees.attributes(part, True))
        yield group

    yield many_sizes(rng)

    group = Group("aggregates", 5)
    for aggregate in ("SUM", "AVERAGE", "MIN", "MAX"):
        for targets, leaf in ((1, one_target(1, 0.1, 0.9)), (2, one_target(2, 0.1, 0.4)), (3, all_targets(3, 0.1, 0.3)),
                              (3, lambda tree, rng: {int(rng.integers(3)): float(np.float32(rng.uniform(-2, 2)))})):
            trees = Trees(rng, 7, 5, 4, leaf).attributes("target")
            for base in (None, [0.05 * (i + 1) for i in range(targets)]):
                transform = TRANSFORMS[(len(group.nodes)) % 4]
                group.add(f"{aggregate} targets={targets} base={base} {transform}", "TreeEnsembleRegressor", n_targets=targets,
                          aggregate_function=aggregate, base_values=base, post_transform=transform, **trees)
    probable = Trees(rng, 1, 5, 3, all_targets(2, 0.1, 0.9)).attributes("target")
    group.add("PROBIT", "TreeEnsembleRegressor", n_targets=2, post_transform="PROBIT", **probable)
    yield group

    group = Group("integers", 4, "i64")
    trees = Trees(rng, 9, 4, 4, one_target(3), MODES).attributes("class")
    group.add("classifier", "TreeEnsembleClassifier", 2, classlabels_int64s=[7, -3, 5], **trees)
    yield group

    group = Group("classes", 5)
    for labels in ([0, 1, 2, 3], [4, 9, -2, 7]):
        for name, leaf in (("one", one_target(4)), ("all", all_targets(4)), ("some", one_target(3, -1, -0.5)),
                           ("any", lambda tree, rng: {int(rng.integers(4)): float(np.float32(rng.uniform(-1, 0.2)))})):
            trees = Trees(rng, 6, 5, 4, leaf).attributes("class")
            for transform in TRANSFORMS[:4]:
                base = [0.1, -0.2, 0.3, 0.05] if transform == "LOGISTIC" else None
                group.add(f"{labels} {name} {transform}", "TreeEnsembleClassifier", 2, classlabels_int64s=labels,
                          post_transform=transform, base_values=base, **trees)
    yield group

    group = Group("two classes", 5)
    for name, leaf in (("first, positive", lambda t, r: {0: float(r.uniform(0, 0.3))}),
                       ("first", lambda t, r: {0: float(r.uniform(-1, 1))}),
                       ("second, positive", lambda t, r: {1: float(r.uniform(0, 0.3))}),
                       ("second", lambda t, r: {1: float(r.uniform(-1, 1))}), ("both", all_targets(2))):
        trees = Trees(rng, 3, 5, 3, leaf).attributes("class")
        for base in (None, [0.1], [0.1, 0.25]):
            for transform in TRANSFORMS[:4]:
                group.add(f"{name} base={base} {transform}", "TreeEnsembleClassifier", 2, classlabels_int64s=[5, 9],
                          post_transform=transform, base_values=base, **trees)
    one = Trees(rng, 3, 5, 3, one_target(1)).attributes("class")
    for transform in TRANSFORMS[:4]:
        group.add(f"one class {transform}", "TreeEnsembleClassifier", 2, classlabels_int64s=[5], post_transform=transform, **one)
    yield group
    for element in ("f32", "f64"):
        yield by_index(rng, element, 6, awkward(element))
        kind = np.float32 if element == "f32" else np.float64  # ONNX Runtime cuts x to an integer for a test of membership
        yield by_index(rng, element, 7, lambda rows, rng, kind=kind:
                       np.where(rng.random((rows, 6)) < 0.1, NAN, rng.integers(-2, 9, (rows, 6))).astype(kind))


def many_sizes(rng):
    """Trees of every size that another kernel is for; lists of attributes short, and long enough to stay in the file."""
    group = Group("sizes", 40)
    sizes = (("stumps", 40, 1, {}), ("32 leaves", 20, 5, {}), ("64 leaves", 9, 6, {}), ("more leaves", 11, 8, {}),
             ("a leaf alone", 3, 0, {}), ("a chain", 5, 40, {"chain": True}), ("many", 900, 4, {}))
    for name, count, depth, more in sizes:
        for missing in (False, True):
            trees = Trees(rng, count, 40, depth, one_target(3), missing=missing, **more).attributes("class")
            group.add(f"{name} missing={missing}", "TreeEnsembleClassifier", 2, classlabels_int64s=[0, 1, 2], **trees)
    for targets in (3, 9, 17, 40):
        for depth in (4, 7):
            trees = Trees(rng, 12, 40, depth, all_targets(targets)).attributes("target")
            group.add(f"{targets} targets depth={depth}", "TreeEnsembleRegressor", n_targets=targets, **trees)
    wide = Trees(rng, 10, 40, 4, one_target(1)).attributes("target")
    wide["nodes_featureids"] = [39 if f % 2 else 2 for f in wide["nodes_featureids"]]
    group.add("two features", "TreeEnsembleRegressor", n_targets=1, **wide)

    def batch(rows, rng):
        x = rng.standard_normal((rows, 40)).astype(np.float32)
        x[rng.random(x.shape) < 0.1] = NAN
        return x
    group.inputs = batch
    return group


def by_index(rng, element, modes, inputs):
    kind = np.float32 if element == "f32" else np.float64
    group = Group(f"TreeEnsemble-5 {element}, {modes} modes", 6, element, 5, inputs)
    for aggregate in range(4):
        for transform in range(4):
            nodes, leaves, members, roots = [], [], [], []

            def grow(depth, rng=rng, nodes=nodes, leaves=leaves, members=members):
                if depth == 0:
                    leaves.append((int(rng.integers(2)), rng.uniform(0.1, 0.9)))
                    return len(leaves) - 1, 1
                row = len(nodes)
                nodes.append(None)
                mode = int(rng.integers(modes))
                if mode == 6:
                    members.extend([*rng.choice([-1.0, 0.0, 1.0, 2.0, 7.0], rng.integers(1, 6)), NAN])
                yes, yes_leaf = grow(depth - 1)
                no, no_leaf = grow(int(rng.integers(depth)))
                nodes[row] = (int(rng.integers(6)), mode, rng.choice(VALUES[1:-1]), yes, yes_leaf, no, no_leaf, int(rng.random() < 0.4))
                return row, 0
            for _ in range(5):
                roots.append(grow(4)[0])
            columns = [list(column) for column in zip(*nodes)]
            group.add(f"aggregate={aggregate} transform={transform}", "TreeEnsemble", tree_roots=roots, n_targets=2,
                      nodes_featureids=columns[0], nodes_modes=tensor(columns[1], np.uint8), nodes_splits=tensor(columns[2], kind),
                      nodes_truenodeids=columns[3], nodes_trueleafs=columns[4], nodes_falsenodeids=columns[5],
                      nodes_falseleafs=columns[6], nodes_missing_value_tracks_true=columns[7],
                      leaf_targetids=[leaf[0] for leaf in leaves], leaf_weights=tensor([leaf[1] for leaf in leaves], kind),
                      membership_values=tensor(members, kind) if members else None, aggregate_function=aggregate,
                      post_transform=transform, theirs={"post_transform": (0, 2, 1, 3)[transform]})  # its LOGISTIC is 1
    return group


# --- everything else -----------------------------------------------------------------------------------------------

def feature_groups():
    for element in ("f32", "f64", "i64", "i32"):
        for width in (5, None):
            group = Group(f"features {element} {'rows' if width else 'vector'}", width, element)
            group.add("Scaler", "Scaler", offset=[0.5], scale=[1.5])
            if width:
                group.add("Scaler, one each", "Scaler", offset=[0.5, -1, 2, 0.25, 3], scale=[1, 2, 3, 0.5, 0.1])
            for norm in ("MAX", "L1", "L2"):
                group.add(f"Normalizer {norm}", "Normalizer", norm=norm)
            if element == "f32":
                group.add("Binarizer", "Binarizer", threshold=0.25)
            if element != "i32":
                group.add("OneHotEncoder", "OneHotEncoder", cats_int64s=[-2, 0, 3, 1])
            if element == "f32":
                group.add("Imputer", "Imputer", imputed_value_floats=[7.0], replaced_value_float=0.0)
            if element == "i64":
                group.add("Imputer", "Imputer", imputed_value_int64s=[9], replaced_value_int64=0)
            group.add("FeatureVectorizer", "FeatureVectorizer", inputdimensions=[5]) if width else None
            yield group
    group = Group("missing values", 4, inputs=lambda rows, rng: rng.choice(np.array([NAN, 0, 1, -2], np.float32), (rows, 4)))
    group.add("Imputer NaN", "Imputer", imputed_value_floats=[1.0, 2.0, 3.0, 4.0], replaced_value_float=NAN)
    group.add("Imputer 1", "Imputer", imputed_value_floats=[9.0], replaced_value_float=1.0)
    group.add("LabelEncoder NaN", "LabelEncoder", keys_floats=[NAN, 1.0, -2.0], values_int64s=[1, 2, 3], default_int64=-9)
    group.add("LabelEncoder floats", "LabelEncoder", keys_floats=[0.0, 1.0], values_floats=[0.5, 1.5], default_float=-3.0)
    group.add("FeatureVectorizer cut and filled", "FeatureVectorizer", inputs=("x", "x"), inputdimensions=[2, 7])
    yield group
    group = Group("zero rows", 4, inputs=lambda rows, rng: np.where(rng.random((rows, 1)) < 0.5, 0, rng.standard_normal((rows, 4))).astype(np.float32))
    for norm in ("MAX", "L1", "L2"):
        group.add(f"Normalizer {norm}", "Normalizer", norm=norm)
    yield group
    group = Group("labels", 3, "i64")
    group.add("integers", "LabelEncoder", keys_int64s=[3, -1, 2, 0], values_int64s=[10, 20, 30, 40], default_int64=5)
    group.add("floats", "LabelEncoder", keys_int64s=[3, -1, 2, 0], values_floats=[1.0, 2.0, 3.0, 4.5])
    yield group
    group = Group("labels of NaN", 3, "f32", 4, lambda rows, rng: rng.choice(np.array([1, NAN, 3], np.float32), (rows, 3)))
    group.add("NaN", "LabelEncoder", keys_floats=[NAN, 1.0], values_int64s=[1, 2], default_int64=-9)
    yield group
    group = Group("label tensors", 3, "f64", 4, lambda rows, rng: rng.choice([1.0, 2.5, 3.0], (rows, 3)))
    group.add("f64 to f64", "LabelEncoder", keys_tensor=tensor([1.0, 3.0]), values_tensor=tensor([0.25, 0.75]),
              default_tensor=tensor([-1.0]))
    yield group


def linear_groups(rng):
    for element in ("f32", "i64"):
        group = Group(f"linear {element}", 4, element)
        weights = lambda n: [float(v) for v in rng.standard_normal(n).astype(np.float32) * 0.3]  # noqa: E731
        for transform in TRANSFORMS:
            if element == "f32" and transform != "PROBIT":
                for targets in (1, 3):
                    group.add(f"regressor {targets} {transform}", "LinearRegressor", targets=targets, coefficients=weights(4 * targets),
                              intercepts=weights(targets), post_transform=transform)
            if transform == "PROBIT":
                continue
            group.add(f"classifier 3 {transform}", "LinearClassifier", 2, coefficients=weights(12), intercepts=weights(3),
                      classlabels_ints=[4, 0, 8], post_transform=transform)
            group.add(f"classifier 2 {transform}", "LinearClassifier", 2, coefficients=weights(8), intercepts=weights(2),
                      classlabels_ints=[4, 6], post_transform=transform)
            group.add(f"classifier 2 of 1 {transform}", "LinearClassifier", 2, coefficients=weights(4), intercepts=weights(1),
                      classlabels_ints=[4, 6], post_transform=transform)
        yield group
    group = Group("support vectors", 4)
    for kernel in ("LINEAR", "RBF", "POLY", "SIGMOID"):
        params = {"kernel_type": kernel, "kernel_params": [0.2, 0.5, 3.0]}
        for one_class in (0, 1):
            group.add(f"regressor {kernel} one_class={one_class}", "SVMRegressor", n_supports=6, support_vectors=weights(24),
                      coefficients=weights(6), rho=[0.1], one_class=one_class, **params)
        for per_class in ([3, 4], [2, 3, 4], [1, 2, 3, 2]):
            classes, vectors = len(per_class), sum(per_class)
            pairs = classes * (classes - 1) // 2
            for probabilities in (False, True):
                for transform in TRANSFORMS[:4]:
                    if probabilities and transform != "NONE":
                        continue
                    more = {"prob_a": [-1.5] * pairs, "prob_b": [0.1] * pairs} if probabilities else {}
                    group.add(f"classifier {kernel} {per_class} {transform} {probabilities}", "SVMClassifier", 2, tolerance=1e-4,
                              vectors_per_class=per_class, support_vectors=weights(4 * vectors), post_transform=transform,
                              coefficients=weights((classes - 1) * vectors), rho=weights(pairs), classlabels_ints=list(range(3, 3 + classes)),
                              **params, **more)
    for classes in (2, 3):
        for sign in (1, -1):
            group.add(f"linear {classes} {sign}", "SVMClassifier", 2, coefficients=[abs(w) if sign > 0 else w for w in weights(4 * classes)],
                      rho=[0.05], classlabels_ints=list(range(classes)), kernel_type="LINEAR", kernel_params=[0.0, 0.0, 0.0])
    yield group


# --- what is refused -----------------------------------------------------------------------------------------------

STUMP = {"nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [0, 0, 0], "nodes_values": [0.0, 0.0, 0.0],
         "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"], "nodes_truenodeids": [1, 0, 0], "nodes_falsenodeids": [2, 0, 0],
         "class_treeids": [0, 0], "class_nodeids": [1, 2], "class_ids": [0, 0], "class_weights": [0.25, 0.75]}
REFUSED = [
    ("PROBIT of one score", "PROBIT of two classes with one score", "TreeEnsembleClassifier", 2,
     {**STUMP, "classlabels_int64s": [0, 1], "post_transform": "PROBIT"}),
    ("a circle", "leads back to itself", "TreeEnsembleClassifier", 2, {**STUMP, "classlabels_int64s": [0, 1], "nodes_truenodeids": [0, 0, 0]}),
    ("no such node", "tree 0 has no node 7", "TreeEnsembleClassifier", 2, {**STUMP, "classlabels_int64s": [0, 1], "nodes_truenodeids": [7, 0, 0]}),
    ("a node twice", "node 1 of tree 0 is there twice", "TreeEnsembleClassifier", 2, {**STUMP, "classlabels_int64s": [0, 1], "nodes_nodeids": [0, 1, 1]}),
    ("no such feature", "a split asks for feature 9 of 3", "TreeEnsembleClassifier", 2, {**STUMP, "classlabels_int64s": [0, 1], "nodes_featureids": [9, 0, 0]}),
    ("no such class", "there are 2", "TreeEnsembleClassifier", 2, {**STUMP, "classlabels_int64s": [0, 1], "class_ids": [0, 5]}),
    ("unknown mode", "node mode 'BRANCH_XOR' is unknown", "TreeEnsembleClassifier", 2,
     {**STUMP, "classlabels_int64s": [0, 1], "nodes_modes": ["BRANCH_XOR", "LEAF", "LEAF"]}),
    ("lists of two lengths", "attribute 'nodes_values' has 2 elements, expected 3", "TreeEnsembleClassifier", 2,
     {**STUMP, "classlabels_int64s": [0, 1], "nodes_values": [0.0, 0.0]}),
    ("scale of other length", "scale has 2 elements, expected 1 or 3", "Scaler", 1, {"scale": [1.0, 2.0]}),
    ("unknown norm", "norm 'L3' is unknown", "Normalizer", 1, {"norm": "L3"}),
]


# --- the run -------------------------------------------------------------------------------------------------------

def close(got, expected, tolerance):
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return f"{got.dtype}{list(got.shape)}, expected {expected.dtype}{list(expected.shape)}"
    if expected.dtype.kind != "f":
        wrong = np.argwhere(got != expected)
        return f"{len(wrong)} differ, first {got[tuple(wrong[0])]} for {expected[tuple(wrong[0])]}" if len(wrong) else ""
    finite = expected[np.isfinite(expected)]
    scale = max(1.0, np.abs(finite).max()) if finite.size else 1.0
    near = np.isclose(got, expected, rtol=0, atol=tolerance * scale, equal_nan=True)
    if near.all():
        return ""
    wrong = tuple(np.argwhere(~near)[0])
    return f"{(~near).sum()} differ, first {got[wrong]} for {expected[wrong]} at {list(map(int, wrong))}"


def compiled(model, folder, lapidary):
    path, library = os.path.join(folder, "m.onnx"), os.path.join(folder, f"m{len(os.listdir(folder))}.so")
    onnx.save(model, path)
    done = subprocess.run([lapidary, "compile", "-q", path, "-o", library], capture_output=True, text=True)
    return library, done.stderr if done.returncode else ""


def check(group, folder, lapidary):
    """Yields (label, problem)."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(group.model(theirs=True).SerializeToString(), options, providers=["CPUExecutionProvider"])
    library, message = compiled(group.model(), folder, lapidary)
    if message:
        yield "compile", message
        return
    problems = {name: "" for name in group.outputs}
    rng = np.random.default_rng(1)
    batches = [group.batch(rows, rng) for rows in ROWS]
    for threads in (1, 2):
        with Product(library, threads=threads) as product:
            for x in batches:
                got, expected = product.run({"x": x}), session.run(None, {"x": x})
                for name, ours, theirs in zip(group.outputs, got, expected):
                    problem = close(ours, theirs, group.tolerance[name])
                    problems[name] = problems[name] or (f"{len(x)} rows: {problem}" if problem else "")
    for name, problem in problems.items():
        yield f"{group.labels[name]} {name}", problem


def zip_map(folder, lapidary):
    """The maps of scikit-learn's exporter become the tensor they are made of, with a warning."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])
    maps = helper.make_node("ZipMap", ["x"], ["maps"], domain=DOMAIN, classlabels_strings=["a", "b", "c"])
    graph = helper.make_graph([maps], "g", [x], [onnx.ValueInfoProto(name="maps")])
    path = os.path.join(folder, "zip.onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid(DOMAIN, 1)], ir_version=9), path)
    library = os.path.join(folder, "zip.so")
    done = subprocess.run([lapidary, "compile", path, "-o", library], capture_output=True, text=True)
    if done.returncode or "maps are not supported" not in done.stderr:
        return done.stderr or "no warning"
    data = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    with Product(library) as product:
        return "" if np.array_equal(product.run({"x": data})[0], data) else "other numbers"


def refused(words, op, outputs, attributes, folder, lapidary):
    group = Group("refused", 3).add("n", op, outputs, **attributes)
    _, message = compiled(group.model(), folder, lapidary)
    return "" if words in message else f"said {message!r}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    lapidary = os.path.join(args.build, "tools", "lapidary")
    passed = failed = 0

    def count(name, problem):
        nonlocal passed, failed
        passed, failed = passed + (not problem), failed + bool(problem)
        if problem:
            print(f"FAIL  {name}: {problem.strip()}", flush=True)

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for group in (*tree_groups(rng), *feature_groups(), *linear_groups(rng)):
            if args.only not in group.name:
                continue
            for label, problem in check(group, folder, lapidary):
                count(f"{group.name}: {label}", problem)
        if args.only in "refused":
            count("ZipMap", zip_map(folder, lapidary))
            for label, words, op, outputs, attributes in REFUSED:
                count(f"refused: {label}", refused(words, op, outputs, attributes, folder, lapidary))
    print(f"{passed} passed, {failed} failed")
    return failed > 0 or not passed


if __name__ == "__main__":
    sys.exit(main())
