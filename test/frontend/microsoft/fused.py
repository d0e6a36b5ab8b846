"""Activations, products, convolutions and normalisations that ONNX Runtime fuses."""
import numpy as np
from case import Case, Make

make = Make(1)
half = np.float16


def conv(activation, operator="FusedConv", z=False, **more):
    inputs = [make.normal(2, 8, 7, 9), make.normal(20, 8, 3, 3), make.normal(20)] + ([make.normal(2, 20, 7, 9)] if z else [])
    return Case(operator, inputs, {"activation": activation, "pads": [1, 1, 1, 1], **more}, constants=(1, 2))


def gemm(activation, c=True, **more):
    return Case("FusedGemm", [make.normal(5, 17), make.normal(17, 33), make.normal(33) if c else None],
                {"activation": activation, **more})


CASES = [
    Case("Gelu", [make.normal(3, 17)]),
    Case("Gelu", [make.normal(1)]),
    Case("BiasGelu", [make.normal(2, 3, 70), make.normal(70)]),
    Case("BiasGelu", [make.normal(1, 1), make.normal(1)]),
    Case("FastGelu", [make.normal(2, 3, 33)], tolerance=1e-4),
    Case("FastGelu", [make.normal(2, 3, 33), make.normal(33)], tolerance=1e-4),
    Case("QuickGelu", [make.normal(5, 19)]),
    Case("QuickGelu", [make.normal(5, 19)], {"alpha": 0.5}),
    Case("FusedMatMul", [make.normal(5, 17), make.normal(17, 33)], {"alpha": 0.5}),
    Case("FusedMatMul", [make.normal(2, 17, 5), make.normal(2, 33, 17)], {"transA": 1, "transB": 1}),
    Case("FusedMatMul", [make.normal(2, 3, 5, 17), make.normal(33, 17)], {"transB": 1}),
    Case("FusedMatMul", [make.normal(17), make.normal(17, 33)]),
    Case("FusedMatMul", [make.normal(5, 2, 17), make.normal(2, 17, 33)], {"transBatchA": 1}),
    Case("FusedMatMul", [make.normal(2, 5, 17), make.normal(17, 2, 33)], {"transBatchB": 1}),
    Case("FusedMatMul", [make.normal(17, 2, 5), make.normal(33, 2, 17)], {"transBatchA": 1, "transA": 1, "transBatchB": 1, "transB": 1}),
    Case("FusedMatMul", [make.normal(1, 1), make.normal(1, 1)]),
    Case("TransposeMatMul", [make.normal(17, 5), make.normal(17, 33)], {"transA": 1, "alpha": 2.0}),
    gemm("Relu"), gemm("Tanh", transB=0, alpha=0.5, beta=2.0), gemm("Sigmoid", c=False),
    gemm("LeakyRelu", activation_alpha=0.3), gemm("HardSigmoid", activation_alpha=0.3, activation_beta=0.4),
    conv("Relu"), conv("Tanh"), conv("Sigmoid"), conv("LeakyRelu", activation_params=[0.3]),
    conv("Clip", activation_params=[-0.5, 1.5]), conv("HardSigmoid", activation_params=[0.3, 0.4]),
    conv("Relu", z=True), conv("HardSwish"),
    Case("SkipLayerNormalization", [make.normal(2, 3, 70), make.normal(2, 3, 70), make.normal(70)]),
    Case("SkipLayerNormalization", [make.normal(1, 1, 64), make.normal(1, 1, 64), make.normal(64), make.normal(64), make.normal(64)]),
    Case("SkipLayerNormalization", [make.normal(2, 3, 70), make.normal(3, 70), make.normal(70), make.normal(70)], symbolic=False),
    Case("SkipLayerNormalization", [make.normal(2, 3, 70), make.normal(1, 3, 70), make.normal(70), None, make.normal(70)], {"epsilon": 1e-3}, symbolic=False),
    Case("SkipLayerNormalization", [make.normal(2, 3, 70, dtype=half), make.normal(2, 3, 70, dtype=half), make.normal(70, dtype=half)], tolerance=2e-3),
    Case("SkipSimplifiedLayerNormalization", [make.normal(2, 3, 70), make.normal(2, 3, 70), make.normal(70)]),
    Case("SkipSimplifiedLayerNormalization", [make.normal(6, 33), make.normal(6, 33), make.normal(33), make.normal(33)], {"epsilon": 1e-3}),
    Case("SimplifiedLayerNormalization", [make.normal(2, 3, 70), make.normal(70)], domain=""),
    Case("SimplifiedLayerNormalization", [make.normal(2, 3, 5), make.normal(3, 5)], {"axis": 1}, domain="", symbolic=False),
]


def embedding(segments=True, mask=True, positions=False, outputs=2, dtype=np.float32):
    batch, length, width = 2, 5, 70
    inputs = [make.i32(batch, length, low=0, high=9), make.i32(batch, length, low=0, high=1) if segments else None,
              make.normal(10, width, dtype=dtype), make.normal(6, width, dtype=dtype),
              make.normal(2, width, dtype=dtype) if segments else None, make.normal(width, dtype=dtype), make.normal(width, dtype=dtype),
              make.i32(batch, length, low=0, high=1) if mask else None]
    if positions:
        inputs.append(make.i32(batch, length, low=0, high=5))
    return Case("EmbedLayerNormalization", inputs, outputs=outputs, constants=(2, 3, 4, 5, 6), tolerance=1e-5 if dtype == np.float32 else 2e-3)


CASES += [embedding(), embedding(segments=False), embedding(mask=False), embedding(positions=True),
          embedding(outputs=3), embedding(dtype=half)]


def group_norm(x, gamma, beta, groups, silu):
    split = x.reshape(*x.shape[:-1], groups, -1)
    axes = tuple(range(1, x.ndim - 1)) + (x.ndim,)
    y = ((split - split.mean(axes, keepdims=True)) / np.sqrt(split.var(axes, keepdims=True) + 1e-5)).reshape(x.shape) * gamma + beta
    return (y / (1 + np.exp(-y)) if silu else y).astype(np.float32)


def without_kernel():
    """Operators of other processors' kernels."""
    x, gamma, beta = make.normal(2, 5, 3, 12), make.normal(12), make.normal(12)
    last = {"groups": 4, "activation": 1}
    yield Case("GroupNorm", [x, gamma, beta], last, symbolic=False, expected=[group_norm(x, gamma, beta, 4, True)])
    first = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    yield Case("GroupNorm", [first, gamma, beta], {"groups": 3, "activation": 0, "channels_last": 0}, symbolic=False,
               expected=[np.moveaxis(group_norm(x, gamma, beta, 3, False), -1, 1)])
    skip, bias = make.normal(2, 12), make.normal(12)
    total = x + skip[:, None, None] + bias
    yield Case("SkipGroupNorm", [x, gamma, beta, skip, bias], last, outputs=2, symbolic=False,
               expected=[group_norm(total, gamma, beta, 4, True), total])
    a, b = make.normal(2, 3, 5, 7), make.normal(2, 1, 1, 7)
    power = np.exp(a + b)
    yield Case("BiasSoftmax", [a, b], {"axis": 3, "is_inner_broadcast": 1}, expected=[power / power.sum(3, keepdims=True)], symbolic=False)
    power = np.exp(a + a[0])
    yield Case("BiasSoftmax", [a, a[0]], {"axis": 2, "is_inner_broadcast": 0}, symbolic=False,
               expected=[power / power.sum((2, 3), keepdims=True)])
    yield Case("BiasAdd", [a, b[0, 0, 0], a], expected=[2 * a + b[0, 0, 0]])
    x, w, z = make.normal(2, 7, 9, 4), make.normal(6, 4, 1, 1), make.normal(2, 7, 9, 6)
    y = x @ w[:, :, 0, 0].T
    yield Case("NhwcConv", [x, w], constants=(1,), symbolic=False, expected=[y])
    yield Case("NhwcFusedConv", [x, w, None, z], {"activation": "Relu"}, constants=(1,), symbolic=False, expected=[np.maximum(y + z, 0)])
    yield Case("FusedMatMulActivation", [a, b[0, 0].T], {"activation": "Relu", "alpha": 0.5}, expected=[np.maximum(a @ b[0, 0].T / 2, 0)])


CASES += list(without_kernel())


def gated(x, scale, gate, activation):
    rows = x.reshape(-1, scale.size).astype(np.float64)
    normal = (rows / np.sqrt((rows**2).mean(1, keepdims=True) + 1e-5) * scale).reshape(x.shape)
    factor = 1 / (1 + np.exp(-gate.astype(np.float64)))
    return (normal * factor * (1 if activation == "sigmoid" else gate)).astype(np.float32)


def gated_norm(*shape, width, activation):
    x, scale, gate = make.normal(*shape), make.normal(width), make.normal(*shape)
    return Case("GatedRMSNorm", [x, scale, gate], {"activation": activation}, constants=(1,), symbolic=False, expected=[gated(x, scale, gate, activation)], tolerance=2e-5)


def swiglu(gate, up, alpha=1.0, beta=0.0, limit=0.0):
    g, l = (np.split(gate, 2, -1) if up is None else (gate, up))
    if limit > 0:
        g, l = np.minimum(g, limit), np.clip(l, -limit, limit)
    return Case("SwiGLU", [gate] + ([] if up is None else [up]), {"activation_alpha": alpha, "activation_beta": beta, "limit": limit}, symbolic=False,
                expected=[g / (1 + np.exp(-alpha * g)) * (l + np.float32(beta))])


CASES += [
    gated_norm(3, 16, width=16, activation="silu"), gated_norm(2, 3, 32, width=8, activation="sigmoid"), swiglu(make.normal(3, 17), make.normal(3, 17)),
    swiglu(make.normal(3, 34) * 4, None, 1.702, 1.0, 3.0),
    Case("BiasDropout", [make.normal(3, 17), make.normal(17), make.normal(3, 17)], expected=[]),
]
drop = CASES[-1]
drop.expected = [drop.inputs[0] + drop.inputs[1] + drop.inputs[2]]
