"""Quantising, dequantising and what computes on quantised numbers."""
import numpy as np
from case import Case, Make, scalar

make = Make()

CASES = [
    Case("QuantizeLinear", [make.normal(3, 70), scalar(0.02), scalar(3, np.uint8)]),
    Case("QuantizeLinear", [make.normal(3, 70), scalar(0.02), scalar(-3, np.int8)]),
    Case("QuantizeLinear", [make.normal(3, 7, 5), make.uniform(7), make.i8(7)], {"axis": 1}),
    Case("QuantizeLinear", [make.normal(3, 0, 5), scalar(0.02), scalar(3, np.uint8)]),
    Case("QuantizeLinear", [np.array([np.inf, -np.inf, 1e30, -1e30, 0.5, 1.5, 2.5, -0.5], np.float32), scalar(1), scalar(128, np.uint8)]),
    Case("QuantizeLinear", [make.normal(3, 70, dtype=np.float16), scalar(0.02, np.float16), scalar(300, np.uint16)]),
    Case("DequantizeLinear", [make.u8(3, 70), scalar(0.02), scalar(3, np.uint8)]),
    Case("DequantizeLinear", [make.i8(3, 7, 5), make.uniform(7), make.i8(7)], {"axis": -2}),
    Case("DequantizeLinear", [make.i32(3, 7), scalar(0.02), None]),
    Case("DequantizeLinear", [make.u8(1), scalar(0.02, np.float16), scalar(3, np.uint8)]),
    Case("DynamicQuantizeLinear", [make.normal(5, 33)], domain="", outputs=3, codes=1),
    Case("DynamicQuantizeLinear", [np.zeros(7, np.float32)], domain="", outputs=3),
    # products
    Case("MatMulInteger", [make.u8(5, 33), make.i8(33, 18), scalar(7, np.uint8), scalar(-3, np.int8)], domain=""),
    Case("MatMulInteger", [make.u8(2, 5, 33), make.u8(33, 18), None, make.u8(18)], domain="", constants=(1, 3)),
    Case("MatMulIntegerToFloat", [make.u8(5, 33), make.u8(33, 18), scalar(0.02), make.uniform(18), scalar(3, np.uint8), make.u8(18), make.normal(18)]),
    Case("MatMulIntegerToFloat", [make.i8(2, 1, 64), make.i8(64, 100), scalar(0.02), scalar(0.1)], constants=(1,)),
    Case("DynamicQuantizeMatMul", [make.normal(3, 40), make.u8(40, 17), make.uniform(17), make.u8(17), make.normal(17)], constants=(1, 2, 3, 4)),
    Case("DynamicQuantizeMatMul", [make.normal(3, 40), make.i8(40, 17), scalar(0.1)], constants=(1, 2)),
    Case("QGemm", [make.u8(5, 33), scalar(0.02), scalar(4, np.uint8), make.i8(18, 33), make.uniform(18), make.i8(18), make.i32(18), scalar(0.5), scalar(3, np.uint8)],
         {"transB": 1}, codes=1, constants=(3, 4, 5, 6)),
    Case("QGemm", [make.u8(5, 33), scalar(0.02), scalar(4, np.uint8), make.i8(33, 18), scalar(0.1), scalar(0, np.int8)], {"alpha": 2.0}),
    Case("QAttention", [make.u8(2, 5, 32), make.i8(32, 96), make.normal(96), scalar(0.02), scalar(0.01), None, scalar(120, np.uint8), scalar(0, np.int8)],
         {"num_heads": 1}, constants=(1, 2, 3, 4, 6, 7)),
    Case("QAttention", [make.u8(2, 5, 32), make.i8(32, 96), make.normal(96), scalar(0.02), make.uniform(96), np.array([3, 5], np.int32), scalar(120, np.uint8), scalar(0, np.int8)],
         {"num_heads": 2}, constants=(1, 2, 3, 4, 6, 7)),
    Case("QAttention", [make.u8(2, 5, 32), make.i8(32, 96), make.normal(96), scalar(0.02), scalar(0.01), (make.rng.random((2, 5)) < 0.7).astype(np.int32) | np.eye(2, 5, dtype=np.int32),
                        scalar(120, np.uint8), scalar(0, np.int8)], {"num_heads": 2, "unidirectional": 0}, constants=(1, 2, 3, 4, 6, 7)),
    Case("QAttention", [make.u8(2, 5, 32), make.i8(32, 96), make.normal(96), scalar(0.02), scalar(0.01), None, scalar(120, np.uint8), scalar(0, np.int8), make.normal(2, 2, 2, 7, 16)],
         {"num_heads": 2, "unidirectional": 1}, outputs=2, constants=(1, 2, 3, 4, 6, 7)),
    # convolutions
    Case("QLinearConv", [make.u8(2, 5, 9, 11), scalar(0.02), scalar(130, np.uint8), make.i8(7, 5, 3, 3), make.uniform(7), make.i8(7, low=0, high=0), scalar(0.5), scalar(3, np.uint8),
                         make.i32(7)], {"pads": [1, 1, 1, 1]}, domain="", constants=(3, 4, 5, 8), codes=1, symbolic=False),
    Case("QLinearConv", [make.u8(1, 9, 11, 8), scalar(0.02), scalar(130, np.uint8), make.i8(8, 4, 3, 3), scalar(0.1), scalar(0, np.int8), scalar(0.5), scalar(3, np.uint8)],
         {"channels_last": 1, "group": 2, "strides": [2, 2]}, constants=(3, 4, 5), codes=1, symbolic=False),
    Case("ConvInteger", [make.u8(2, 5, 9, 11), make.u8(7, 5, 3, 3), scalar(12, np.uint8), scalar(100, np.uint8)], {"pads": [0, 1, 2, 1]}, domain="", symbolic=False),
    Case("QLinearConv", [make.i8(2, 20, 9, 11), scalar(0.02), scalar(-5, np.int8), make.i8(24, 20, 3, 3), make.uniform(24), make.i8(24, low=0, high=0), scalar(0.5), scalar(3, np.int8),
                         make.i32(24)], {"pads": [1, 0, 1, 2], "strides": [2, 1]}, domain="", constants=(1, 2, 3, 4, 5, 6, 7, 8), codes=1, symbolic=False, note="folded"),
    Case("QLinearConv", [make.u8(1, 3, 19, 17), scalar(0.02), scalar(128, np.uint8), make.i8(17, 3, 7, 7), scalar(0.03), scalar(0, np.int8), scalar(0.5), scalar(100, np.uint8)],
         {"pads": [3, 3, 3, 3], "strides": [2, 2]}, domain="", constants=(1, 2, 3, 4, 5, 6, 7), codes=1, symbolic=False, note="folded, first layer"),
    Case("QLinearConv", [make.u8(1, 16, 9, 9), scalar(0.02), scalar(128, np.uint8), make.i8(16, 1, 3, 3), scalar(0.03), scalar(0, np.int8), scalar(0.5), scalar(100, np.uint8)],
         {"group": 16}, domain="", constants=(1, 2, 3, 4, 5, 6, 7), codes=1, symbolic=False, note="depthwise"),
    Case("ConvInteger", [make.u8(2, 20, 9, 11), make.i8(24, 20, 3, 3), scalar(12, np.uint8)], {"pads": [1, 1, 1, 1]}, domain="", constants=(1,), symbolic=False,
         note="a zero point known now"),
    Case("ConvInteger", [make.u8(2, 20, 9, 11), make.u8(24, 20, 3, 3), scalar(12, np.uint8), scalar(100, np.uint8)], {"pads": [0, 1, 2, 1]}, domain="", constants=(1, 3), symbolic=False,
         note="weights with a zero point"),
    Case("ConvInteger", [make.u8(1, 16, 19), make.u8(24, 16, 3), scalar(12, np.uint8), scalar(128, np.uint8)], {"pads": [1, 1]}, domain="", constants=(1, 2, 3), symbolic=False),
    Case("ConvInteger", [make.u8(1, 16, 5, 6, 7), make.u8(24, 16, 3, 2, 1), scalar(12, np.uint8), scalar(100, np.uint8)], {"pads": [1, 1, 0, 1, 0, 0]}, domain="",
         constants=(1, 2, 3), symbolic=False),
    Case("QLinearMatMul", [make.u8(3, 7, 40), scalar(0.02), scalar(9, np.uint8), make.i8(40, 33), make.uniform(33), make.i8(33, low=0, high=0), scalar(0.5), scalar(100, np.uint8)],
         domain="", constants=(1, 2, 3, 4, 5, 6, 7), codes=1, note="folded"),
    Case("QLinearMatMul", [make.i8(5, 67), scalar(0.02), scalar(9, np.int8), make.i8(67, 20), scalar(0.1), scalar(0, np.int8), scalar(0.5), scalar(-3, np.int8)],
         domain="", constants=(1, 2, 3, 4, 5, 6, 7), codes=1, note="folded"),
    Case("QLinearMatMul", [make.u8(5, 67), scalar(0.02), scalar(9, np.uint8), make.u8(67, 20), scalar(0.1), scalar(130, np.uint8), scalar(0.5), scalar(100, np.uint8)],
         domain="", codes=1, note="live"),
    Case("QLinearMatMul", [make.u8(5, 67), scalar(0.02), scalar(9, np.uint8), make.u8(67, 20), scalar(0.1), scalar(130, np.uint8), scalar(0.5), scalar(100, np.uint8)],
         domain="", constants=(1, 2, 3, 4, 5, 6, 7), codes=1, note="weights with a zero point"),
    Case("QLinearMatMul", [make.i8(2, 5, 68), scalar(0.02), scalar(9, np.int8), make.i8(68, 20), make.uniform(20), make.i8(20), scalar(0.5), scalar(-3, np.int8)],
         domain="", constants=(1, 2, 3, 4, 5, 6, 7), codes=1, note="a zero point for each column"),
    Case("MatMulInteger", [make.i8(13, 64), make.u8(64, 70), scalar(-3, np.int8), make.u8(70)], domain="", constants=(1, 3), note="a zero point for each column"),
    Case("DynamicQuantizeMatMul", [make.normal(7, 40), make.u8(40, 17), make.uniform(17), make.u8(17), make.normal(17)], constants=(1, 2, 3, 4), symbolic=False),
    Case("MatMulInteger", [make.u8(2, 20, 33), make.u8(2, 33, 50), scalar(3, np.uint8), scalar(120, np.uint8)], domain="", note="live batch"),
    # ONNX Runtime's own quantiser writes a scale of one element beside a scalar zero point
    Case("DequantizeLinear", [make.i32(3, 5), np.array([0.02], np.float32), scalar(0, np.int32)], domain="", constants=(1, 2)),
    # elementwise
    Case("QLinearAdd", [make.u8(3, 17), scalar(0.02), scalar(7, np.uint8), make.u8(17), scalar(0.03), scalar(90, np.uint8), scalar(0.06), scalar(100, np.uint8)], codes=1),
    Case("QLinearAdd", [make.i8(3, 17), scalar(0.02), scalar(-9, np.int8), make.i8(3, 17), scalar(0.03), scalar(0, np.int8), scalar(0.06)], codes=1),
    Case("QLinearMul", [make.i8(3, 17), scalar(0.02), scalar(7, np.int8), make.i8(3, 1), scalar(0.03), scalar(9, np.int8), scalar(0.06), scalar(1, np.int8)], codes=1),
    Case("QLinearSigmoid", [make.u8(3, 17), scalar(0.05), scalar(128, np.uint8), scalar(1 / 256), scalar(0, np.uint8)], codes=1, constants=(1, 2, 3, 4)),
    Case("QLinearLeakyRelu", [make.i8(3, 17), scalar(0.05), scalar(-8, np.int8), scalar(0.04), scalar(1, np.int8)], {"alpha": 0.1}, codes=1, constants=(1, 2, 3, 4)),
    Case("QLinearSoftmax", [make.u8(3, 4, 17), scalar(0.05), scalar(128, np.uint8), scalar(1 / 256), scalar(0, np.uint8)], {"axis": 1, "opset": 12}, codes=1, constants=(1, 2, 3, 4)),
    Case("QLinearSoftmax", [make.u8(3, 4, 17), scalar(0.05), scalar(128, np.uint8), scalar(1 / 256), scalar(0, np.uint8)], {"axis": 1, "opset": 13}, codes=1, constants=(1, 2, 3, 4)),
    Case("QLinearConcat", [scalar(0.06), scalar(100, np.uint8), make.u8(3, 5), scalar(0.02), scalar(7, np.uint8), make.u8(3, 2), scalar(0.06), scalar(100, np.uint8)],
         {"axis": -1}, codes=1, constants=(0, 1, 3, 4, 6, 7), symbolic=False),
    Case("QLinearWhere", [make.rng.random((3, 5)) < 0.5, make.u8(3, 5), scalar(0.02), scalar(7, np.uint8), make.u8(5), scalar(0.03), scalar(4, np.uint8), scalar(0.06),
                          scalar(100, np.uint8)], codes=1),
    Case("MatMulInteger16", [make.integers(np.int16, 5, 17, low=-2000, high=2000), make.integers(np.int16, 17, 33, low=-2000, high=2000)]),
    Case("QLinearGlobalAveragePool", [make.u8(2, 5, 7, 6), scalar(0.02), scalar(7, np.uint8), scalar(0.01), scalar(9, np.uint8)], codes=1),
    Case("QLinearGlobalAveragePool", [make.u8(2, 7, 6, 5), scalar(0.02), scalar(7, np.uint8), scalar(0.01), scalar(9, np.uint8)], {"channels_last": 1}, codes=1),
    Case("QLinearAveragePool", [make.u8(2, 5, 7, 6), scalar(0.02), scalar(7, np.uint8), scalar(0.01), scalar(9, np.uint8)],
         {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}, codes=1, symbolic=False),
    Case("QLinearAveragePool", [make.u8(2, 7, 6, 5), scalar(0.02), scalar(7, np.uint8), scalar(0.01), scalar(9, np.uint8)],
         {"kernel_shape": [2, 3], "channels_last": 1}, codes=1, symbolic=False),
]



def conv(channels, outputs, kernel, group=1, zeros=None, dtype=np.uint8, width=11, **attributes):
    """A QLinearConv whose parameters are known; zeros: of the weights, one or one for each output channel."""
    make_weights = make.u8 if dtype == np.uint8 else make.i8
    zeros = np.array(zeros or 0, dtype)
    scales = make.uniform(outputs) if zeros.ndim else scalar(0.03)
    inputs = [make.u8(2, channels, 9, width), scalar(0.02), scalar(130, np.uint8), make_weights(outputs, channels // group, *kernel), scales, zeros, scalar(0.5), scalar(100, np.uint8),
              make.i32(outputs)]
    return Case("QLinearConv", inputs, {"group": group, **attributes}, domain="", constants=tuple(range(1, 9)), codes=1, symbolic=False, note=f"zero points {np.unique(zeros)}")


CASES += [
    conv(24, 20, (3, 3), zeros=128, pads=[1, 1, 1, 1]), conv(24, 20, (3, 3), zeros=100, pads=[1, 1, 1, 1]), conv(24, 20, (3, 3), zeros=[*range(100, 120)], pads=[1, 0, 1, 2]),
    conv(24, 24, (3, 3), zeros=-3, dtype=np.int8, pads=[1, 1, 1, 1], strides=[2, 2]), conv(3, 16, (7, 7), zeros=[*range(120, 136)], pads=[3, 3, 3, 3], strides=[2, 2]),
    conv(32, 32, (3, 3), group=2, dtype=np.int8, pads=[1, 1, 1, 1]), conv(32, 64, (3, 3), group=4, zeros=[*range(64)], pads=[1, 1, 1, 1]),
    conv(24, 24, (3, 3), group=24, dtype=np.int8, pads=[1, 1, 1, 1]), conv(24, 24, (5, 5), group=24, zeros=128, pads=[2, 2, 2, 2], strides=[2, 2]),
    conv(24, 24, (3, 3), group=24, zeros=[*range(24)], dtype=np.int8, pads=[2, 2, 2, 2], dilations=[2, 2]), conv(24, 24, (3, 3), group=24, dtype=np.int8, width=3),
    conv(12, 24, (3, 3), group=12, dtype=np.int8, pads=[1, 1, 1, 1]),
]

def packed(bits, n, k, block, rows, zeros=False, bias=False, dtype=np.float32, **options):
    """A MatMulNBits of those extents."""
    blocks = -(-k // block)
    inputs = [make.normal(*rows, k, dtype=dtype), make.u8(n, blocks, block * bits // 8), make.uniform(n * blocks, dtype=dtype)]
    inputs += [make.u8(n * (-(-blocks * bits // 8))) if zeros else None, None, make.normal(n, dtype=dtype) if bias else None]
    attributes = {"K": k, "N": n, "bits": bits, "block_size": block}
    return Case("MatMulNBits", inputs, attributes, constants=(1, 2, 3, 5), symbolic=False, **options)


CASES += [
    Case("GatherBlockQuantized", [make.u8(50, 32), make.rng.integers(0, 50, (2, 3)), make.uniform(50, 4), None], {"block_size": 16}, constants=(0, 2)),
    Case("GatherBlockQuantized", [make.u8(50, 48), make.rng.integers(0, 50, (7,)), make.uniform(50, 3), make.u8(50, 3)], {"block_size": 16, "bits": 8}, constants=(0, 2, 3)),
]
CASES += [packed(4, 24, 64, 32, (1,)), packed(4, 24, 64, 32, (5,), zeros=True), packed(4, 17, 96, 32, (2, 3), zeros=True, bias=True), packed(4, 33, 100, 32, (20,), bias=True),
          packed(8, 24, 64, 32, (1,)), packed(8, 24, 160, 32, (4,), zeros=True), packed(4, 1, 16, 16, (3,)), packed(4, 40, 512, 128, (1,), zeros=True)]


def no_kernel(operator, inputs, attributes, expected, **options):
    """What ONNX Runtime has no kernel for on the CPU."""
    return Case(operator, inputs, attributes, expected=[expected], symbolic=False, **options)


def mean(axes, keep):
    x = make.u8(3, 4, 17)
    y = np.rint((x.astype(np.float64) - 7).mean(tuple(axes), keepdims=bool(keep)) * 0.02 / 0.01) + 9
    return no_kernel("QLinearReduceMean", [x, scalar(0.02), scalar(7, np.uint8), scalar(0.01), scalar(9, np.uint8)], {"axes": axes, "keepdims": keep}, y.clip(0, 255).astype(np.uint8), codes=1)


def product(dtype, a_zero, b_zero):
    a, b = make.integers(dtype, 3, 17), make.integers(dtype, 17)
    y = (a.astype(np.int32) - (a_zero or 0)) * (b.astype(np.int32) - (b_zero or 0))
    return no_kernel("MulInteger", [a, None if a_zero is None else scalar(a_zero, dtype), b, None if b_zero is None else scalar(b_zero, dtype)], {}, y)


def embedding(dtype, segments=True, mask=True):
    batch, length, hidden = 2, 5, 16
    zero = 0 if dtype == np.int8 else 120
    tables = [make.integers(dtype, rows, hidden) for rows in (30, 8, 2)] + [make.integers(dtype, hidden) for _ in range(2)]
    if not segments:
        tables[2] = None
    inputs = [make.i32(batch, length, low=0, high=29), make.i32(batch, length, low=0, high=1) if segments else None, *tables,
              np.array([[1] * 5, [1, 1, 0, 0, 0]], np.int32) if mask else None]
    inputs += [None if table is None else scalar(0.01 * (i + 1)) for i, table in enumerate(tables)] + [None if table is None else scalar(zero + i, dtype) for i, table in enumerate(tables)]
    return Case("QEmbedLayerNormalization", inputs, {"epsilon": 1e-6}, constants=tuple(range(2, 7)) + tuple(range(8, 18)), outputs=2, symbolic=False, tolerance=2e-5)


CASES += [mean([1], 1), mean([0, 2], 0), mean([-1], 0), product(np.int8, 3, None), product(np.uint8, 130, 7), embedding(np.int8), embedding(np.uint8), embedding(np.uint8, segments=False, mask=False)]
