"""Operators of ONNX itself, where its node tests are thin."""
import numpy as np
from case import Case, Make, scalar

make = Make(5)


def onnx(operator, *inputs, **attributes):
    more = {key: attributes.pop(key) for key in ("constants", "outputs", "symbolic", "tolerance", "expected") if key in attributes}
    return Case(operator, list(inputs), attributes, domain="", **{"symbolic": False, **more})


def einsum(equation, *shapes, **more):
    operands = [make.normal(*shape) for shape in shapes]
    return onnx("Einsum", *operands, equation=equation, expected=[np.asarray(np.einsum(equation, *operands), np.float32)], **more)


def pool(*shape, dtype=np.float32, **attributes):
    return onnx("MaxPool", make.normal(*shape).astype(dtype) if dtype == np.float32 else make.integers(dtype, *shape), outputs=2, **attributes)


CASES = [
    einsum("ij->ji", (3, 5)), einsum("ij->", (3, 5)), einsum("ii", (4, 4)), einsum("ii->i", (4, 4)), einsum("...ii->...i", (2, 3, 4, 4)),
    einsum("iji->j", (3, 4, 3)), einsum("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 6)), einsum("...,...->...", (2, 3), (3,)),
    einsum("i,i->", (7,), (7,)), einsum("i,j->ij", (7,), (5,)), einsum("ij,jk,kl->il", (3, 4), (4, 5), (5, 6)),
    einsum("bij,bkj,k->bi", (2, 3, 4), (2, 5, 4), (5,)), einsum("ij,kl->", (3, 4), (5, 6)), einsum("ijk,jil->kl", (3, 4, 5), (4, 3, 6)),
    einsum("ab...,b...c->a...c", (3, 4, 5), (4, 5, 6)), einsum("bhwc,hkc->bhwk", (2, 3, 4, 5), (3, 4, 5), symbolic=True),
    einsum("i...->...", (3, 4, 5)), einsum("ab,a1->b".replace("1", "c"), (3, 4), (3, 5)), einsum("iij,jk", (3, 3, 4), (4, 5)),
    einsum("...a->a...", (2, 3, 5)), einsum(",ij->ij", (), (3, 4)),
    pool(2, 3, 9, kernel_shape=[3]), pool(2, 3, 9, 7, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]),
    pool(1, 2, 9, 7, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), pool(1, 2, 5, 6, 7, kernel_shape=[2, 3, 2]),
    pool(2, 2, 9, 7, kernel_shape=[2, 2], dilations=[3, 2], storage_order=1), pool(1, 1, 5, 5, kernel_shape=[5, 5], auto_pad="SAME_UPPER"),
    *(onnx("NonZero", (make.normal(*shape) > limit).astype(np.float32)) for shape in ((7,), (3, 50, 700)) for limit in (9, 2.5, 0, -9)),
    onnx("Det", make.normal(5, 5), tolerance=1e-4), onnx("Det", make.normal(2, 3, 8, 8), tolerance=1e-4),
    onnx("Det", np.ones((2, 3, 3), np.float32)), onnx("Det", make.normal(2, 1, 1)),
    onnx("GatherND", make.normal(2, 3, 4, 5), make.integers(np.int64, 2, 6, 2, low=-3, high=2), batch_dims=1),
    onnx("GatherND", make.normal(2, 3, 4, 5), make.integers(np.int64, 2, 3, 1, low=0, high=3), batch_dims=2),
    onnx("MelWeightMatrix", *map(np.array, (8, 64, 8192)), scalar(20), scalar(4000), constants=(0, 1, 2, 3, 4)),
    onnx("MelWeightMatrix", *map(np.array, (80, 400, 16000)), scalar(0), scalar(8000), constants=(0, 1, 2, 3)),
    onnx("BatchNormalization", make.normal(4, 3, 5, 7), make.normal(3), make.normal(3), make.normal(3), make.uniform(3), training_mode=1,
         momentum=0.7, outputs=3),
]
