"""Attributes and operands that operators cannot take: each names the node, what was found and what is allowed."""
from case import UNSUPPORTED, node

IMAGE = {"inputs": "float[1,3,8,8] x", "outputs": "float[a,b,c,d] y"}
KERNEL = {**IMAGE, "initializers": "float[4,3,3,3] w"}
ANY = {"outputs": "float[a,b] y"}
INTEGERS = {"inputs": "int32[2,3] x", "outputs": "int32[2,3] y"}
MINIMUM = -(1 << 63)
HUGE = 1 << 40


def weights(*dims, name="w"):
    """An initializer of zeros; its text form would be long."""
    count = 1
    for dim in dims:
        count *= dim

    def change(m):
        m.graph.initializer.add(name=name, data_type=1, dims=dims, raw_data=bytes(4 * count))
    return change


def conv(attributes, line, dims=(4, 3, 3, 3), op="Conv", **arguments):
    written = f"<{attributes}>" if attributes else ""
    return node(f"[n] y = {op} {written} (x, w)", f"node 'n' ({op}, opset 17): {line}", name=f"{op}: {attributes or dims}", change=weights(*dims), **{**IMAGE, **arguments})


def one(body, line, operator, exit=1, opset=17, **arguments):
    return node(f"[n] {body}", f"node 'n' ({operator}, opset {opset}): {line}", name=f"{operator}: {body}", exit=exit, opset=opset, **{**ANY, **arguments})


def weights_nan(m):
    m.graph.initializer.add(name="w", data_type=1, dims=[2], float_data=[float("nan"), 1])


def attention(attributes, line, operands="x, x, x", **arguments):
    return node(f"[n] y = Attention <{attributes}> ({operands})", f"node 'n' (Attention, opset 24): {line}", name=f"Attention: {attributes} of {operands}",
                opset=24, inputs="float[1,4,6] x", outputs="float[a,b,c] y", **arguments)


def microsoft(body, line, **arguments):
    operator = body.split()[0]
    return node(f"[n] y = com.microsoft.{body}", f"node 'n' ({operator}, opset 1): {line}", name=f"com.microsoft.{body}", inputs="float[1,4,6] x",
                outputs="float[a,b,c] y", imports='"com.microsoft" : 1', **arguments)


def with_attribute(line, name, **values):
    """Softmax with one more attribute, put together by hand."""
    def change(m):
        attribute = m.graph.node[0].attribute.add(name="axis")
        for key, value in values.items():
            if isinstance(value, list):
                getattr(attribute, key).extend(value)
            else:
                setattr(attribute, key, value)
    return node("[n] y = Softmax(x)", f"node 'n' (Softmax, opset 17): {line}", name=name, change=change)


CASES = [
    with_attribute("attribute 'axis': expected INT, got FLOATS", "attribute of the wrong type", floats=[1.0], type=6),
    with_attribute("attribute 'axis': declared INT, holds FLOAT", "attribute that declares another type", f=1.0, type=2),
    with_attribute("attribute 'axis': holds two values (FLOAT and INT)", "attribute of two values", f=1.0, i=1, type=2),
    with_attribute("attribute 'axis': holds no value", "attribute without a value or type"),
    one("y = Softmax <axis = 1, axis = 1> (x)", "attribute 'axis' is given twice", "Softmax"),
    one("y = Softmax <alpha = 1> (x)", "attribute 'alpha' is not allowed", "Softmax"),
    one("y = Concat(x, x)", "attribute 'axis' is missing", "Concat"),
    one("y = Cast <to = 999> (x)", "attribute 'to': unknown data_type 999", "Cast"),
    one("y = Cast <to = 0> (x)", "attribute 'to': unknown data_type 0", "Cast"),
    one("y = Cast <to = 4294967297> (x)", "attribute 'to': unknown data_type 4294967297", "Cast"),

    one("y = Softmax <axis = -100> (x)", "axis -100 not in [-2, 1]", "Softmax"),
    one(f"y = Softmax <axis = {MINIMUM}> (x)", f"axis {MINIMUM} not in [-2, 1]", "Softmax"),
    one(f"y = Concat <axis = {MINIMUM}> (x, x)", f"axis {MINIMUM} not in [-2, 1]", "Concat"),
    one(f"y = Flatten <axis = {MINIMUM}> (x)", f"axis {MINIMUM} not in [-2, 2]", "Flatten"),
    one("y = Gather <axis = 2> (x, i)", "axis 2 not in [-2, 1]", "Gather", initializers="int64[1] i = {0}"),
    one("y = ReduceSum (x, i)", "axis 5 not in [-2, 1]", "ReduceSum", initializers="int64[1] i = {5}"),
    one("y = ReduceSum (x, i)", "axis 1 is given twice", "ReduceSum", initializers="int64[2] i = {1, -1}"),
    one("y = ArgMax <axis = 2> (x)", "axis 2 not in [-2, 1]", "ArgMax", outputs="int64[a,b] y"),
    one("y = Transpose <perm = [0, 0]> (x)", "perm [0, 0] is not a permutation of 0..1", "Transpose"),
    one("y = Transpose <perm = [0, 2]> (x)", "perm [0, 2] is not a permutation of 0..1", "Transpose"),
    one("y = Transpose <perm = [0]> (x)", "perm [0] is not a permutation of 0..1", "Transpose"),
    one("y = Squeeze (x, i)", "axis 0 has extent 2, expected 1", "Squeeze", initializers="int64[1] i = {0}"),
    one("y = Squeeze (x, i)", "axis 0 is given twice", "Squeeze", initializers="int64[2] i = {0, -2}", inputs="float[1,3] x"),
    one("y = Unsqueeze (x, i)", "axis 0 is given twice", "Unsqueeze", initializers="int64[2] i = {0, 0}", outputs="float[a,b,c,d] y"),
    one("y = Unsqueeze (x, i)", "axis 4 not in [-3, 2]", "Unsqueeze", initializers="int64[1] i = {4}", outputs="float[a,b,c] y"),

    one("y = ScatterElements <axis = 0> (x, i, x)", "index 2 not in [-2, 1]", "ScatterElements", initializers="int64[2,3] i = {0, 1, 1, 0, 1, 2}", opset=18),
    one("y = ScatterElements <axis = 1> (x, i, w)", "axis 0 of the updates has extent 3, the data's has 2", "ScatterElements", initializers="int64[3,1] i = {0, 1, 1}, float[3,1] w = {1, 2, 3}", opset=18),
    one('y = ScatterElements <reduction = "sum"> (x, i, x)', "reduction 'sum' is unknown", "ScatterElements", initializers="int64[2,3] i = {0, 1, 1, 0, 1, 1}", opset=18),
    one("y = ScatterND (x, i, w)", "index tuples have 3 elements, data has rank 2", "ScatterND", initializers="int64[1,3] i = {0, 1, 1}, float[1] w = {1}", opset=18),
    one("y, z = TopK (x, i)", "k is 4, axis 1 has extent 3", "TopK", initializers="int64[1] i = {4}"),
    one("y, z = TopK (x, i)", "k is -1, axis 1 has extent 3", "TopK", initializers="int64[1] i = {-1}"),
    one("y = CumSum (x, i)", "axis 2 not in [-2, 1]", "CumSum", initializers="int64 i = {2}"),
    one("y = Resize (x, , w)", "1 scales for 2 axes", "Resize", initializers="float[1] w = {2}"),
    one("y = Resize (x, , w)", "scale 0 of axis 0", "Resize", initializers="float[2] w = {0, 1}"),
    one("y = Resize (x, , w)", "scale nan of axis 0", "Resize", change=weights_nan),
    node("y = Resize (x, , w)", name="Resize: a scale of 1e-40", exit=0, inputs="float[2,3] x", outputs="float[a,b] y", initializers="float[2] w = {1e-40, 1}"),
    one("y = Resize (x)", "neither scales nor sizes are given", "Resize"),
    one('y = Resize <mode = "blurry"> (x, , w)', "mode 'blurry' is unknown", "Resize", initializers="float[2] w = {2, 1}"),
    one("y = Resize (x, , , i)", "size -1 of axis 0", "Resize", initializers="int64[2] i = {-1, 1}"),
    one(f"y = Resize (x, , , i)", "", "Resize", initializers=f"int64[2] i = {{{HUGE}, {HUGE}}}"),
    one('y = GridSample <padding_mode = "fog"> (x, x)', "padding_mode 'fog' is unknown", "GridSample", inputs="float[1,3,8,8] x", outputs="float[a,b,c,d] y"),
    one("y = GridSample (x, w)", "grid of shape", "GridSample", initializers="float[1,1,1,3] w = {0, 0, 0}", inputs="float[1,3,8,8] x", outputs="float[a,b,c,d] y"),
    one("y = RegexFullMatch <pattern = \"" + "(?:" * 6 + "){1000}" * 5 + ")\"> (t)", "a pattern whose repetitions unfold 1000000 times", "RegexFullMatch", exit=UNSUPPORTED, opset=20, inputs="string[N] t", outputs="bool[a] y"),
    one("y = RegexFullMatch <pattern = \"(?i)" + "a" * 20000 + "\"> (t)", "a pattern of 20004 bytes, more than 16384", "RegexFullMatch", exit=UNSUPPORTED, opset=20, inputs="string[N] t", outputs="bool[a] y"),
    node("c = ConstantOfShape(s) p = MaxPool <kernel_shape = [800, 800]> (c) y = Add(p, x)", name="MaxPool: 800x800 of a constant", exit=0, inputs="float[1] x", outputs="float[a,b,c,d] y", initializers="int64[4] s = {1,1,1000,1000}"),
    one("y = STFT (x, s, w)", "window has rank 0, expected 1", "STFT", inputs="float[1,128,1] x, float w", initializers="int64 s = {8}", outputs="float[a,b,c,d] y"),
    one("y = DFT <axis = 2> (x)", "axis 2 is that of the complex parts", "DFT", inputs="float[1,4,2] x", outputs="float[a,b,c] y"),
    one("y = DFT (x, i)", "a transform must have a length of 1 or more", "DFT", inputs="float[1,4,2] x", initializers="int64 i = {0}", outputs="float[a,b,c] y"),
    one("y = BitCast <to = 11> (x)", "bits of f32 cannot be read as f64", "BitCast", opset=26, outputs="double[a,b] y"),
    one("y = Col2Im (x, i, j)", "an extent 0 of block_shape", "Col2Im", initializers="int64[2] i = {4, 4}, int64[2] j = {0, 2}", inputs="float[1,4,4] x", outputs="float[a,b,c,d] y", opset=18),
    one("y = RoiAlign <output_height = 0> (x, r, b)", "output_height must be from 1 to 65536, got 0", "RoiAlign", initializers="float[1,4] r = {0, 0, 1, 1}, int64[1] b = {0}", **IMAGE),

    conv("group = 0", "group must be 1 or more, got 0"),
    conv(f"group = {MINIMUM}", f"group must be 1 or more, got {MINIMUM}"),
    conv("group = 2", "input has 3 channels, weight and group 2 want 6"),
    conv(f"group = {1 << 62}", f"group {1 << 62} exceeds"),
    conv("strides = [0, 1]", "strides must be from 1 to 2147483648, got 0"),
    conv("strides = [-1, 1]", "strides must be from 1 to 2147483648, got -1"),
    conv("strides = [1]", "strides has 1 element, expected 2"),
    conv("dilations = [1, 0]", "dilations must be from 1 to 2147483648, got 0"),
    conv("pads = [1, 1, 1]", "pads has 3 elements, expected 4"),
    conv(f"pads = [{1 << 62}, 0, 0, 0]", f"pads must be from 0 to 2147483648, got {1 << 62}"),
    conv("pads = [-1, 0, 0, 0]", "pads must be from 0 to 2147483648, got -1"),
    conv("kernel_shape = [0, 0]", "kernel_shape must be from 1 to 2147483648, got 0"),
    conv("kernel_shape = [5, 5]", "kernel_shape [5, 5] differs from the weight's [3, 3]"),
    conv('auto_pad = "MAYBE"', "auto_pad 'MAYBE' is unknown"),
    conv("dilations = [9, 9]", "kernel 3 with dilation 9 exceeds the padded extent 8"),
    conv("", "weight has rank 6, expected 4", dims=(4, 3, 3, 3, 1, 1)),
    conv("", "kernel has extent 0", dims=(4, 3, 0, 3)),
    conv("", "input has rank 2, expected 3 or more", inputs="float[2,3] x"),
    conv("group = 3", "4 output channels are not a multiple of group 3", dims=(4, 1, 3, 3)),
    conv("group = 0", "group must be 1 or more, got 0", dims=(3, 4, 3, 3), op="ConvTranspose"),
    conv(f"output_shape = [{HUGE}, {HUGE}]", f"output_shape must be from 1 to 2147483648, got {HUGE}", dims=(3, 4, 3, 3), op="ConvTranspose"),
    conv("output_padding = [1, 1]", "output_padding 1 must be below stride 1 or dilation 1", dims=(3, 4, 3, 3), op="ConvTranspose"),
    one("y = MaxPool <kernel_shape = [0, 0]> (x)", "kernel_shape must be from 1 to 2147483648, got 0", "MaxPool", **IMAGE),
    one("y = MaxPool <kernel_shape = [9, 9]> (x)", "kernel 9 with dilation 1 exceeds the padded extent 8", "MaxPool", **IMAGE),
    one("y = MaxPool <kernel_shape = [2, 2], pads = [2, 2, 2, 2]> (x)", "pads 2 and 2 of axis 0 must be below the kernel's reach 2", "MaxPool", **IMAGE),
    one("y = MaxPool <kernel_shape = [2]> (x)", "kernel_shape has 1 element, expected 2", "MaxPool", **IMAGE),
    one("y = AveragePool <kernel_shape = [2, 2], strides = [0, 0]> (x)", "strides must be from 1 to 2147483648, got 0", "AveragePool", **IMAGE),
    one("y = LRN <size = 0> (x)", "size must be 1 or more, got 0", "LRN", **IMAGE),
    one("y = DepthToSpace <blocksize = 0> (x)", "blocksize must be from 1 to", "DepthToSpace", **IMAGE),
    one(f"y = DepthToSpace <blocksize = {1 << 32}> (x)", f"blocksize must be from 1 to 1048576, got {1 << 32}", "DepthToSpace", **IMAGE),
    one("y = DepthToSpace <blocksize = 2> (x)", "channel count 3 is not a multiple of 4", "DepthToSpace", **IMAGE),
    one("y = SpaceToDepth <blocksize = -1> (x)", "blocksize must be from 1 to 1048576, got -1", "SpaceToDepth", **IMAGE),

    one("y = MatMul(x, x)", "inner extents are 3 and 2", "MatMul"),
    one("y = Gemm(x, x)", "inner extents are 3 and 2", "Gemm"),
    one("y = Add(x, w)", "shapes [2, 3] and [2, 4] do not broadcast: extents 3 and 4 do not broadcast", "Add", initializers="float[2,4] w = {1,2,3,4,5,6,7,8}"),
    one("y = Add(x, i)", "inputs 0 and 1 must have one element type, got f32 and i64", "Add", initializers="int64[3] i = {1,2,3}"),
    one("y = Concat <axis = 0> (x, w)", "", "Concat", initializers="float[2,4] w = {1,2,3,4,5,6,7,8}"),
    one("y = Concat <axis = 0> (x, w)", "", "Concat", initializers="float[2] w = {1,2}"),
    one("y = Sqrt(x)", "input 0 (X) cannot be i32", "Sqrt", **INTEGERS),
    one("y = BitShift <direction = \"UP\"> (x, x)", "direction 'UP' is neither LEFT nor RIGHT", "BitShift", inputs="uint8[2,3] x", outputs="uint8[2,3] y"),

    one("y = Reshape(x, i)", "two extents are -1", "Reshape", initializers="int64[2] i = {-1, -1}"),
    one("y = Reshape(x, i)", "extent -2 of axis 0", "Reshape", initializers="int64[2] i = {-2, 3}"),
    one("y = Reshape(x, i)", "cannot reshape 6 elements to [5, 5]", "Reshape", initializers="int64[2] i = {5, 5}"),
    one("y = Reshape(x, i)", "cannot reshape 6 elements to [4, -1]", "Reshape", initializers="int64[2] i = {4, -1}"),
    one("y = Reshape(x, i)", "", "Reshape", initializers=f"int64[4] i = {{{1 << 32}, {1 << 32}, 3, 2}}", outputs="float[a,b,c,d] y"),
    one("y = Reshape <allowzero = 1> (x, i)", "cannot infer -1 beside an extent of 0", "Reshape", initializers="int64[2] i = {0, -1}"),
    one("y = Reshape(x, i)", "extent 0 of axis 2 copies an axis the input of rank 2 lacks", "Reshape", initializers="int64[3] i = {2, 3, 0}", outputs="float[a,b,c] y"),
    one("y, z = Split <axis = 1> (x, i)", "split sizes sum to 14, axis 1 has 3", "Split", initializers="int64[2] i = {7, 7}"),
    one("y, z = Split <axis = 1> (x, i)", "split size -1", "Split", initializers="int64[2] i = {-1, 4}"),
    one("y, z = Split <axis = 1> (x)", "cannot split extent 3 into 2 equal parts", "Split"),
    one("y, z = Split <axis = 1> (x, i)", "3 split sizes for 2 outputs", "Split", initializers="int64[3] i = {1, 1, 1}"),
    one("y, z = Split <axis = 1, num_outputs = 7> (x)", "num_outputs is 7, the node has 2 outputs", "Split", opset=18),
    one("y = Slice(x, i, j, k, l)", "step 0", "Slice", initializers="int64[1] i = {0}, int64[1] j = {2}, int64[1] k = {0}, int64[1] l = {0}"),
    one("y = Slice(x, i, j)", "starts, ends, axes and steps have 1, 2, 1 and 1 elements", "Slice", initializers="int64[1] i = {0}, int64[2] j = {2, 2}"),
    one("y = Slice(x, i, j, k)", "axis 7 not in [-2, 1]", "Slice", initializers="int64[1] i = {0}, int64[1] j = {2}, int64[1] k = {7}"),
    one("y = Pad(x, i)", "3 pads for 2 axes", "Pad", initializers="int64[3] i = {0, 0, 0}"),
    one("y = Pad(x, i)", "pads leave extent -3 of axis 0", "Pad", initializers="int64[4] i = {-5, 0, 0, 0}"),
    one('y = Pad <mode = "sideways"> (x, i)', "mode 'sideways' is unknown", "Pad", initializers="int64[4] i = {0, 0, 0, 0}"),
    one("y = Pad(x, i)", "", "Pad", initializers=f"int64[4] i = {{{1 << 62}, {1 << 62}, 0, 0}}"),
    one('y = Pad <mode = "reflect"> (x, i)', "mode 'reflect' needs elements along axis 0", "Pad", initializers="int64[4] i = {5, 0, 0, 0}", inputs="float[0,3] x"),
    one("y = Tile(x, i)", "3 repeats, the input has rank 2", "Tile", initializers="int64[3] i = {1, 1, 1}"),
    one("y = Tile(x, i)", "repeat -1 of axis 0", "Tile", initializers="int64[2] i = {-1, 1}"),
    one("y = Tile(x, i)", "f32[1099511627776, 2, 1099511627776, 3] has too many elements", "Tile", initializers=f"int64[2] i = {{{HUGE}, {HUGE}}}"),
    one("y = Expand(x, i)", "f32[1099511627776, 1099511627776, 2, 3] has too many elements", "Expand", initializers=f"int64[4] i = {{{HUGE}, {HUGE}, 2, 3}}", outputs="float[a,b,c,d] y"),
    one("y = Expand(x, i)", "shapes [2, 3] and [2, 5] do not broadcast: extents 3 and 5 do not broadcast", "Expand", initializers="int64[2] i = {2, 5}"),
    one("y = Expand(x, i)", "negative extent -1", "Expand", initializers="int64[2] i = {-1, 3}"),
    one("y = ConstantOfShape(i)", "f32[1099511627776, 1099511627776] has too many elements", "ConstantOfShape", initializers=f"int64[2] i = {{{HUGE}, {HUGE}}}"),
    one("y = ConstantOfShape(i)", "negative extent -4", "ConstantOfShape", initializers="int64[2] i = {-4, 2}"),
    one("y = Range(i, j, k)", "delta is 0", "Range", initializers="int64 i = {0}, int64 j = {9}, int64 k = {0}", outputs="int64[a] y"),
    one("y = Range(i, j, k)", "range from 0 to 9 by 0", "Range", initializers="float i = {0}, float j = {9}, float k = {0}", outputs="float[a] y"),
    one("y = Range(i, j, k)", "range from 0 to 1073741824 by 0.0009765625", "Range", initializers="float i = {0}, float j = {1073741824}, float k = {0.0009765625}", outputs="float[a] y"),
    one("y = Range(i, j, k)", "input 1 is f32[0], expected one element", "Range", initializers="float i = {0}, float[0] j = {}, float k = {1}", outputs="float[a] y"),
    one("y = CumSum(x, i)", "input 1 has 0 elements, expected 1", "CumSum", initializers="int64[0] i = {}"),
    node("y = HannWindow (n)", "(Range, opset 17): input 1 is f32[0], expected one element", name="HannWindow of no size", inputs="", initializers="int32[0] n = {}", outputs="float[a] y"),
    one("y = OneHot(i, d, v)", "depth -3 must be at least 1", "OneHot", initializers="int64[2] i = {0, 1}, int64 d = {-3}, float[2] v = {0, 1}"),
    one("y = OneHot(i, d, v)", "values must have two elements", "OneHot", initializers="int64[2] i = {0, 1}, int64 d = {3}, float[3] v = {0, 1, 2}"),
    one("y = Gather(x, i)", "index 99 not in [-2, 1]", "Gather", initializers="int64[1] i = {99}"),
    one("y = Gather(x, i)", f"index {MINIMUM} not in [-2, 1]", "Gather", initializers=f"int64[1] i = {{{MINIMUM}}}"),
    one("y = GatherElements(x, i)", "index 5 not in [-2, 1]", "GatherElements", initializers="int64[1,3] i = {0, 1, 5}"),
    one("y = GatherElements(x, i)", "indices have rank 1, data has 2", "GatherElements", initializers="int64[3] i = {0, 1, 1}"),
    one("y = GatherND(x, i)", "index tuples have 3 elements, data has rank 2", "GatherND", initializers="int64[1,3] i = {0, 1, 1}", outputs="float[a] y"),
    one("y = GatherND(x, i)", "index 7 not in [-3, 2]", "GatherND", initializers="int64[1,2] i = {0, 7}", outputs="float[a] y"),

    one('y = Einsum <equation = "ij,jk->"> (x)', "equation has 2 terms for 1 input", "Einsum", outputs="float y"),
    one('y = Einsum <equation = "ijklmnop->i"> (x)', "equation term 'ijklmnop' has 8 indices, input 0 has rank 2", "Einsum"),
    one('y = Einsum <equation = "i1->i"> (x)', "equation 'i1->i' is malformed", "Einsum"),
    one('y = Einsum <equation = "ij->ij->i"> (x)', "equation 'ij->ij->i' is malformed", "Einsum"),
    one('y = Einsum <equation = "ij->z"> (x)', "index 'z' of the result of equation 'ij->z'", "Einsum"),
    one('y = Einsum <equation = "ij,ik->jk"> (x, w)', "", "Einsum", initializers="float[4,4] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}"),
    node("[n] y = LSTM <hidden_size = 1099511627776> (x, w, r)", "node 'n' (LSTM, opset 17): hidden_size 1099511627776 but R has 4 columns", name="LSTM: hidden_size 2^40",
         inputs="float[5,1,3] x", outputs="float[a,b,c,d] y", change=lambda m: (weights(1, 16, 3)(m), weights(1, 16, 4, name="r")(m))),
    node("[n] y = LSTM (x, w, r)", "node 'n' (LSTM, opset 17): W has extent 12 of axis 1, expected 16", name="LSTM: weights that do not fit",
         inputs="float[5,1,3] x", outputs="float[a,b,c,d] y", change=lambda m: (weights(1, 12, 3)(m), weights(1, 16, 4, name="r")(m))),
    one("y = LayerNormalization(x, s)", "", "LayerNormalization", initializers="float[7] s = {1,2,3,4,5,6,7}"),
    one("y = BatchNormalization(x, s, s, s, s)", "scale has 7 elements, input has 3 channels", "BatchNormalization", initializers="float[7] s = {1,2,3,4,5,6,7}"),
    one("y = InstanceNormalization(x, s, s)", "scale has 7 elements, input has 3 channels", "InstanceNormalization", initializers="float[7] s = {1,2,3,4,5,6,7}", **IMAGE),
    one("y = Clip(x, w)", "a bound has shape [2], expected a scalar", "Clip", initializers="float[2] w = {1, 2}"),
    one("y = Gelu <approximate = \"some\"> (x)", "approximate 'some' is neither none nor tanh", "Gelu", opset=20),
    one('y = Attention <q_num_heads = 2, kv_num_heads = 2> (x, x, x)', "Q has rank 2, expected 3 or 4", "Attention", opset=24),
    attention("q_num_heads = 0, kv_num_heads = 1", "0 heads, expected from 1 to 1048576"),
    attention("q_num_heads = 3, kv_num_heads = 2", "head sizes of Q and K are 2 and 3, expected equal"),
    attention("q_num_heads = 5, kv_num_heads = 5", "Q has 6 columns, not a multiple of 5 heads"),
    attention("q_num_heads = 2, kv_num_heads = 9223372036854775807", "9223372036854775807 heads, expected from 1 to 1048576"),
    attention("q_num_heads = 2, kv_num_heads = 2", "attn_mask is of 9 keys, there are 4", operands="x, x, x, m", initializers="float[9] m = {0,0,0,0,0,0,0,0,0}"),
    attention("q_num_heads = 2, kv_num_heads = 2", "past_key and past_value go together", operands="x, x, x, , p", initializers="float[1,2,1,3] p = {0,0,0,0,0,0}"),
    attention("q_num_heads = 2, kv_num_heads = 2", "past_key has rank 1, expected 4", operands="x, x, x, , p, p", initializers="float[2] p = {0,0}"),
    microsoft("MultiHeadAttention <num_heads = 2> (x, x, x, , , , p, p)", "the past state has rank 1, expected 4", initializers="float[2] p = {0,0}"),
    microsoft("MultiHeadAttention <num_heads = 2> (x)", "key is missing"),
    microsoft("GroupQueryAttention <num_heads = 2, kv_num_heads = 9223372036854775807> (x, , , , , s, t)", "9223372036854775807 heads, expected from 1 to 1048576", initializers="int32[1] s = {3}, int32 t = {4}"),
    microsoft("GroupQueryAttention <num_heads = 1, kv_num_heads = 1> (x, , , p, p, s, t)", "past_key has rank 1, expected 4", initializers="int32[1] s = {3}, int32 t = {4}, float[2] p = {0,0}"),
    microsoft("Attention <num_heads = 2, qkv_hidden_sizes = [-6, 6, 6]> (x, w)", "qkv_hidden_sizes has -6", initializers="float[6,1] w = {0,0,0,0,0,0}"),
    microsoft("FusedConv <activation = \"Erf\"> (x, w)", "activation 'Erf'", exit=UNSUPPORTED, initializers="float[1,4,1] w = {1,1,1,1}"),
    one("y = NegativeLogLikelihoodLoss(x, t)", "extents of target and input are 3 and 2, expected equal", "NegativeLogLikelihoodLoss", opset=13, initializers="int64[3] t = {0, 1, 0}", outputs="float y"),
    one("y = RandomUniformLike <dtype = 6> (x)", "random numbers of type i32", "RandomUniformLike", opset=17),
    one("y = RandomNormal <shape = [1099511627776, 1099511627776]> ()", "", "RandomNormal", opset=17),
    one("y = Multinomial <sample_size = 9223372036854775807> (x)", "", "Multinomial", opset=17, outputs="int32[a,b] y"),
    one("y = Det(x)", "matrices of 2 rows and 3 columns", "Det", opset=17, outputs="float y"),
    node("[m] u = com.microsoft.MurmurHash3(x) [n] w = com.microsoft.Rfft(u) y = Relu(x)",
         "node 'm' (MurmurHash3, opset 1): operator com.microsoft.MurmurHash3 is not supported yet", "node 'n' (Rfft, opset 1): operator com.microsoft.Rfft is not supported yet",
         "model.onnx: operators not supported yet: com.microsoft.MurmurHash3 (1 node), com.microsoft.Rfft (1 node)", name="all operators that are missing",
         initializers="int64[1] k = {2}", imports='"com.microsoft" : 1', exit=UNSUPPORTED),
]
