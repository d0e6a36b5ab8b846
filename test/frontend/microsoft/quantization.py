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
]
