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
