"""The kernels of cases.py as ONNX models: a node or a few, their weights those of work.py."""
import onnx
import onnx.parser
from onnx import helper

from elements import CODES, F32, nibbles, repeating
from work import MIDDLE, weight_shapes, weights


def tensor(name, values, dtype):
    return helper.make_tensor(name, CODES[dtype], values.shape, values.tobytes(), raw=True)


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs.split(), [output], output, **attributes)


def gemm(case):
    n, k = case.sizes["n"], case.sizes["k"]
    swap = [node("Transpose", "b", "bt", perm=[1, 0])] if case.sizes["transposed"] else []
    return [*swap, node("MatMul", "a bt" if swap else "a b", "y")], {"a": ["M", k], "b": weight_shapes(case)["b"]}, ["M", n]


def conv(case):
    s = case.sizes
    pad, out = s["edge"] // 2, -(-s["image"] // s["stride"])
    image = ["M", s["inputs"], s["image"], s["image"]]
    how = {"pads": [pad] * 4, "strides": [s["stride"]] * 2}
    nodes = [node("Conv", "x w", "y", **how)]
    if s["between"]:
        nodes = [node("Conv", "x before", "h"), node("Conv", "h w", MIDDLE, **how), node("Conv", f"{MIDDLE} after", "y")]
    return nodes, {"x": image} | weight_shapes(case), ["M", s["outputs"], out, out]


def attention(case):
    s = case.sizes
    shape = ["M", s["heads"], s["length"], s["width"]]
    return [node("Attention", "q k v", "y", is_causal=int(s["causal"]))], {name: shape for name in "qkv"}, shape


def lines(kind):
    def build(case):
        width = case.sizes["width"]
        inputs = {"softmax": "x", "layer_norm": "x scale bias", "gelu": "x", "add": "x z"}[kind]
        attributes = {"axis": -1} if kind in ("softmax", "layer_norm") else {}
        operator = {"softmax": "Softmax", "layer_norm": "LayerNormalization", "gelu": "Gelu", "add": "Add"}[kind]
        shapes = {name: [width] if name in ("scale", "bias") else ["M", width] for name in inputs.split()}
        return [node(operator, inputs, "y", **attributes)], shapes, ["M", width]
    return build


BUILDERS = {"gemm": gemm, "conv": conv, "attention": attention} | {kind: lines(kind) for kind in ("softmax", "layer_norm", "gelu", "add")}


def save(case, path):
    nodes, inputs, output = BUILDERS[case.kind](case)
    constants = [tensor(name, values, case.dtype) for name, values in weights(case).items()] if case.weights else []
    held = {constant.name for constant in constants}

    def describe(name, shape):
        known = [case.time[0] if case.fixed and extent == "M" else extent for extent in shape]
        return helper.make_tensor_value_info(name, CODES[case.dtype], known)

    graph = helper.make_graph(nodes, case.name, [describe(*item) for item in inputs.items() if item[0] not in held],
                              [describe("y", output)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def save_program(program, path):
    """One of programs.py."""
    model = onnx.parser.parse_model(program.text)
    for name, (dtype, array) in program.constants.items():
        stored = nibbles(array) if dtype == "i4" else array
        model.graph.initializer.append(helper.make_tensor(name, CODES[dtype], array.shape, stored.tobytes(), raw=True))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def tiny_classifier():
    """A network of f32 with what the large ones have: convolutions, a residual, a pool, a product."""
    shapes = {"w1": (16, 3, 3, 3), "w2": (16, 16, 3, 3), "w3": (16, 10)}
    values = {name: repeating(shape, at, F32) for at, (name, shape) in enumerate(shapes.items())}
    nodes = [node("Conv", "x w1", "c", pads=[1] * 4, strides=[2, 2]), node("Relu", "c", "r"), node("Conv", "r w2", "d", pads=[1] * 4),
             node("Add", "d r", "s"), node("GlobalAveragePool", "s", "p"), node("Flatten", "p", "f"), node("MatMul", "f w3", "m"),
             node("Softmax", "m", "y", axis=-1)]
    graph = helper.make_graph(nodes, "tiny_classifier", [helper.make_tensor_value_info("x", CODES[F32], ["N", 3, 12, 12])],
                              [helper.make_tensor_value_info("y", CODES[F32], ["N", 10])],
                              [tensor(name, array, F32) for name, array in values.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
