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
    Case("QLinearGlobalAveragePool", [make.u8(2, 5, 7, 6), scalar(0.02), scalar(7, np.uint8), scalar(0.01), scalar(9, np.uint8)], codes=1),
    Case("QLinearGlobalAveragePool", [make.u8(2, 7, 6, 5), scalar(0.02), scalar(7, np.uint8), scalar(0.01), scalar(9, np.uint8)], {"channels_last": 1}, codes=1),
    Case("QLinearAveragePool", [make.u8(2, 5, 7, 6), scalar(0.02), scalar(7, np.uint8), scalar(0.01), scalar(9, np.uint8)],
         {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}, codes=1, symbolic=False),
    Case("QLinearAveragePool", [make.u8(2, 7, 6, 5), scalar(0.02), scalar(7, np.uint8), scalar(0.01), scalar(9, np.uint8)],
         {"kernel_shape": [2, 3], "channels_last": 1}, codes=1, symbolic=False),
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
