"""Attention, in all its spellings."""
import numpy as np
from case import Case, Make

make = Make(2)


def ones_until(ends, keys):
    return (np.arange(keys)[None, :] < np.array(ends)[:, None]).astype(np.int32)


def attention(batch=2, length=5, heads=3, size=16, mask=None, past=None, bias=False, value_size=None, width=37, with_bias=True,
              outputs=1, symbolic=False, **attributes):
    hidden, value_hidden = heads * size, heads * (value_size or size)
    keys = length + (past or 0)
    inputs = [make.normal(batch, length, width), make.normal(width, 2 * hidden + value_hidden) / 4,
              make.normal(2 * hidden + value_hidden) if with_bias else None, mask,
              make.normal(2, batch, heads, past, size) if past is not None else None,
              make.normal(batch, heads, length, keys) if bias else None]
    if value_size:
        attributes["qkv_hidden_sizes"] = [hidden, hidden, value_hidden]
    return Case("Attention", inputs, {"num_heads": heads, **attributes}, constants=(1, 2), outputs=outputs, symbolic=symbolic,
                tolerance=2e-5)


CASES = [
    attention(), attention(symbolic=True), attention(batch=1, length=1, heads=1), attention(with_bias=False, size=7),
    attention(mask=ones_until([5, 3], 5)), attention(mask=ones_until([5, 0], 5)), attention(mask=np.array([5, 3], np.int32)),
    attention(mask=np.array([5, 4, 1, 0], np.int32)), attention(mask=make.i32(2, 5, 5, low=0, high=1)),
    attention(mask=ones_until([5, 3], 5), mask_filter_value=-1.0), attention(unidirectional=1),
    attention(unidirectional=1, mask=ones_until([5, 3], 5)), attention(unidirectional=1, symbolic=True, length=33, size=8),
    attention(past=4, outputs=2), attention(past=4, outputs=2, unidirectional=1), attention(past=4, length=1, outputs=2, unidirectional=1, mask=ones_until([5, 3], 5)),
    attention(bias=True), attention(bias=True, mask=ones_until([5, 3], 5)), attention(scale=0.3), attention(value_size=24),
    attention(past=0, outputs=2), attention(length=67, size=64, heads=2),
]


def mha(batch=2, length=5, keys=6, heads=3, size=16, value_size=None, bias=False, mask=None, attention_bias=False, past=None,
        layout="flat", outputs=1, symbolic=False, **attributes):
    value_size = value_size or size
    total = keys + (past or 0)
    if layout == "qkv":
        first = [make.normal(batch, length, heads, 3, size), None, None]
    elif layout == "kv":
        first = [make.normal(batch, length, heads * size), make.normal(batch, keys, heads, 2, size), None]
    elif layout == "states":
        first = [make.normal(batch, length, heads * size), make.normal(batch, heads, keys, size), make.normal(batch, heads, keys, value_size)]
    else:
        first = [make.normal(batch, length, heads * size), make.normal(batch, keys, heads * size), make.normal(batch, keys, heads * value_size)]
    inputs = first + [make.normal(heads * (2 * size + value_size)) if bias else None, mask,
                      make.normal(batch, heads, length, total) if attention_bias else None,
                      make.normal(batch, heads, past, size) if past is not None else None,
                      make.normal(batch, heads, past, value_size) if past is not None else None]
    return Case("MultiHeadAttention", inputs, {"num_heads": heads, **attributes}, outputs=outputs, symbolic=symbolic, tolerance=2e-5,
                note=layout)


def packed(layout):
    """ONNX Runtime's kernel for the CPU does not take packed operands."""
    case = mha(layout=layout, keys=5)
    query, key = case.inputs[:2]
    q, k, v = np.moveaxis(query, 3, 0) if layout == "qkv" else (query.reshape(2, 5, 3, 16), *np.moveaxis(key, 3, 0))
    power = np.exp(np.einsum("bshd,bthd->bhst", q, k) / 4)
    y = np.einsum("bhst,bthd->bshd", power / power.sum(3, keepdims=True), v)
    case.expected = [y.reshape(2, 5, 48)]
    return case


CASES += [
    mha(), mha(symbolic=True), mha(batch=1, length=1, keys=1, heads=1), mha(bias=True), mha(value_size=32), mha(size=7, bias=True, value_size=9),
    mha(mask=ones_until([6, 3], 6)), mha(mask=np.array([6, 3], np.int32)), mha(mask=make.i32(2, 5, 6, low=0, high=1)),
    mha(attention_bias=True), mha(attention_bias=True, mask=ones_until([6, 2], 6)), mha(unidirectional=1, keys=5),
    mha(past=4, keys=5, outputs=3), mha(past=4, keys=5, outputs=3, unidirectional=1), mha(past=4, length=1, keys=1, outputs=3, bias=True),
    packed("qkv"), packed("kv"), mha(layout="states"), mha(layout="states", bias=True),
    mha(outputs=3), mha(scale=0.2), mha(length=40, keys=67, size=64),
]


def linear(rule, batch=2, length=5, heads=4, groups=2, size=8, value_size=16, state=True, wide_decay=False, **attributes):
    gated, delta = rule.startswith("gated"), rule.endswith("delta")
    inputs = [make.normal(batch, length, heads * size), make.normal(batch, length, groups * size) / 3,
              make.normal(batch, length, groups * value_size), make.normal(batch, groups, size, value_size) if state else None,
              -make.uniform(batch, length, groups * (size if wide_decay else 1)) if gated else None,
              make.uniform(batch, length, groups) if delta else None]
    return Case("LinearAttention", inputs, {"q_num_heads": heads, "kv_num_heads": groups, "update_rule": rule, **attributes}, outputs=2,
                symbolic=False, tolerance=2e-5)


CASES += [
    linear(rule, **more) for rule in ("linear", "gated", "delta", "gated_delta")
    for more in ({}, {"length": 1, "batch": 1}, {"state": False, "value_size": 19, "size": 7}, {"heads": 3, "groups": 3, "scale": 0.5, "length": 33})
] + [linear("gated_delta", wide_decay=True), linear("gated", wide_decay=True, size=64, value_size=64)]


def causal_conv(batch=2, channels=6, length=9, reach=4, bias=True, state=True, **attributes):
    carried = (reach - 1) * attributes.get("dilation", 1)
    return Case("CausalConvWithState", [make.normal(batch, channels, length), make.normal(channels, 1, reach), make.normal(channels) if bias else None,
                                        make.normal(batch, channels, carried) if state else None], attributes, constants=(1, 2), outputs=2, symbolic=False)


CASES += [causal_conv(), causal_conv(length=1, batch=1), causal_conv(state=False, activation="silu"), causal_conv(bias=False, dilation=2, length=3),
          causal_conv(reach=1), causal_conv(channels=35, length=70, activation="swish")]


def gated_bias(batch=2, length=5, heads=3, size=8, width=6):
    inputs = [make.normal(batch, length, heads * size), make.normal(heads * size), make.normal(1, heads, length, length), make.normal(size, width),
              make.normal(width), make.normal(1, heads, 1, 1)]
    query, query_bias, position, weight, bias, eco = inputs
    q = (query + query_bias).reshape(batch, length, heads, size).transpose(0, 2, 1, 3)
    gates = 1 / (1 + np.exp(-(q @ weight + bias).reshape(batch, heads, length, 2, width // 2).sum(-1)))
    y = (gates[..., :1] * (gates[..., 1:] * eco - 1) + 2) * position
    return Case("GatedRelativePositionBias", inputs, {"num_heads": heads}, symbolic=False, expected=[y.astype(np.float32)])


CASES += [gated_bias(), gated_bias(batch=1, length=1, heads=1)]  # no kernel for the CPU


def position_bias(buckets, heads, queries, keys, both_ways, most=128):
    """T5's buckets; ONNX Runtime has no kernel for the CPU."""
    table = make.normal(buckets, heads)
    apart = np.arange(keys)[None, :] - np.arange(queries)[:, None]
    base, half = 0, buckets
    if both_ways:
        half //= 2
        base, apart = (apart > 0) * half, np.abs(apart)
    else:
        apart = np.maximum(-apart, 0)
    exact = half // 2
    with np.errstate(divide="ignore"):
        far = exact + (np.log(apart / exact) / np.log(most / exact) * (half - exact)).clip(0).astype(int)
    bucket = base + np.where(apart < exact, apart, np.minimum(far, half - 1))
    return Case("RelativePositionBias", [table, np.array([queries]), np.array([keys])], {"max_distance": most, "is_bidirectional": int(both_ways)}, constants=(1, 2), symbolic=False,
                expected=[table[bucket].transpose(2, 0, 1)[None]])


CASES += [position_bias(32, 4, 40, 40, True), position_bias(32, 3, 200, 200, False), position_bias(32, 2, 1, 7, True), position_bias(16, 1, 5, 1, False, 20)]


def decoder(batch=2, heads=3, size=16, past=4, capacity=9, bias=False, mask=None, cross=0, **attributes):
    hidden = heads * size
    if cross:
        keys = [make.normal(batch, heads, cross, size), make.normal(batch, heads, cross, size)]
        return Case("DecoderMaskedMultiHeadAttention", [make.normal(batch, 1, hidden), *keys, mask], {"num_heads": heads, **attributes}, symbolic=False, tolerance=2e-5)
    # ONNX Runtime's kernel for the CPU fails where there are no beams.
    new = [make.normal(batch, 1, hidden) for _ in range(3)]
    states = [make.normal(batch, heads, capacity, size) for _ in range(2)]
    added = make.normal(3 * hidden) if bias else None
    q, k, v = ((x + (added[i * hidden : (i + 1) * hidden] if bias else 0)).reshape(batch, heads, 1, size) for i, x in enumerate(new))
    present = [state.copy() for state in states]
    for state, x in zip(present, (k, v)):
        state[:, :, past : past + 1] = x
    keys, values = (state[:, :, : past + 1].astype(np.float64) for state in present)
    scores = q @ keys.swapaxes(2, 3) * attributes.get("scale", size**-0.5)
    if mask is not None:
        scores = scores + np.where(mask, 0, -10000.0)[:, None, None]
    power = np.exp(scores - scores.max(3, keepdims=True))
    y = (power / power.sum(3, keepdims=True) @ values).reshape(batch, 1, hidden)
    inputs = [*new, mask, None, *states, np.array([past], np.int32), None, None, added]
    return Case("DecoderMaskedMultiHeadAttention", inputs, {"num_heads": heads, "past_present_share_buffer": 1, **attributes}, outputs=3, symbolic=False, tolerance=2e-5,
                expected=[x.astype(np.float32) for x in (y, *present)])


CASES += [decoder(), decoder(bias=True), decoder(past=0), decoder(past=8), decoder(mask=ones_until([5, 3], 5)), decoder(scale=0.2, batch=1, heads=1), decoder(cross=6),
          decoder(cross=6, mask=ones_until([6, 2], 6))]
