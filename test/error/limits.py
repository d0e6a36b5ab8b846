"""Small models that mean much work to whoever does it naively: each is accepted or refused in moderate time."""
from case import FINE, Case, model, node


def repeated(step, levels, first="s0 = Relu(x)"):
    """step(i) makes s{i+1} of s{i}; the last is y."""
    return " ".join([first, *(step(i) for i in range(levels)), f"y = Identity(s{levels})"])


def copies(count, change):
    """A model with that many copies of its node, each changed by change(node, index)."""
    message = model("y = Relu(x)")
    original = message.graph.node[0]
    for i in range(count):
        copy = message.graph.node.add()
        copy.CopyFrom(original)
        copy.output[0] = f"v{i}"
        change(copy, i)
    return message.SerializeToString()


def chain(length):
    def change(node, i):
        node.op_type, node.input[0] = ("Abs", "Sqrt")[i % 2], f"v{i - 1}" if i else "y"
    return copies(length, change)


def colliding_symbols(m):
    """Twenty thousand inputs, whose dimensions have different names of one spelling."""
    for i in range(20_000):
        added = m.graph.input.add()
        added.CopyFrom(m.graph.input[0])
        added.name = f"x{i}"
        added.type.tensor_type.shape.dim[0].dim_param = "N" + chr(0x4E00 + i)


CASES = [
    Case("chain of 100000 nodes", chain(100_000), [], FINE),
    Case("5000 unknown operators", copies(5000, lambda node, i: setattr(node, "op_type", "Fooo")), ["no operator 'Fooo'"] * 5000),
    node("y = Relu(x)", name="20000 symbols of one spelling", exit=FINE, change=colliding_symbols),
    node(repeated(lambda i: f"s{i + 1} = Add(s{i}, s{i})", 60), name="sum doubled 60 times", exit=FINE),
    node(repeated(lambda i: f"t{i} = Sqrt(s{i}) s{i + 1} = Add(s{i}, t{i})", 60), name="diamonds, 60 deep", exit=FINE),
    node(repeated(lambda i: f"s{i + 1} = Concat <axis = 0> (s{i}, s{i})", 50), name="concatenated with itself 50 times", exit=FINE, outputs="float[a,b] y"),
    node(repeated(lambda i: f"s{i + 1} = Concat <axis = 0> (s{i}, s{i})", 60), "has too many elements", name="concatenated with itself 60 times", outputs="float[a,b] y"),
    node(repeated(lambda i: f"t{i} = Transpose(s{i}) s{i + 1} = Add(s{i}, t{i})", 40), name="added to its transpose 40 times", exit=FINE, inputs="float[8,8] x", outputs="float[8,8] y"),
    node(repeated(lambda i: f"s{i + 1} = Mul(s{i}, s{i})", 60, "s0 = Shape(x)"), name="shape squared 60 times", exit=FINE,
         inputs="float[N,M] x", outputs="int64[2] y"),
    node("y = Transpose <perm = [" + ", ".join(["7"] * 100_000) + "]> (x)", "perm [7, 7,", name="attribute of 100000 numbers"),
]
