"""Numbers of the types that kernels are measured with, as arrays of the host. numpy has no bfloat16: its bits are a
uint16. Everything here is arithmetic of our own on a counter, so that two machines with different versions of numpy have
the same weights.
"""
import numpy as np

F32, I64, F16, BF16 = "f32", "i64", "f16", "bf16"
CODES = {F32: 1, "u8": 2, "i8": 3, "i32": 6, I64: 7, "bool": 9, F16: 10, BF16: 16, "i4": 22}   # ONNX's TensorProto.DataType
STORED = {F32: np.float32, "u8": np.uint8, "i8": np.int8, "i32": np.int32, I64: np.int64, "bool": np.bool_, F16: np.float16, BF16: np.uint16}
TYPES = {code: dtype for dtype, code in CODES.items()}
ULP = {F32: 2.0 ** -23, F16: 2.0 ** -10, BF16: 2.0 ** -7}
PERIOD = 1 << 17                                                  # of independent weights


def encode(values, dtype):
    """float32 values rounded to nearest even."""
    if dtype != BF16:
        return values.astype(STORED[dtype])
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def nibbles(array):
    """Numbers of four bits, two in a byte."""
    low, high = (array.astype(np.uint8).ravel()[part::2] & 15 for part in (0, 1))
    return low | high << 4


def decode(array, dtype):
    """As float64."""
    if dtype != BF16:
        return array.astype(np.float64)
    return (array.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def hashed(count, seed):
    """Numbers below 2^31 that have nothing to do with each other."""
    x = np.arange(count, dtype=np.uint64) + np.uint64((seed + 1) << 32)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return (x >> np.uint64(33)).astype(np.int64)


def all_finite(array, dtype):
    bits, exponent = {F32: (np.uint32, 0x7F800000), F16: (np.uint16, 0x7C00), BF16: (np.uint16, 0x7F80)}[dtype]
    return not np.any((array.view(bits) & bits(exponent)) == bits(exponent))


def normal(shape, seed, dtype, scale=1.0, most=1 << 22):
    """Roughly normal, as stored: sums of uniform numbers; from `most` on they repeat."""
    count = min(int(np.prod(shape)), most)
    block = sum(hashed(count, 4 * seed + part) for part in range(4)) / 2.0 ** 31 - 2
    return np.resize(encode((block * 3 ** 0.5 * scale).astype(np.float32), dtype), shape)


def repeating(shape, seed, dtype, period=PERIOD):
    """Weights, about as large as keeps a product's results near 1, which repeat along the first axis after a power of two
    of its lines, four at least (of one, what a normalisation gives would sum to 0): a file that holds large ones packs
    small."""
    line = max(int(np.prod(shape)) // shape[0], 1)
    lines = min(shape[0], 1 << max(period // line, 4).bit_length() - 1)
    fan_in = line if len(shape) != 2 else shape[0]
    scale = 2.0 ** -np.ceil(np.log2(max(fan_in, 2)) / 2)
    return normal(shape, 1000 + seed, dtype, scale, lines * line)
