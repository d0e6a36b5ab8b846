"""Odd models that are right, and must be accepted: each compiles, with these warnings."""
from case import FINE, function, node

HOSTILE = ['quote"quote', "star*/slash", "/*open", "line\nline", "#include <stdio.h>", "%n%s%d", "../../etc/passwd", "int", "__global__", "a.b", "a_b",
           "ünïcödé", "\u202eright to left", "\x1b[31mred", "?" * 3 + "/", "$(reboot)", "`reboot`", "back\\slash", "NaN", "x" * 1000000, "nul\0nul"]


def hostile_names(message):
    """Every name the model has is one of HOSTILE."""
    names = {"x": HOSTILE[0], "y": HOSTILE[1], "S": HOSTILE[3]}
    graph, body = message.graph, message.graph.node[0]
    del graph.node[:]
    last = names["x"]
    for i, name in enumerate(HOSTILE[2:] + [names["y"]]):
        body.op_type, body.name, body.input[0], body.output[0] = ("Sqrt", "Abs")[i % 2], name, last, name
        body.doc_string = "\x1b[2J */ #error"
        graph.node.append(body)
        last = name
    graph.name = message.producer_name = graph.doc_string = 'g */ "\n#error'
    graph.input[0].name, graph.output[0].name = names["x"], names["y"]
    for values in (graph.input[0], graph.output[0]):
        values.type.tensor_type.shape.dim[0].dim_param = names["S"]
        values.type.tensor_type.shape.dim[1].dim_param = "*/ int x; //"


def nested(depth):
    """If within If, all known beforehand."""
    body = "y0 = Relu(x)"
    for i in range(1, depth + 1):
        body = f"y{i} = If (k) <then_branch = t{i} () => (float[2,3] y{i - 1}) {{ {body} }}, else_branch = e{i} () => (float[2,3] z{i}) {{ z{i} = Abs(x) }}>"
    return body


def fine(body, *warnings, **arguments):
    return node(body, *warnings, exit=FINE, **arguments)


def twice(m):
    m.opset_import.add(domain="ai.onnx", version=17)
    m.opset_import.add(domain="", version=17)


def with_bytes(*values, data_type, dims):
    return lambda m: m.graph.initializer.add(name="w", dims=dims, data_type=data_type, raw_data=bytes(values))


CASES = [
    fine("y = Relu(x)", name="hostile names", inputs="float[S,T] x", outputs="float[S,T] y", change=hostile_names),
    fine(nested(20).replace("y20 =", "y ="), name="If nested 20 deep", initializers="bool[1] k = {1}"),
    fine("y = Relu(x)", name="domain imported three times at one version", change=twice),
    fine("y = Relu(a) a = Abs(x)", "warning: model.onnx: nodes are not listed in the order of their use; sorted", name="unsorted nodes"),
    fine("y = Relu(x)", name="domain imported that nothing uses", imports='"evil.corp" : 1'),
    fine("y = Relu(x)", name="no nodes but an identity", change=lambda m: setattr(m.graph.node[0], "op_type", "Identity")),
    fine("y = Relu(x)", "warning: model.onnx: value 'y' is declared with extent 2 of axis 0, computed N", name="constant declared where a symbol is computed", inputs="float[N,3] x"),
    fine("y = Relu(x)", name="extents of 0", inputs="float[0,3] x", outputs="float[0,3] y"),
    fine("y = Relu(x)", name="scalar", inputs="float x", outputs="float y"),
    fine("y = Where(w, x, x)", name="bools that are neither 0 nor 1", change=with_bytes(0, 1, 2, 255, 128, 7, data_type=9, dims=[2, 3])),
    fine("y = Add(x, w)", name="NaN, infinities and denormals", change=with_bytes(*bytes.fromhex("0000c07f 0000807f 000080ff 01000000 00000080 ffff7f7f"), data_type=1, dims=[2, 3])),
    fine("y = f.A(x)", name="function beneath a function", functions=function("A", "y = f.B(x)") + function("B", "y = Relu(x)")),
    fine("y = f.F0(x)", name="functions 50 deep", functions="".join(function(f"F{i}", f"y = f.F{i + 1}(x)") for i in range(50)) + function("F50", "y = Relu(x)")),
    fine("y = Div(x, w)", name="integers divided by 0 and -1", inputs="int32[4] x", outputs="int32[4] y", initializers="int32[4] w = {0, -1, 1, -2147483648}"),
    fine("y = Div(v, w)", name="constants: INT_MIN / -1 and 1 / 0", inputs="", outputs="int32[2] y", initializers="int32[2] v = {-2147483648, 1}, int32[2] w = {-1, 0}"),
    fine("y = Mod(v, w)", name="constants: INT_MIN mod -1 and 1 mod 0", inputs="", outputs="int64[2] y",
         initializers="int64[2] v = {-9223372036854775808, 1}, int64[2] w = {-1, 0}"),
    fine('y = BitShift <direction = "LEFT"> (x, w)', name="shifts past the width", inputs="uint32[2] x", outputs="uint32[2] y", initializers="uint32[2] w = {32, 4000000000}"),
    fine("y = Slice(x, i, j)", name="slices to the end, in exporters' way", initializers=f"int64[1] i = {{{-(1 << 63)}}}, int64[1] j = {{{(1 << 63) - 1}}}"),
]
