"""If, Loop and Scan whose bodies do not fit, and bodies that mean much work to whoever imports them."""
from case import FINE, UNSUPPORTED, node

CONDITIONAL = {"inputs": "bool c, float[2,3] x"}
LOOP = {"inputs": "int64 n, bool c, float[2,3] x"}
ANY = {"outputs": "float[a,b] y"}


def branch(name, line, then, otherwise="(float[2,3] b) { b = Relu(x) }", condition="c", exit=1, **arguments):
    return node(f"[n] y = If ({condition}) <then_branch = t () => {then}, else_branch = e () => {otherwise}>", line and f"node 'n' (If, opset 17): {line}",
                name=f"If: {name}", exit=exit, **{**CONDITIONAL, **ANY, **arguments})


def loop(name, line, body, operands="n, c, x", exit=1, results="y", **arguments):
    lines = [] if line is None else [line if line.startswith("!") else f"node 'n' (Loop, opset 17): {line}"]
    return node(f"[n] {results} = Loop ({operands}) <body = b {body}>", *(line.removeprefix("!") for line in lines),
                name=f"Loop: {name}", exit=exit, **{**LOOP, **ANY, **arguments})


def scan(name, line, attributes, body, operands="x", exit=1, results="y", **arguments):
    return node(f"[n] {results} = Scan <{attributes}, body = b {body}> ({operands})", *([line[1:] if line.startswith("!") else f"node 'n' (Scan, opset 17): {line}"] if line is not None else []),
                name=f"Scan: {name}", exit=exit, **{"inputs": "float[2,3] x", **ANY, **arguments})


def changing(levels, inner="w0 = Concat <axis = 0> (v0, v0)"):
    """Loops within loops; the shape that the innermost changes is carried by all."""
    body = inner
    for i in range(1, levels + 1):
        body = (f"w{i} = Loop (n, c, v{i}) <body = b{i} (int64 i{i}, bool k{i}, float[p{i},q{i}] v{i - 1}) => (bool l{i}, float[r{i},s{i}] w{i - 1}) "
                f"{{ l{i} = Identity(k{i}) {body} }}>")
    return body.replace(f"v{levels})", "x)", 1).replace(f"w{levels} =", "y =", 1)


def siblings(count):
    """Loops one after the other, each changing the shape."""
    one = "s{j} = Loop (n, c, s{i}) <body = b{j} (int64 i{j}, bool k{j}, float[p{j},q{j}] v{j}) => (bool l{j}, float[r{j},t{j}] w{j}) {{ l{j} = Identity(k{j}) w{j} = Concat <axis = 0> (v{j}, v{j}) }}>"
    return "s0 = Relu(x) " + " ".join(one.format(i=i, j=i + 1) for i in range(count)) + f" y = Relu(s{count})"


def nested_ifs(levels):
    """Each level asks at run time; both branches go on."""
    body = "y0 = Relu(x)"
    for i in range(1, levels + 1):
        other = body.replace("y", "z").replace("=z", "=y")
        body = f"y{i} = If (c) <then_branch = t{i} () => (float[2,3] y{i - 1}) {{ {body} }}, else_branch = e{i} () => (float[2,3] o{i}) {{ o{i} = Abs(x) }}>"
    return body.replace(f"y{levels} =", "y =", 1)


def long_body(length, levels):
    """A long chain in the innermost of loops that change their shape."""
    chain = "u0 = Concat <axis = 0> (v0, v0) " + " ".join(f"u{i + 1} = Relu(u{i})" for i in range(length)) + f" w0 = Identity(u{length})"
    return changing(levels, chain)


SAME = "(int64 i, bool k, float[2,3] v) => (bool l, float[2,3] w) { l = Identity(k) w = Relu(v) }"
CASES = [
    branch("results of two types", "output 0 is f32[2, 3] in one branch and i64[2, 3] in the other", "(float[2,3] a) { a = Relu(x) }", "(int64[2,3] b) { b = Cast <to = 7> (x) }"),
    branch("results of two ranks", "output 0 is f32[2, 3] in one branch", "(float[2,3] a) { a = Relu(x) }", "(float[6] b) { b = Reshape(x, s) }", initializers="int64[1] s = {6}", outputs="float[2,3] y", exit=UNSUPPORTED),
    branch("a condition of three elements", "the condition is bool[3]", "(float[2,3] a) { a = Relu(x) }", inputs="bool[3] c, float[2,3] x"),
    branch("a condition of no elements", "the condition is bool[0]", "(float[2,3] a) { a = Relu(x) }", inputs="bool[0] c, float[2,3] x"),
    branch("no results", "then_branch yields 0 values", "() { }"),
    branch("a branch that reads its own result", "", "(float[2,3] a) { a = Relu(a) }"),
    branch("a wrong operator in the branch not taken", "", "(float[2,3] a) { a = Relu(x) }", "(float[2,3] b) { b = Softmax <axis = 9> (x) }"),
    node(nested_ifs(12), name="If: 12 deep, asked at run time", exit=FINE, inputs="bool c, float[2,3] x"),

    loop("a body of two inputs", "the body takes 2 inputs, expected 3", "(int64 i, bool k) => (bool l, float[2,3] w) { l = Identity(k) w = Relu(x) }"),
    loop("a body of one input", "the body takes 1 input, expected 3", "(int64 i) => (bool l, float[2,3] w) { l = Identity(c) w = Relu(x) }"),
    loop("a body without inputs", "the body takes 0 inputs, expected 3", "() => (bool l, float[2,3] w) { l = Identity(c) w = Relu(x) }"),
    loop("a body of five inputs", "the body takes 5 inputs, expected 3", "(int64 i, bool k, float v, float u, float t) => (bool l, float w) { l = Identity(k) w = Relu(v) }"),
    loop("a body that yields no condition", "the body yields 1 value", "(int64 i, bool k, float[2,3] v) => (float[2,3] w) { w = Relu(v) }"),
    loop("a body that yields nothing", "the body yields 0 values", "(int64 i, bool k, float[2,3] v) => () { }"),
    loop("more results than the node", "the body yields 3 values", "(int64 i, bool k, float[2,3] v) => (bool l, float[2,3] w, float[2,3] u) { l = Identity(k) w = Relu(v) u = Abs(v) }"),
    loop("fewer results than the node", "the body yields 2 values", SAME, results="y, z"),
    loop("a condition that becomes a float", "the body's condition", "(int64 i, bool k, float[2,3] v) => (float l, float[2,3] w) { l = Cast <to = 1> (k) w = Relu(v) }"),
    loop("a condition that becomes three", "the body's condition is bool[3]", "(int64 i, bool k, float[2,3] v) => (bool[3] l, float[2,3] w) { l = Expand(k, s) w = Relu(v) }", initializers="int64[1] s = {3}"),
    loop("a count of three elements", "the number of iterations is i64[3]", SAME, inputs="int64[3] n, bool c, float[2,3] x"),
    loop("a count that is a float", "", SAME, inputs="float n, bool c, float[2,3] x"),
    loop("a condition that is an integer", "", SAME, inputs="int64 n, int64 c, float[2,3] x"),
    node("[n] y, z = Loop (n, c, , x) <body = b (int64 i, bool k, float[2,3] u, float[2,3] v) => (bool l, float[2,3] t, float[2,3] w) { l = Identity(k) t = Relu(v) w = Relu(v) }>",
         "node 'n' (Loop, opset 17): loop-carried value 0 is left out", name="Loop: a carried value left out", **{**LOOP, **ANY}),
    loop("a carried value whose type changes", "loop-carried value 0 starts as f32[2, 3] and becomes i64[2, 3]", "(int64 i, bool k, float[2,3] v) => (bool l, int64[2,3] w) { l = Identity(k) w = Cast <to = 7> (v) }", exit=UNSUPPORTED, outputs="y"),
    loop("a carried value whose rank grows", "loop-carried value 0 starts as f32[2, 3] and becomes f32[1, 2, 3]", "(int64 i, bool k, v) => (bool l, w) { l = Identity(k) w = Unsqueeze(v, a) }", exit=UNSUPPORTED, initializers="int64[1] a = {0}", outputs="y"),
    loop("neither a count nor a condition", "a loop that never ends", "(int64 i, bool k, float[2,3] v) => (bool l, float[2,3] w) { l = Identity(k) w = Relu(v) }", operands=", , x"),
    loop("a condition that is always true", "a loop that never ends", "(int64 i, bool k, float[2,3] v) => (bool l, float[2,3] w) { l = Constant <value = bool {1}> () w = Relu(v) }", operands=", , x"),
    loop("an input of the body that is an initializer", "!initializer 'v' is an input of node 'n' (Loop), body too", "(int64 i, bool k, float[2,3] v) => (bool l, float[2,3] w) <float[2,3] v = {1,2,3,4,5,6}> { l = Identity(k) w = Relu(v) }"),
    loop("the count of the body that is an initializer", "!initializer 'i' is an input of node 'n' (Loop), body too", "(int64 i, bool k, float[2,3] v) => (bool l, float[2,3] w) <int64 i = {7}> { l = Identity(k) w = Relu(v) }"),
    loop("two inputs of the body of one name", "!node 'n' (Loop), body has two inputs named 'v'", "(int64 v, bool k, float[2,3] v) => (bool l, float[2,3] w) { l = Identity(k) w = Relu(v) }"),
    loop("an input of the body that hides an outer value", "!input 'x' of node 'n' (Loop), body hides a value of the same name outside", "(int64 i, bool k, float[2,3] x) => (bool l, float[2,3] w) { l = Identity(k) w = Relu(x) }"),
    loop("a body that reads what only the next iteration has", "!cycle: 'w' -> 'w'", "(int64 i, bool k, float[2,3] v) => (bool l, float[2,3] w) { l = Identity(k) w = Relu(w) }"),
    loop("a body that yields one value twice", "!node 'n' (Loop), body has two outputs named 'w'", "(int64 i, bool k, float[2,3] v) => (bool l, float[2,3] w, float[2,3] w) { l = Identity(k) w = Relu(v) }", results="y, z"),
    loop("a body that yields its input", None, "(int64 i, bool k, float[2,3] v) => (bool k, float[2,3] v) { }", exit=FINE),
    loop("a value handed on beside one that fits no sooner than it has grown", None,
         "(int64 i, bool k, v, u) => (bool l, w, t) { l = Identity(k) r = Add(v, u) a = Neg(u) w = Concat <axis = 0> (v, a) t = Identity(u) }",
         operands="n, c, e, x", results="y, z", initializers="float[0,3] e = {}", exit=FINE),
    loop("a condition declared as one of four", None, "(int64 i, bool[4] k) => (bool k, float[2,3] x) { }", operands="n, c", exit=FINE, outputs="float[a,b,c] y"),
    loop("a scanned output that is an outer value", None, "(int64 i, bool k) => (bool k, float[2,3] x) { }", operands="n, c", exit=FINE, outputs="float[a,b,c] y"),
    loop("2^62 iterations, known", None, SAME, operands="m, c, x", initializers=f"int64 m = {{{1 << 62}}}", exit=FINE),
    loop("2^62 iterations that stack their results", None, "(int64 i, bool k, float[2,3] v) => (bool k, float[2,3] v, float[2,3] w) { w = Relu(v) }", operands="m, c, x", results="z, y",
         initializers=f"int64 m = {{{1 << 62}}}", exit=FINE, outputs="float[a,b,c] y"),
    loop("a negative count", None, SAME, operands="m, c, x", initializers="int64 m = {-9223372036854775808}", exit=FINE),
    node(changing(2), name="Loop: 2 deep, shapes change", exit=FINE, **{**LOOP, **ANY}),
    node(changing(5), name="Loop: 5 deep, shapes change", exit=FINE, **{**LOOP, **ANY}),
    node(changing(12), name="Loop: 12 deep, shapes change", exit=FINE, **{**LOOP, **ANY}),
    node(changing(20), "", name="Loop: 20 deep, shapes change", exit=UNSUPPORTED, **{**LOOP, **ANY}),
    node(changing(3, "w0 = Softmax <axis = 9> (v0)"), "node 'w0' (Softmax, opset 17): axis 9 not in [-2, 1]", name="Loop: 3 deep, a wrong node inside", **{**LOOP, **ANY}),
    node(long_body(2000, 9), "", name="Loop: 9 deep, 2000 nodes inside, shapes change", exit=UNSUPPORTED, **{**LOOP, **ANY}),
    node(siblings(200), name="Loop: 200 in a row, shapes change", exit=FINE, **{**LOOP, **ANY}),

    scan("more scanned inputs than inputs", "num_scan_inputs is 9, there are 1 input", "num_scan_inputs = 9", "(float[3] v) => (float[3] w) { w = Relu(v) }"),
    scan("no scanned inputs", "num_scan_inputs is 0", "num_scan_inputs = 0", "(float[3] v) => (float[3] w) { w = Relu(v) }"),
    scan("minus one scanned inputs", "num_scan_inputs is -1", "num_scan_inputs = -1", "(float[3] v) => (float[3] w) { w = Relu(v) }"),
    scan("2^63 scanned inputs", "num_scan_inputs is 9223372036854775807", "num_scan_inputs = 9223372036854775807", "(float[3] v) => (float[3] w) { w = Relu(v) }"),
    scan("a body of two inputs", "the body takes 2 inputs, expected 1", "num_scan_inputs = 1", "(float[3] v, float[3] u) => (float[3] w) { w = Add(v, u) }"),
    scan("a body that yields too little", "the body yields 0 values", "num_scan_inputs = 1", "(float[3] v) => () { }"),
    scan("an axis that is not there", "axis 5 not in [-2, 1]", "num_scan_inputs = 1, scan_input_axes = [5]", "(float[3] v) => (float[3] w) { w = Relu(v) }"),
    scan("a result's axis that is not there", "axis -9 not in", "num_scan_inputs = 1, scan_output_axes = [-9]", "(float[3] v) => (float[3] w) { w = Relu(v) }"),
    scan("the least integer as axis", "axis -9223372036854775808 not in", "num_scan_inputs = 1, scan_input_axes = [-9223372036854775808]", "(float[3] v) => (float[3] w) { w = Relu(v) }"),
    scan("two axes for one input", "scan_input_axes has 2 entries, expected 1", "num_scan_inputs = 1, scan_input_axes = [0, 1]", "(float[3] v) => (float[3] w) { w = Relu(v) }"),
    scan("two directions for one input", "scan_input_directions has 2 entries, expected 1", "num_scan_inputs = 1, scan_input_directions = [0, 1]", "(float[3] v) => (float[3] w) { w = Relu(v) }"),
    scan("a direction of 7", "scan_input_directions has 7, expected 0 or 1", "num_scan_inputs = 1, scan_input_directions = [7]", "(float[3] v) => (float[3] w) { w = Relu(v) }"),
    scan("a scalar", "scanned input 0 has rank 0", "num_scan_inputs = 1", "(float v) => (float w) { w = Relu(v) }", inputs="float x"),
    scan("inputs of two lengths", "scanned inputs have 2 and 5 elements along their axes", "num_scan_inputs = 2", "(float[3] v, float[3] u) => (float[3] w) { w = Add(v, u) }", operands="x, z", inputs="float[2,3] x, float[5,3] z"),
    scan("a state whose rank grows", "loop-carried value 0 starts as", "num_scan_inputs = 1", "(s, v) => (t, w) { t = Unsqueeze(s, a) w = Relu(v) }", operands="x, x", results="z, y", initializers="int64[1] a = {0}", exit=UNSUPPORTED),
    scan("an input of the body that is an initializer", "!initializer 'v' is an input of node 'n' (Scan), body too", "num_scan_inputs = 1", "(float[3] v) => (float[3] w) <float[3] v = {1,2,3}> { w = Relu(v) }"),
    scan("over nothing", None, "num_scan_inputs = 1", "(float[3] v) => (float[3] w) { w = Relu(v) }", inputs="float[0,3] x", exit=FINE),
]
