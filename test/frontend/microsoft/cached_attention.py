"""Attention over a cache of keys and values, and rotation by position."""
import numpy as np
from case import Case, Make

make = Make(3)


def angles(places, half, dtype=np.float32):
    turn = np.arange(places)[:, None] / 100.0 ** (np.arange(half) / half)
    return np.cos(turn).astype(dtype), np.sin(turn).astype(dtype)


def gqa(batch=2, length=5, heads=4, groups=2, size=16, past=None, held=None, capacity=None, packed=False, rotary=False, bias=False,
        sink=False, positions=False, dtype=np.float32, symbolic=False, **attributes):
    """held: keys of each sequence after the call; past: places of the cache before it."""
    held = held or [(past or 0) + length] * batch
    total = max(held)
    q = make.normal(batch, length, heads * size, dtype=dtype)
    k, v = (make.normal(batch, length, groups * size, dtype=dtype) for _ in range(2))
    first = [np.concatenate([q, k, v], 2), None, None] if packed else [q, k, v]
    cache = [make.normal(batch, groups, past, size, dtype=dtype) for _ in range(2)] if past is not None else [None, None]
    turns = list(angles(64, size // 2, dtype)) if rotary else [None, None]
    places = (np.array(held)[:, None] - length + np.arange(length)).astype(np.int64) if positions else None
    inputs = first + cache + [np.array(held, np.int32) - 1, np.array(total, np.int32)] + turns + [
        places, make.normal(batch, heads, length, total, dtype=dtype) if bias else None, make.normal(heads, dtype=dtype) if sink else None]
    if rotary:
        attributes["do_rotary"] = 1

    def of_tokens(y):  # of a first call, places beyond a sequence's end are padding
        return np.concatenate([rows[:held[i]] for i, rows in enumerate(y)])

    return Case("GroupQueryAttention", inputs, {"num_heads": heads, "kv_num_heads": groups, **attributes}, constants=(6,), outputs=3,
                symbolic=symbolic, compared=of_tokens, tolerance=2e-5 if dtype == np.float32 else 3e-3)


CASES = [
    gqa(), gqa(symbolic=True), gqa(batch=1, length=1, heads=1, groups=1), gqa(packed=True), gqa(past=4, length=1), gqa(past=4, length=1, held=[5, 3]),
    gqa(batch=1, past=4, length=3), gqa(past=8, length=1, held=[5, 3]), gqa(held=[5, 3]), gqa(rotary=True), gqa(rotary=True, rotary_interleaved=1),
    gqa(rotary=True, past=4, length=1, held=[5, 3]), gqa(rotary=True, packed=True, past=4, length=1), gqa(softcap=2.0), gqa(scale=0.1),
    gqa(local_window_size=2), gqa(local_window_size=2, past=7, length=1), gqa(bias=True), gqa(bias=True, past=4, length=1),
    gqa(smooth_softmax=1), gqa(sink=True), gqa(sink=True, softcap=3.0, past=4, length=1), gqa(length=40, size=64), gqa(heads=6, groups=3, size=8),
    gqa(dtype=np.float16, rotary=True, past=4, length=1), gqa(batch=1, past=4, length=3, rotary=True, positions=True),
]


def rotary(*shape, half=8, positions=None, **attributes):
    batch, length = shape[0], shape[1] if len(shape) == 3 else shape[2]
    positions = make.integers(np.int64, batch, length, low=0, high=31) if positions is None else positions
    return Case("RotaryEmbedding", [make.normal(*shape), positions, *angles(64, half)], attributes, constants=(2, 3), symbolic=False)


CASES += [
    rotary(2, 5, 48), rotary(2, 3, 5, 16), rotary(2, 5, 48, interleaved=1), rotary(2, 3, 5, 16, interleaved=1),
    rotary(2, 5, 48, positions=np.array([7])), rotary(1, 1, 16), rotary(2, 5, 72, num_heads=3, rotary_embedding_dim=16),
]


def multimodal(sections, layout, interleaved=0, batch=2, length=5, heads=3, **attributes):
    half = sum(sections)
    positions = make.integers(np.int64, 3, batch, length, low=0, high=31)
    return Case("MRotaryEmbedding", [make.normal(batch, length, heads * 2 * half), positions, *angles(64, half)],
                {"mrope_section": sections, "mrope_layout": layout, "interleaved": interleaved, "num_heads": heads, "rotary_embedding_dim": 2 * half, **attributes},
                constants=(2, 3), symbolic=False)


CASES += [multimodal([4, 2, 2], 0), multimodal([4, 2, 2], 1), multimodal([2, 6, 4], 0, 1), multimodal([6, 5, 5], 1, batch=1, length=1)]


def quantised_cache(kind, past=4, length=1, **attributes):
    """Keys and values of a cache in bytes; held: all sequences have the same length."""
    batch, heads, groups, size = 2, 4, 2, 16
    scales = [make.uniform(*((1,) if kind == "PER_TENSOR" else (groups * size,)), low=0.02, high=0.04) for _ in range(2)]
    cache = [make.i8(batch, groups, past, size) for _ in range(2)] if past else [None, None]
    inputs = [make.normal(batch, length, heads * size), make.normal(batch, length, groups * size), make.normal(batch, length, groups * size), *cache,
              np.full(batch, past + length - 1, np.int32), np.array(past + length, np.int32), None, None, None, None, None, *scales]
    return Case("GroupQueryAttention", inputs, {"num_heads": heads, "kv_num_heads": groups, "k_quant_type": kind, "v_quant_type": kind, "kv_cache_bit_width": 8, **attributes},
                constants=(6, 12, 13), outputs=3, symbolic=False, tolerance=2e-5, codes=1)


CASES += [quantised_cache("PER_TENSOR"), quantised_cache("PER_CHANNEL"), quantised_cache("PER_CHANNEL", past=9, softcap=3.0), quantised_cache("PER_TENSOR", past=3, local_window_size=2)]


def normalised(past=4, length=3):
    """Heads normalised before the rest, which ONNX Runtime's kernel for the CPU does not do: against one that gets them so."""
    case = gqa(batch=2, length=length, past=past) if past else gqa(batch=2, length=length)
    q, k, v, past_k, past_v = case.inputs[:5]
    weights = [make.normal(16), make.normal(16)]

    def heads(x, weight):
        rows = x.reshape(*x.shape[:2], -1, 16)
        return rows / np.sqrt((rows**2).mean(3, keepdims=True) + 1e-6) * weight

    queries, keys = heads(q, weights[0]).transpose(0, 2, 1, 3), heads(k, weights[1]).transpose(0, 2, 1, 3)
    values = v.reshape(*v.shape[:2], -1, 16).transpose(0, 2, 1, 3)
    keys, values = (np.concatenate([old, new], 2) if past else new for old, new in ((past_k, keys), (past_v, values)))
    scores = queries @ np.repeat(keys, 2, 1).transpose(0, 1, 3, 2) / 4
    hidden = np.arange(past + length)[None, :] > np.arange(length)[:, None] + past
    power = np.exp(np.where(hidden, -np.inf, scores))
    y = (power / power.sum(3, keepdims=True)) @ np.repeat(values, 2, 1)
    case.inputs = [*case.inputs, *[None] * (14 - len(case.inputs)), *weights]
    case.expected = [x.astype(np.float32) for x in (y.transpose(0, 2, 1, 3).reshape(q.shape), keys, values)]
    case.compared = None
    return case


CASES += [normalised(past=0)]
