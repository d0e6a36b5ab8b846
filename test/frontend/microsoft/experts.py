"""Mixtures of experts, and weights of other formats."""
import numpy as np
from case import Case, Make

make = Make(5)


def moe(tokens=(5,), hidden=32, inner=16, experts=4, fused=False, third=False, bias=True, **attributes):
    inputs = [make.normal(*tokens, hidden), make.normal(int(np.prod(tokens)), experts), make.normal(experts, inner * (1 + fused), hidden) / 4,
              make.normal(experts, inner * (1 + fused)) if bias else None, make.normal(experts, hidden, inner) / 4, make.normal(experts, hidden) if bias else None]
    if third:
        inputs += [make.normal(experts, inner, hidden) / 4, make.normal(experts, inner) if bias else None]
    return Case("MoE", inputs, attributes, constants=tuple(range(2, len(inputs))), symbolic=False, tolerance=2e-5)


CASES = [
    moe(), moe(k=2), moe(k=2, normalize_routing_weights=1, activation_type="silu"), moe(k=4, activation_type="identity", bias=False), moe(tokens=(2, 3), k=2, activation_type="gelu"),
    moe(tokens=(1,), k=2, fused=True, activation_type="swiglu", swiglu_fusion=1, activation_alpha=1.702, activation_beta=1.0, swiglu_limit=7.0, normalize_routing_weights=1),
]


def qmoe(bits, tokens=5, hidden=64, inner=32, experts=4, fused=False, block=None, **attributes):
    def layer(rows, depth):
        blocks = (depth // block,) if block else ()
        return [make.u8(experts, rows, depth * bits // 8), make.uniform(experts, rows, *blocks), make.normal(experts, rows)]

    inputs = [make.normal(tokens, hidden), make.normal(tokens, experts)] + layer(inner * (1 + fused), hidden) + layer(hidden, inner)
    if block:
        attributes["block_size"] = block
    return Case("QMoE", inputs, {"expert_weight_bits": bits, "normalize_routing_weights": 1, **attributes}, constants=tuple(range(2, 8)), symbolic=False, tolerance=2e-3)


CASES += [
    qmoe(4), qmoe(4, k=2, activation_type="silu"), qmoe(8, k=2), qmoe(4, block=16, k=2), qmoe(4, hidden=128, inner=64, block=32, tokens=1, k=2),
    qmoe(4, fused=True, k=2, activation_type="swiglu", swiglu_fusion=1, activation_alpha=1.702, activation_beta=1.0, swiglu_limit=7.0),
]


def by_groups(bits, n, k, block, zeros=False):
    """A MatMulNBits whose columns lie in groups of their own. ONNX Runtime's kernel for the CPU forgets the zero points then, and knows 4 bits alone."""
    blocks = k // block
    inputs = [make.normal(3, k), make.u8(n, blocks, block * bits // 8), make.uniform(n * blocks), make.u8(n * (-(-blocks * bits // 8))) if zeros else None,
              make.rng.permutation(np.arange(k) // block).astype(np.int32)]
    a, codes, scales, zero_points, groups = inputs

    def unpacked(x):
        return (x[..., None] >> np.arange(0, 8, bits, dtype=np.uint8) & (2**bits - 1)).reshape(n, -1).astype(np.float64)

    zero = unpacked(zero_points.reshape(n, -1))[:, groups] if zeros else 2 ** (bits - 1)
    w = (unpacked(codes.reshape(n, -1)) - zero) * scales.reshape(n, blocks)[:, groups]
    return Case("MatMulNBits", inputs, {"K": k, "N": n, "bits": bits, "block_size": block}, constants=(1, 2, 3, 4), symbolic=False, expected=[(a @ w.T).astype(np.float32)])


CASES += [by_groups(4, 24, 64, 32), by_groups(4, 17, 96, 32, zeros=True), by_groups(8, 24, 64, 16), by_groups(2, 24, 64, 16, zeros=True)]


def bnb(kind, n, k, block, rows=(3,)):
    return Case("MatMulBnb4", [make.normal(*rows, k), make.u8(n * k // 2), make.uniform(n * k // block)], {"K": k, "N": n, "block_size": block, "quant_type": kind},
                constants=(1, 2), symbolic=False)


CASES += [bnb(0, 24, 64, 16), bnb(1, 24, 64, 64), bnb(1, 17, 96, 32, (2, 5)), bnb(1, 1, 16, 16, (1,))]


def lstm(direction="forward", steps=7, batch=2, width=12, hidden=16, by_column=False, dtype=np.int8, lengths=False, bias=True):
    """ONNX Runtime rounds the inputs and states to bytes as well, so only so much agrees."""
    ways = 2 if direction == "bidirectional" else 1
    make_codes = make.i8 if dtype == np.int8 else make.u8

    def weights(rows):
        shape = (ways, 4 * hidden) if by_column else (ways,)
        zero = np.zeros(shape, dtype) if dtype == np.int8 else np.full(shape, 128, dtype)
        return make_codes(ways, rows, 4 * hidden), make.uniform(*shape, low=0.002, high=0.003), zero

    (w, w_scale, w_zero), (r, r_scale, r_zero) = weights(width), weights(hidden)
    inputs = [make.normal(steps, batch, width), w, r, make.normal(ways, 8 * hidden) / 4 if bias else None, np.array([steps, 3], np.int32) if lengths else None, None, None, None,
              w_scale, w_zero, r_scale, r_zero]
    return Case("DynamicQuantizeLSTM", inputs, {"hidden_size": hidden, "direction": direction}, constants=(1, 2, 3, 8, 9, 10, 11), outputs=3, symbolic=False, tolerance=3e-2)


CASES += [lstm(), lstm("reverse", bias=False), lstm("bidirectional"), lstm(by_column=True), lstm("bidirectional", by_column=True), lstm(dtype=np.uint8), lstm(lengths=True), lstm(steps=1, batch=1)]
