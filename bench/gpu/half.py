"""A network of f32 as one of f16, as an exporter would write it: weights, inputs and outputs are f16. What computes angles
of positions (all that Cos and Sin are made of) stays f32. And with weights that repeat, the same in all layers, so that a
product that holds them packs small.
"""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from elements import F32, PERIOD, repeating

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
LARGEST = float(np.finfo(np.float16).max)


def simple_weights(model, layers):
    """Large initializers repeat, one drawing for each shape and place in a layer. Small ones stay: they scale and shift."""
    initializers = model.graph.initializer
    counts, seen = {}, {}
    for weight in initializers:
        shape = tuple(weight.dims)
        counts[shape] = counts.get(shape, 0) + 1
    for weight in initializers:
        shape = tuple(weight.dims)
        place = seen[shape] = seen.get(shape, -1) + 1
        if weight.data_type != FLOAT or np.prod(shape) < 4096 or len(shape) < 2:
            continue
        per_layer = counts[shape] // layers if counts[shape] % layers == 0 else counts[shape]
        values = repeating(shape, place % per_layer, F32, PERIOD // 2)
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))


def rounded_weights(model):
    """What f16 weights are, in f32."""
    for weight in model.graph.initializer:
        if weight.data_type == FLOAT:
            weight.CopyFrom(numpy_helper.from_array(half(weight).astype(np.float32), weight.name))


def half(weight):
    return np.clip(numpy_helper.to_array(weight), -LARGEST, LARGEST).astype(np.float16)


def kept_nodes(graph):
    """Indices of Cos, Sin and all that leads to them."""
    makers = {name: at for at, node in enumerate(graph.node) for name in node.output}
    kept, pending = set(), [at for at, node in enumerate(graph.node) if node.op_type in ("Cos", "Sin")]
    while pending:
        at = pending.pop()
        if at not in kept:
            kept.add(at)
            pending += [makers[name] for name in graph.node[at].input if name in makers]
    return kept


def halve_attributes(node):
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == FLOAT:
            attribute.t.CopyFrom(numpy_helper.from_array(half(attribute.t), attribute.t.name))
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FLOAT:
            attribute.i = HALF


def to_half(model):
    """A new model. Constants that both a kept node and another one read would need two forms, which no network here has:
    the checker refuses the model then."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    kept = kept_nodes(graph)
    read_there = {name for at in kept for name in graph.node[at].input}
    nodes = []
    for at, node in enumerate(graph.node):
        nodes.append(node)
        if at not in kept:
            halve_attributes(node)
        elif node.op_type in ("Cos", "Sin"):
            wide, narrow = node.output[0] + "_f32", node.output[0]
            node.output[0] = wide
            nodes.append(helper.make_node("Cast", [wide], [narrow], narrow, to=HALF))
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    for weight in graph.initializer:
        if weight.data_type == FLOAT and weight.name not in read_there:
            weight.CopyFrom(numpy_helper.from_array(half(weight), weight.name))
    for value in [*graph.input, *graph.output]:
        if value.type.tensor_type.elem_type == FLOAT:
            value.type.tensor_type.elem_type = HALF
    del graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return model
