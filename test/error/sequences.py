"""Sequences and optionals that are used wrongly, and those whose form only a run could tell."""
from case import FINE, UNSUPPORTED, WRONG, node

SEQUENCE = "s = SequenceConstruct(x, x, x)"
PAIR = {"inputs": "float[2,3] x, float[2,4] z"}
LOOP = {"inputs": "float[2,3] x, int64 n, bool c"}
ANY = {"outputs": "float[a,b] y"}
LENGTH = {"outputs": "int64 y"}


def sequence(name, body, line, operator, exit=WRONG, node_name="y", **arguments):
    return node(body, f"node '{node_name}' ({operator}, opset 17): {line}", name=f"sequence: {name}", exit=exit, **{**ANY, **arguments})


def refused(name, body, line, operator, **arguments):
    return sequence(name, body, line, operator, exit=UNSUPPORTED, **arguments)


def at(position):
    return f"{SEQUENCE} p = Constant <value = int64 {{{position}}}> () y = SequenceAt(s, p)"


def appending(body, after="y = ConcatFromSequence <axis = 0> (t)", inner="float[a,b] e"):
    """A loop over a sequence that starts empty."""
    return (f"s = SequenceEmpty() t = Loop (n, c, s) <body = b (int64 i, bool k, seq({inner}) u) => (bool l, seq({inner}) w) "
            f"{{ l = Identity(k) {body} }}> {after}").replace("float[a,b] e", "float[a,b]")


CASES = [
    sequence("position after the end", at(3), "position 3, the sequence has 3 parts", "SequenceAt"),
    sequence("position before the start", at(-4), "position -4, the sequence has 3 parts", "SequenceAt"),
    sequence("the least position", at(-(1 << 63)), "position -9223372036854775808, the sequence has 3 parts", "SequenceAt"),
    sequence("part of an empty one", "s = SequenceEmpty() y = SequenceAt(s, p)", "position 0, the sequence has 0 parts", "SequenceAt", initializers="int64 p = {0}"),
    sequence("part of an empty one, by a run's position", "s = SequenceEmpty() y = SequenceAt(s, p)", "the sequence is empty", "SequenceAt", inputs="int64 p"),
    sequence("position of two elements", f"{SEQUENCE} y = SequenceAt(s, p)", "the position is i64[2], expected one element", "SequenceAt", initializers="int64[2] p = {0, 1}"),
    sequence("position that is a float", f"{SEQUENCE} y = SequenceAt(s, p)", "input 1 (position) cannot be f32", "SequenceAt", initializers="float p = {0}"),
    sequence("insertion after the end", f"{SEQUENCE} t = SequenceInsert(s, x, p) y = SequenceLength(t)", "position 4, the sequence has 3 parts", "SequenceInsert", node_name="t", initializers="int64 p = {4}", **LENGTH),
    sequence("erasure after the end", f"{SEQUENCE} t = SequenceErase(s, p) y = SequenceLength(t)", "position 3, the sequence has 3 parts", "SequenceErase", node_name="t", initializers="int64 p = {3}", **LENGTH),
    sequence("erasure of nothing", "s = SequenceEmpty() t = SequenceErase(s) y = SequenceLength(t)", "the sequence is empty", "SequenceErase", node_name="t", **LENGTH),
    sequence("parts of two types", "s = SequenceConstruct(x, z) y = SequenceLength(s)", "inputs 0 and 1 must have one element type, got f32 and i64", "SequenceConstruct", node_name="s", inputs="float[2] x, int64[2] z", **LENGTH),
    sequence("insertion of another type", f"{SEQUENCE} t = SequenceInsert(s, i) y = SequenceLength(t)", "the sequence holds f32, the tensor is i64[1]", "SequenceInsert", node_name="t", initializers="int64[1] i = {0}", **LENGTH),
    sequence("insertion into an empty one of another type", "s = SequenceEmpty <dtype = 7> () t = SequenceInsert(s, x) y = SequenceLength(t)", "the sequence holds i64, the tensor is f32[2, 3]", "SequenceInsert", node_name="t", **LENGTH),
    sequence("type that does not exist", "s = SequenceEmpty <dtype = 99> () y = SequenceLength(s)", "attribute 'dtype': unknown data_type 99", "SequenceEmpty", node_name="s", **LENGTH),
    sequence("concatenation of nothing", "s = SequenceEmpty() y = ConcatFromSequence <axis = 0> (s)", "the sequence is empty", "ConcatFromSequence"),
    sequence("concatenation of parts of two ranks", "s = SequenceConstruct(x, z) y = ConcatFromSequence <axis = 0> (s)", "parts have ranks 2 and 1", "ConcatFromSequence", inputs="float[2,3] x, float[3] z"),
    sequence("concatenation of parts that differ elsewhere", "s = SequenceConstruct(x, z) y = ConcatFromSequence <axis = 0> (s)", "", "ConcatFromSequence", **PAIR),
    sequence("concatenation of parts that differ, along a new axis", "s = SequenceConstruct(x, z) y = ConcatFromSequence <axis = 0, new_axis = 1> (s)", "", "ConcatFromSequence", **{**PAIR, "outputs": "float[a,b,d] y"}),
    sequence("concatenation along an axis that is not there", f"{SEQUENCE} y = ConcatFromSequence <axis = 2> (s)", "axis 2 not in [-2, 1]", "ConcatFromSequence"),
    sequence("concatenation of scalars", "s = SequenceConstruct(x) y = ConcatFromSequence <axis = 0> (s)", "parts have rank 0, there is no axis to lay them along", "ConcatFromSequence", inputs="float x", outputs="float[a] y"),
    sequence("new_axis that is no flag", f"{SEQUENCE} y = ConcatFromSequence <axis = 0, new_axis = 2> (s)", "new_axis is 2, expected 0 or 1", "ConcatFromSequence"),
    sequence("split of 0", "s = SplitToSequence(x, k) y = SequenceLength(s)", "split is 0", "SplitToSequence", node_name="s", initializers="int64 k = {0}", **LENGTH),
    sequence("split of the least integer", "s = SplitToSequence(x, k) y = SequenceLength(s)", "split is -9223372036854775808", "SplitToSequence", node_name="s", initializers="int64 k = {-9223372036854775808}", **LENGTH),
    sequence("splits that do not sum up", "s = SplitToSequence <axis = 1> (x, k) y = SequenceLength(s)", "split sizes sum to 4, axis 1 has 3", "SplitToSequence", node_name="s", initializers="int64[2] k = {2, 2}", **LENGTH),
    sequence("splits of a scalar", "s = SplitToSequence(x) y = SequenceLength(s)", "axis 0 not in [0, -1]", "SplitToSequence", node_name="s", inputs="float x", **LENGTH),
    sequence("tensor for a sequence", "y = SequenceLength(x)", "input 0 (input_sequence) cannot be f32", "SequenceLength", **LENGTH),
    sequence("for a tensor", f"{SEQUENCE} y = Relu(s)", "input 0 (X) cannot be a sequence of 3 parts of f32", "Relu"),
    sequence("for a scanned input", f"{SEQUENCE} y = Scan <num_scan_inputs = 1, body = b (float[3] r) => (float[3] q) {{ q = Relu(r) }}> (s)", "input 0 (initial_state_and_scan_inputs) cannot be a sequence", "Scan"),
    sequence("map of sequences of two lengths", f"{SEQUENCE} t = SequenceConstruct(x, x) u = SequenceMap <body = b (float[2,3] p, float[2,3] q) => (float[2,3] r) {{ r = Add(p, q) }}> (s, t) y = SequenceLength(u)",
             "sequences of 3 parts and 2 parts", "SequenceMap", node_name="u", **LENGTH),
    sequence("map whose body takes too little", f"{SEQUENCE} u = SequenceMap <body = b () => (float[2,3] r) {{ r = Relu(x) }}> (s) y = SequenceLength(u)", "the body takes 0 inputs, expected 1", "SequenceMap", node_name="u", **LENGTH),
    sequence("map with an operand left out", f'{SEQUENCE} u = SequenceMap <body = b (float[2,3] p, float[2,3] q) => (float[2,3] r) {{ r = Add(p, q) }}> (s) y = SequenceLength(u)', "the body takes 2 inputs, expected 1", "SequenceMap", node_name="u", **LENGTH,
             change=lambda m: m.graph.node[1].input.append("") if len(m.graph.node[1].input) < 2 else None),
    sequence("map whose body yields a sequence", f"{SEQUENCE} u = SequenceMap <body = b (float[2,3] p) => (seq(float[2,3]) r) {{ r = SequenceConstruct(p) }}> (s) y = SequenceLength(u)",
             "the body yields a sequence of 1 part of f32, expected a tensor", "SequenceMap", node_name="u", **LENGTH),
    sequence("that becomes another type in a loop", appending("w = SequenceInsert(u, i)"), "the sequence holds f32, the tensor is i64[]", "SequenceInsert", node_name="w", **LOOP),
    sequence("optional without an element", "o = Optional <type = float[2]> () y = OptionalGetElement(o)", "the optional has no element", "OptionalGetElement", change=None),
    sequence("optional of nothing", "o = Optional() b = OptionalHasElement(o) y = Cast <to = 1> (b)", "neither an element nor a type", "Optional", node_name="o"),
    sequence("optional for a tensor", "o = Optional(x) y = Relu(o)", "input 0 (X) cannot be an optional of f32[2, 3]", "Relu"),
    sequence("optional without an element for a tensor", "o = Optional <type = float[2]> () y = Relu(o)", "input 0 (X) cannot be an optional without an element", "Relu"),

    refused("position of a run among different parts", "s = SequenceConstruct(x, z) y = SequenceAt(s, p)", "a position that only a run can tell, among parts f32[2, 3] and f32[2, 4]", "SequenceAt", inputs="float[2,3] x, float[2,4] z, int64 p"),
    refused("erasure where only a run can tell", f"{SEQUENCE} t = SequenceErase(s, p) y = SequenceLength(t)", "a position that only a run can tell", "SequenceErase", node_name="t", inputs="float[2,3] x, int64 p", **LENGTH),
    refused("insertion where only a run can tell", f"{SEQUENCE} t = SequenceInsert(s, x, p) y = SequenceLength(t)", "a position that only a run can tell", "SequenceInsert", node_name="t", inputs="float[2,3] x, int64 p", **LENGTH),
    refused("split by a run's size", "s = SplitToSequence(x, k) y = SequenceLength(s)", "a size of parts that only a run can tell", "SplitToSequence", node_name="s", inputs="float[2,3] x, int64 k", **LENGTH),
    refused("split of a symbol", "s = SplitToSequence(x, k) y = SequenceLength(s)", "parts of 2 elements along an axis of N", "SplitToSequence", node_name="s", inputs="float[N,3] x", initializers="int64 k = {2}", **LENGTH),
    refused("split into a trillion parts", "s = SplitToSequence(x, k) y = SequenceLength(s)", "a sequence of 549755813888 parts", "SplitToSequence", node_name="s", inputs="float[1099511627776] x", initializers="int64 k = {2}", **LENGTH),
    node("y = SplitToSequence(x)", "output 'y': a sequence of 1000000 parts, more than 10000", name="sequence: output of a million parts", inputs="float[1000000] x", outputs="seq(float[a]) y", exit=UNSUPPORTED),
    node("y = SplitToSequence(x)", "output 'y': a sequence whose length only a run can tell", name="sequence: output of N parts", inputs="float[N] x", outputs="seq(float[a]) y", exit=UNSUPPORTED),
    refused("branches of two lengths", "s = If (c) <then_branch = t () => (seq(float[2,3]) a) { a = SequenceConstruct(x) }, else_branch = e () => (seq(float[2,3]) b) { b = SequenceConstruct(x, x) }> y = SequenceLength(s)",
            "output 0 is a sequence of 1 part of f32 in one branch and a sequence of 2 parts of f32 in the other: a form that only a run can tell", "If", node_name="s", inputs="float[2,3] x, bool c", **LENGTH),
    sequence("branches of a tensor and a sequence", "s = If (c) <then_branch = t () => (a) { a = SequenceConstruct(x) }, else_branch = e () => (b) { b = Relu(x) }> y = SequenceLength(s)",
             "output 0 is a sequence of 1 part of f32 in one branch and f32[2, 3] in the other", "If", node_name="s", inputs="float[2,3] x, bool c", **LENGTH),
    refused("read by the loop that appends to it", appending("w = SequenceInsert(u, x) q = SequenceLength(u)"), "reading a sequence in the body of the loop that appends to it", "SequenceLength", node_name="q", **LOOP),
    refused("that a loop prepends to", appending("w = SequenceInsert(u, x, i)"), "reading a sequence in the body of the loop that appends to it", "SequenceInsert", node_name="w", **LOOP),
    refused("that a loop starts anew", appending("w = SequenceConstruct(x, x)", after="y = SequenceLength(t)"), "loop-carried value 0 starts as a sequence of 0 parts of f32 and becomes a sequence of 2 parts of f32: not by appending alone", "Loop", node_name="t", **{**LOOP, **LENGTH}),
    refused("of what a loop makes in different shapes", appending("o = Constant <value = int64[1] {1}> () j = Reshape(i, o) q = Expand(x, j) h = Shape(u0) w = SequenceInsert(u, q)".replace(" h = Shape(u0)", "").replace("q = Expand(x, j)", "z0 = Constant <value = int64[1] {0}> () q = Slice(x, z0, j)")),
            "appending parts of different shapes to loop-carried value 0", "Loop", node_name="t", **LOOP),
    refused("map over N parts of different shapes", "s = SplitToSequence(x) u = SequenceMap <body = b (float[1] p) => (int64[1,a] r) { r = NonZero(p) }> (s) y = SequenceLength(u)", "parts of different shapes, as many as only a run can tell", "SequenceMap", node_name="u", inputs="float[N] x", **LENGTH),
    node("y = SequenceLength(x)", "input 'x': a sequence; say how many parts it has: --length x=N", name="sequence: input of untold length", inputs="seq(float[2]) x", exit=UNSUPPORTED, **LENGTH),
    node("y = OptionalGetElement(x)", "input 'x': an optional; say whether it has an element: --optional x=present or --optional x=absent", name="sequence: input that may be absent", inputs="optional(float[2]) x", outputs="float[2] y", opset=18, exit=UNSUPPORTED),
    node("y = SequenceLength(x)", "input 'x': a sequence whose parts are not tensors", name="sequence: input of sequences", inputs="seq(seq(float[2])) x", exit=UNSUPPORTED, **LENGTH),

    node(f"{SEQUENCE} p = SequenceLength(s) y = ConcatFromSequence <axis = 0> (s)", name="sequence: fine", exit=FINE, **ANY),
    node(appending("w = SequenceInsert(u, x)"), name="sequence: that a loop appends to", exit=FINE, **{**LOOP, **ANY}),
]
