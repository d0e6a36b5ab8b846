"""Right models with wrong data: shapes, indices and counts that only a run can tell, with limits of memory and loops."""
import numpy as np

from case import FINE, WRONG, model
from command_line import Command, check_command, npy

MINIMUM, MAXIMUM = -(1 << 63), (1 << 63) - 1
LIMITS = ["--max-memory", str(256 << 20), "--max-loop", "10000"]
NAMED = ("model.onnx: node '", "model.onnx: output '", "model.onnx: arena and workspaces")  # what a line begins with
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def data(name, body, arrays, line=None, exit=WRONG, declared=None, **arguments):
    """arrays: what each input is given; declared: their declaration, where it is not that of the arrays."""
    types = {"float32": "float", "int64": "int64", "bool": "bool", "int32": "int32", "uint8": "uint8", "float64": "double"}
    arrays = {key: np.asarray(value) for key, value in arrays.items()}
    inputs = declared or ", ".join(f"{types[value.dtype.name]}{[*value.shape] or ''} {key}" for key, value in arrays.items())
    message = model(f"[n] {body}", inputs=inputs, **{"outputs": "y", **arguments}).SerializeToString()
    files = {"model.onnx": message, **{f"{key}.npy": npy(value) for key, value in arrays.items()}}
    flags = [part for key in arrays for part in ("--input", f"{key}={key}.npy")]
    return Command(f"data: {name}", ["run", "-q", "model.onnx", *LIMITS, *flags], exit, [] if exit == FINE else [line or NAMED], files)


def i64(*values):
    return np.array(values, np.int64)


def scalar(value, dtype=np.int64):
    return np.array(value, dtype)


def shaped(op, values, name=None, operand="x, s", line=None, **arguments):
    return data(f"{op} {name or list(values)}", f"y = {op}({operand})", {"x": X, "s": i64(*values)}, line, **arguments)


BODY = "(int64 i, bool k, {type} v) => (bool l, {out} w) {{ {ops} }}"


def loop(name, ops, count=5, condition=True, start=X, type="float[2,3]", out="float[a,b]", line=None, exit=WRONG, operands="n, c, x", **arguments):
    return data(f"Loop: {name}", f"y = Loop ({operands}) <body = b {BODY.format(type=type, out=out, ops=ops)}>", {"n": scalar(count), "c": scalar(condition, bool), "x": start}, line, exit=exit, **arguments)


KEEP = "l = Identity(k) "
BIG = 1 << 40
COMMANDS = [
    *[shaped("Reshape", values) for values in [(5, 5), (-1, -1), (-2, 3), (MINIMUM, 3), (MAXIMUM, MAXIMUM), (1 << 32, 1 << 32), (4, -1), (1 << 62, 4), (0, 7), (BIG, -1)]],
    *[shaped("Expand", values) for values in [(2, 5), (-1, 3), (MINIMUM, 3), (3, 3)]],
    *[shaped("Expand", values, operand="z, s", declared="float[2,3] x, int64[2] s", initializers="float[1,1] z = {1}") for values in [(MAXIMUM, MAXIMUM), (BIG, BIG), (BIG, 1), (1 << 30, 1 << 30)]],
    *[shaped("Tile", values) for values in [(-1, 1), (MINIMUM, 1), (BIG, BIG), (MAXIMUM, 2), (1 << 30, 1)]],
    *[shaped("Pad", values) for values in [(-5, 0, 0, 0), (MAXIMUM, 0, MAXIMUM, 0), (MINIMUM, 0, 0, 0), (1 << 30, 0, 0, 0), (BIG, BIG, 0, 0)]],
    *[data(f"ConstantOfShape {list(values)}", "y = ConstantOfShape(s)", {"s": i64(*values)}) for values in [(-1,), (MINIMUM,), (BIG, BIG), (MAXIMUM,), (1 << 30, 1 << 10), (MAXIMUM, MAXIMUM, 0)]],
    *[data(f"Range {start} {limit} {delta}", "y = Range(a, b, d)", {"a": scalar(start), "b": scalar(limit), "d": scalar(delta)})
      for start, limit, delta in [(0, 9, 0), (0, MAXIMUM, 1), (MINIMUM, MAXIMUM, 1), (MAXIMUM, MINIMUM, -1), (0, 1 << 40, 1), (MINIMUM, MAXIMUM, MINIMUM)]
      if (start, limit, delta) != (MINIMUM, MAXIMUM, MINIMUM)],
    data("Range that goes the other way", "y = Range(a, b, d)", {"a": scalar(0), "b": scalar(9), "d": scalar(-1)}, exit=FINE),
    data("Range from the least by the least", "y = Range(a, b, d)", {"a": scalar(MINIMUM), "b": scalar(MAXIMUM), "d": scalar(MINIMUM)}),
    *[data(f"Range of floats {start} {limit} {delta}", "y = Range(a, b, d)", {"a": scalar(start, np.float32), "b": scalar(limit, np.float32), "d": scalar(delta, np.float32)})
      for start, limit, delta in [(0, 1, 0), (0, float("inf"), 1), (float("nan"), 1, 1), (0, 1, float("nan")), (0, 1e30, 1e-30)]],
    *[data(f"Slice {a} {b} by {d}", "y = Slice(x, a, b, e, d)", {"x": X, "a": i64(a), "b": i64(b)}, exit=exit, initializers=f"int64[1] e = {{0}}, int64[1] d = {{{d}}}")
      for a, b, d, exit in [(0, 2, 0, WRONG), (MINIMUM, MAXIMUM, MAXIMUM, FINE), (MAXIMUM, MINIMUM, MINIMUM, FINE), (MAXIMUM, MINIMUM, -1, FINE), (MINIMUM, MINIMUM, 1, FINE), (1, 0, 1, FINE)]],
    *[data(f"TopK k = {k}", "y, z = TopK(x, k)", {"x": X, "k": i64(k)}, outputs="float[a,b] y") for k in (-1, 4, MINIMUM, MAXIMUM)],
    data("TopK k = 0", "y, z = TopK(x, k)", {"x": X, "k": i64(0)}, exit=FINE, outputs="float[a,b] y"),
    *[data(f"OneHot depth {depth}", "y = OneHot(i, d, v)", {"i": i64(0, 1), "d": scalar(depth), "v": np.float32([0, 1])}) for depth in (-3, MINIMUM, MAXIMUM, 1 << 40)],
    *[data(f"Resize scale {scale}", "y = Resize(x, , s)", {"x": X, "s": np.float32([scale, 1])}, line="scales must be above 0") for scale in (0, -1, float("nan"), float("inf"), 1e9, 1e30)],
    *[data(f"Resize size {size}", "y = Resize(x, , , s)", {"x": X, "s": i64(size, 1)}) for size in (-1, MINIMUM, MAXIMUM, 1 << 40)],
    *[data(f"Split sizes {sizes}", "y, z = Split <axis = 1> (x, s)", {"x": X, "s": i64(*sizes)}, outputs="float[a,b] y, float[a,c] z") for sizes in [(7, 7), (-1, 4), (MAXIMUM, MINIMUM), (MAXIMUM, 4 - MAXIMUM)]],
    *[data(f"Gather index {index}", "y = Gather(x, i)", {"x": X, "i": i64(index)}) for index in (2, -3, MINIMUM, MAXIMUM, 1 << 32)],
    *[data(f"GatherElements index {index}", "y = GatherElements(x, i)", {"x": X, "i": i64(index, 0, 0).reshape(1, 3)}) for index in (2, -3, MINIMUM, 1 << 62)],
    *[data(f"GatherND index {index}", "y = GatherND(x, i)", {"x": X, "i": i64(0, index).reshape(1, 2)}) for index in (3, -4, MINIMUM, 1 << 62)],
    *[data(f"ScatterElements index {index}", "y = ScatterElements(x, i, x)", {"x": X, "i": i64(0, 1, 0, 1, 0, index).reshape(2, 3)}, opset=18) for index in (2, -3, MINIMUM, MAXIMUM)],
    *[data(f"ScatterND index {index}", "y = ScatterND(x, i, u)", {"x": X, "i": i64(0, index).reshape(1, 2), "u": np.float32([9])}, opset=18) for index in (3, -4, MINIMUM, MAXIMUM)],
    *[data(f"Compress of {len(c)} conditions", "y = Compress <axis = 0> (x, c)", {"x": X, "c": np.array(c, bool)}, exit=exit) for c, exit in [([1], FINE), ([], FINE)]],
    *[data(f"Trilu k = {k}", "y = Trilu(x, k)", {"x": X, "k": scalar(k)}, exit=exit) for k, exit in ((MINIMUM, FINE), (MAXIMUM, WRONG))],

    loop("2^62 iterations", KEEP + "w = Relu(v)", 1 << 62, line="more than max_loop = 10000 iterations"),
    loop("without an end", KEEP + "w = Relu(v)", MAXIMUM, line="more than max_loop = 10000 iterations"),
    loop("a condition that stays true", KEEP + "w = Relu(v)", operands=", c, x", line="more than max_loop = 10000 iterations"),
    loop("a negative count", KEEP + "w = Relu(v)", MINIMUM, exit=FINE),
    loop("a value that doubles 40 times", KEEP + "w = Concat <axis = 0> (v, v)", 40, type="float[p,q]", line="max_bytes allows"),
    loop("a value that doubles 70 times", KEEP + "w = Concat <axis = 0> (v, v)", 70, type="float[p,q]", line="max_bytes allows"),
    loop("a value that squares its extents", KEEP + "w = MatMul(v, v)", 5),
    loop("a value that shrinks to nothing", KEEP + "w = Slice(v, o, e)", 50, type="float[p,q]", exit=FINE, initializers="int64[1] o = {1}, int64[1] e = {9223372036854775807}"),
    loop("an index that leaves the tensor", KEEP + "g = Gather(x, i) w = Add(v, g)", 5, line="node 'g' (Gather", out="float[2,3]"),
    loop("a reshape that fits once", KEEP + "r = Add(i, o) t = Unsqueeze(r, z) m = Concat <axis = 0> (t, f) w = Reshape(v, m)", 5, type="float[p,q]", initializers="int64 o = {2}, int64[1] z = {0}, int64[1] f = {3}"),
    loop("slices of different shapes", KEEP + "w = Concat <axis = 0> (v, v)", 3, type="float[p,q]", exit=FINE),
]
CHECKS = [(command.name, check_command, command) for command in COMMANDS]
