"""What moves elements, matrices, distances."""
import numpy as np
from case import Case, Make, scalar

make = Make(4)

CASES = [
    Case("Trilu", [make.normal(3, 5, 7)]),
    Case("Trilu", [make.integers(np.int64, 5, 5), np.array(-1)], {"upper": 0}, constants=(1,)),
    Case("Pad", [make.normal(3, 5), np.array([1, 0, 2, 3]), scalar(1.5)], constants=(1,)),
    Case("Pad", [make.normal(3, 5), np.array([1, 0, 2, 3])], {"mode": "edge"}, constants=(1,)),
    Case("Pad", [make.normal(3, 5), np.array([1, 0, 1, 3])], {"mode": "reflect"}, constants=(1,), symbolic=False),
    Case("ExpandDims", [make.normal(3, 5), np.array(1, np.int32)], constants=(1,)),
    Case("ExpandDims", [make.normal(3, 5), np.array(-1, np.int32)], constants=(1,)),
    Case("GatherND", [make.normal(3, 5, 2), make.i32(4, 2, low=0, high=2)], symbolic=False),
    Case("CDist", [make.normal(5, 7), make.normal(3, 7)], tolerance=1e-4),
    Case("CDist", [make.normal(5, 33), make.normal(3, 33)], {"metric": "euclidean"}, tolerance=1e-4),
    Case("Inverse", [make.normal(5, 5)], symbolic=False, tolerance=1e-4),
    Case("Inverse", [make.normal(2, 3, 7, 7)], symbolic=False, tolerance=1e-3),
    Case("Inverse", [make.normal(1, 1, dtype=np.float64)], symbolic=False),
    Case("GridSample", [make.normal(2, 3, 5, 7), make.uniform(2, 4, 6, 2, low=-1.2, high=1.2)], symbolic=False),
    Case("GridSample", [make.normal(2, 3, 5, 7), make.uniform(2, 4, 6, 2, low=-1.2, high=1.2)], {"padding_mode": "border", "align_corners": 1}, symbolic=False),
    Case("NhwcMaxPool", [make.u8(2, 9, 7, 5)], {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 0]}, symbolic=False),
    Case("NhwcMaxPool", [make.i8(1, 9, 7, 3)], {"kernel_shape": [2, 2], "dilations": [2, 1]}, symbolic=False),
]
