"""Quantised operators with operands that do not go together, and what of them is not supported."""
from case import UNSUPPORTED, node

MICROSOFT = {"imports": '"com.microsoft" : 1'}


def one(body, line, operator, exit=1, opset=21, domain="", **arguments):
    shown = 1 if domain else opset
    more = MICROSOFT if domain else {}
    return node(f"[n] y = {domain}{operator} {body}", f"node 'n' ({operator}, opset {shown}): {line}", name=f"{operator}: {body}", exit=exit, opset=opset,
                **{"inputs": "float[2,3] x", "outputs": "float[a,b] y", **more, **arguments})


def nbits(attributes, line, shape=(4, 2, 16), exit=1, **arguments):
    def change(model):
        count = shape[0] * shape[1] * shape[2]
        model.graph.initializer.add(name="b", data_type=2, dims=shape, raw_data=bytes(count))
        model.graph.initializer.add(name="s", data_type=1, dims=[8], raw_data=bytes(32))
    inputs = arguments.pop("operands", "x, b, s")
    return one(f"<{attributes}> ({inputs})", line, "MatMulNBits", exit=exit, domain="com.microsoft.", change=change, inputs="float[5,64] x", **arguments)


CODES = "uint8[a,b] y"
CASES = [
    one("(x, s)", "a scale has 2 elements, axis 1 has extent 3", "QuantizeLinear", initializers="float[2] s = {1, 2}", outputs=CODES),
    one("<axis = 5> (x, s)", "axis 5 not in [-2, 1]", "QuantizeLinear", initializers="float[3] s = {1, 2, 3}", outputs=CODES),
    one("(x, s, z)", "scale has rank 0, zero point 1", "QuantizeLinear", initializers="float s = {1}, uint8[3] z = {1, 2, 3}", outputs=CODES),
    one("<block_size = -4> (x, s)", "block_size must be from 0 to", "QuantizeLinear", initializers="float s = {1}", outputs=CODES),
    one("<block_size = 4611686018427387904> (x, s)", "block_size must be from 0 to", "QuantizeLinear", initializers="float[1,1] s = {1}", outputs=CODES),
    one("<block_size = 2> (x, s)", "a blocked scale has rank 1, expected 2", "QuantizeLinear", initializers="float[3] s = {1, 2, 3}", outputs=CODES),
    one("<block_size = 2> (x, s)", "", "QuantizeLinear", initializers="float[2,1] s = {1, 2}", outputs=CODES),
    one("<output_dtype = 3> (x, s, z)", "output_dtype i8 differs from the zero point's u8", "QuantizeLinear", initializers="float s = {1}, uint8 z = {1}", outputs=CODES),
    one("<output_dtype = 99> (x, s)", "attribute 'output_dtype': unknown data_type 99", "QuantizeLinear", initializers="float s = {1}", outputs=CODES),
    nbits("K = 64, N = 4, block_size = 32, bits = 3", "3 bits", exit=UNSUPPORTED),
    nbits("K = 64, N = 4, block_size = 32", "g_idx has 63 elements, expected 64", operands="x, b, s, , g", initializers="int32[63] g = {" + ", ".join("0" * 63) + "}"),
    nbits("K = 64, N = 5, block_size = 32", "B has 128 elements, expected 160"),
    nbits("K = 64, N = 4, block_size = 24", "block_size must be a power of two from 16 on, got 24"),
    nbits("K = 0, N = 4, block_size = 32", "K must be from 1 to"),
    nbits("K = 4611686018427387904, N = 4, block_size = 32", "K must be from 1 to"),
    nbits("K = 32, N = 4, block_size = 32", "A has 64 columns, expected K = 32"),
    nbits("N = 4, block_size = 32", "attribute 'K' is missing"),
]
