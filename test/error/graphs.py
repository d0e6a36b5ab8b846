"""Graphs, the graphs inside them, and functions that do not hold together."""
from case import Case, function, model, node

CONDITION = "bool c"
BOOLS = "bool[1] c, float[2,3] x"


def bomb(levels):
    """Each function calls the next twice: 2^levels nodes in a few kilobytes."""
    chain = "".join(function(f"F{i}", f"t = f.F{i + 1}(x) y = f.F{i + 1}(t)") for i in range(levels))
    return chain + function(f"F{levels}", "y = Relu(x)")


def deep(levels):
    return "".join(function(f"F{i}", f"y = f.F{i + 1}(x)") for i in range(levels)) + function(f"F{levels}", "y = Relu(x)")


def several_faults(m):
    """Six faults, in six places, in one model."""
    m.ir_version = 1
    m.graph.initializer.add(name="w", data_type=1, dims=[4], raw_data=b"1234")
    m.graph.initializer.add(name="v", data_type=77)


CASES = [
    node("[add1] a = Add(x, c) [relu1] b = Relu(a) [relu2] c = Relu(b) y = Relu(c)", "cycle: 'add1' -> 'relu1' -> 'relu2' -> 'add1'", name="cycle"),
    node("[loop] y = Add(x, y)", "cycle: 'loop' -> 'loop'", name="node that uses its own result"),
    node("y = Relu(nope)", "node 'y' (Relu): input 0 'nope' is not produced by any node, input or initializer", name="dangling input"),
    node("y = If (c) <then_branch = t () => (float[2,3] a) { a = Relu(nope) }, else_branch = e () => (float[2,3] b) { b = Relu(x) }>", "input 0 'nope' is not produced",
         name="dangling input in a branch", inputs=BOOLS),
    node("y = Relu(x) [second] y = Abs(x)", "node 'second' (Abs): value 'y' is already defined by node 'y' (Relu)", name="value defined twice"),
    node("w = Relu(x) y = Add(x, w)", "node 'w' (Relu): value 'w' is already defined as an initializer", name="value that is an initializer", initializers="float[2,3] w = {1,2,3,4,5,6}"),
    node("x = Relu(x) y = Relu(x)", "value 'x' is already defined as an input", name="value that is an input"),
    node("y = If (c) <then_branch = t () => (float[2,3] x) { x = Relu(x) }, else_branch = e () => (float[2,3] b) { b = Relu(x) }>", "value 'x' is already defined outside", "",
         name="branch that hides an outer value", inputs=BOOLS),
    node("y = Relu(x)", "the graph has two inputs named 'x'", name="input given twice", inputs="float[2,3] x, float[2,3] x"),
    node("z = Relu(x)", "output 'y' of the graph is never produced", name="output never produced"),
    node("z = Relu(x)", "the graph has no outputs", name="no outputs", outputs=""),
    node("y = Relu(x)", "two outputs named 'y'", name="output given twice", outputs="float[2,3] y, float[2,3] y"),
    node("y = Relu(x)", "the graph has an input without a name", name="input without a name", change=lambda m: m.graph.input.add().type.CopyFrom(m.graph.input[0].type)),
    node("[conv1] y = Conv(x)", "node 'conv1' (Conv, opset 17): takes 2 to 3 inputs, got 1", name="too few inputs"),
    node("y = Relu(x, x)", "takes 1 input, got 2", name="too many inputs"),
    node("y, z = Relu(x)", "takes 1 output, got 2", name="too many outputs"),
    node("y = Relu(x)", "output 'y' of the graph is never produced", name="too few outputs", change=lambda m: m.graph.node[0].ClearField("output")),
    node("y = Conv(x, , x)", "input 1 (W) is required", name="required input left out"),
    node("y = Relu <then_branch = t () => (float[2,3] a) { a = Relu(x) }> (x)", "attribute 'then_branch' is not allowed", name="graph attribute on Relu"),

    node("y = If (c) <then_branch = t () => (float[2,3] a, float[2,3] d) { a = Relu(x) d = Abs(x) }, else_branch = e () => (float[2,3] b) { b = Relu(x) }>",
         "node 'y' (If, opset 17): then_branch yields 2 values, the node has 1 output", name="branch with two values, If with one", inputs=BOOLS),
    node("y = If (k) <then_branch = t () => (float[2,3] a) { a = Relu(x) }, else_branch = e () => (float[2,3] b, float[2,3] d) { b = Relu(x) d = Abs(x) }>",
         "node 'y' (If, opset 17): else_branch yields 2 values, the node has 1 output", name="the branch not taken with two values", initializers="bool[1] k = {1}"),
    node("y = If (c) <then_branch = t (float[2,3] q) => (float[2,3] a) { a = Relu(q) }, else_branch = e () => (float[2,3] b) { b = Relu(x) }>",
         "node 'y' (If, opset 17): then_branch takes 1 input, expected none", name="branch with an input", inputs=BOOLS),
    node("y = If (x) <then_branch = t () => (float[2,3] a) { a = Relu(x) }, else_branch = e () => (float[2,3] b) { b = Relu(x) }>",
         "node 'y' (If, opset 17): input 0 (cond) cannot be f32", name="condition that is a float"),
    node("y = If (c) <then_branch = t () => (float[2,3] a) { a = Relu(x) }>", "attribute 'else_branch' is missing", name="If without else", inputs=BOOLS),

    node("y = f.A(x)", "recursion: f::A -> f::B -> f::A", name="recursive functions", functions=function("A", "y = f.B(x)") + function("B", "y = f.A(x)")),
    node("y = f.A(x)", "recursion: f::A -> f::A", name="function that calls itself", functions=function("A", "y = f.A(x)")),
    node("y = Relu(x)", "recursion: f::A -> f::A", name="recursion that is never entered", functions=function("A", "y = f.A(x)")),
    node("y = f.F0(x)", "inlining functions exceeds 1000000 nodes", name="2^30 nodes when inlined", functions=bomb(30)),
    node("y = f.F0(x)", "functions call each other more than 100 deep", name="functions 3000 deep", functions=deep(3000)),
    node("y = f.A(x)", "function 'f::A' is given twice", name="function given twice", functions=function("A", "y = Relu(x)") * 2),
    node("y = f.A(x)", "node 'y' (A, opset 1): attribute 'slope' of the function is missing", name="attribute of a function left out",
         functions=function("A", "y = LeakyRelu <alpha: float = @slope> (x)", attributes="<slope>")),
    node("y = f.A(x)", "refers to 'slope', which is no attribute of function 'A'", name="reference to an attribute the function does not declare",
         functions=function("A", "y = LeakyRelu <alpha: float = @slope> (x)")),
    node("y = LeakyRelu <alpha: float = @slope> (x)", "attribute 'alpha' refers to 'slope' outside of any function", name="reference outside of a function"),
    node("y = f.A(x, x)", "node 'y' (A, opset 1): takes 1 input, got 2", name="too many inputs for a function", functions=function("A", "y = Relu(x)")),
    node("y, z = f.A(x)", "node 'y' (A, opset 1): has 1 output, 2 are used", name="too many outputs for a function", functions=function("A", "y = Relu(x)")),
    node("y = f.A()", "node 'y/y' (Relu, opset 17): input 0 (X) is left out", name="operand that a call leaves out", functions=function("A", "y = Relu(x)")),
    node("y = f.A(, x)", "node 'y/y' (Concat, opset 17): input 1 (inputs) is left out", name="operand in a list that a call leaves out", functions=function("A", "y = Concat <axis = 0> (z, x, z)", inputs="x, z")),
    node("y = Concat <axis = 0> (x, , x)", "node 'y' (Concat, opset 17): input 1 (inputs) is left out", name="operand in a list left out"),
    node("y = f.A(x)", "input 0 'nope' is not produced", name="dangling input in a function", functions=function("A", "y = Relu(nope)")),
    node("y = f.A(x)", "node 'y/y' (Fooo, opset 17): no operator 'Fooo'", name="unknown operator in a function", functions=function("A", "y = Fooo(x)")),
    node("y = f.B(x)", "node 'y' (B, opset 1): unknown domain 'f', and the model has no such function", name="unknown function", functions=function("A", "y = Relu(x)")),

    Case("many faults at once: nodes",
         model("[one] a = Conv(x) [two] b = Fooo(x) [three] c = Softmax <axis = 7> (x) [four] d = Relu(a) [five] e = Cast <to = 999> (x) y = Add(d, e)").SerializeToString(),
         ["node 'one' (Conv, opset 17)", "node 'two' (Fooo, opset 17)", "node 'three' (Softmax, opset 17)", "node 'five' (Cast, opset 17)"]),
    node("[one] a = Relu(nope) [two] a = Abs(x) [three] y = Relu(gone)", "ir_version 1 (supported", "value 'a' is already defined", "node 'one' (Relu): input 0 'nope'",
         "node 'three' (Relu): input 0 'gone'", "initializer 'w'", "initializer 'v'", name="many faults at once: names and tensors", change=several_faults),
]
