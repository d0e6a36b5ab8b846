"""Small models for tests of products, in ONNX's text form, with seeded weights."""
import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper

# Kernels in one region, some of which need not wait for each other; two outputs.
CLASSIFIER = """<ir_version: 9, opset_import: ["" : 18]>
classifier (float[N, 24] x) => (float[N, 8] y, int64[N] best) {
  h = MatMul(x, W)
  r = Relu(h)
  s = Softmax<axis = -1>(r)
  t = Tanh(h)
  u = Mul(s, t)
  y = MatMul(u, V)
  best = ArgMax<axis = 1, keepdims = 0>(y)
}"""

# Adds 1 and halves while the sum is large: iterations that only the data can tell, values that loops carry.
HALVING = """<ir_version: 9, opset_import: ["" : 18]>
halving (float[N] x, int64 most) => (float[N] y, float[K] sums) {
  yes = Constant<value = bool {1}>()
  y, sums = Loop(most, yes, x) <body = step (int64 i, bool on, float[N] before) => (bool more, float[N] after, float sum) {
    one = Constant<value = float {1}>()
    half = Constant<value = float {0.5}>()
    limit = Constant<value = float {10}>()
    added = Add(before, one)
    after = Mul(added, half)
    sum = ReduceSum<keepdims = 0>(after)
    more = Greater(sum, limit)
  }>
}"""

# As many steps as there are rows; what each gives is stacked from the last to the first.
SCANNED = """<ir_version: 9, opset_import: ["" : 18]>
scanned (float[8] h, float[T, 8] x) => (float[8] last, float[T, 8] all) {
  last, all = Scan<num_scan_inputs = 1, scan_output_directions = [1], body = step (float[8] before, float[8] row) => (float[8] after, float[8] seen) {
    sum = Add(before, row)
    after = Tanh(sum)
    seen = Abs(after)
  }>(h, x)
}"""

# A recurrence to be trained, whose gradient is a loop from the last step to the first.
TUNED = """<ir_version: 9, opset_import: ["" : 18]>
tuned (float[2, 8] h, float[T, 2, 8] x) => (float[2, 8] last) <float[8] w = {0.5, -0.5, 1, -1, 0.25, 2, 0.75, -0.1}> {
  last, all = Scan<num_scan_inputs = 1, body = step (float[2, 8] before, float[2, 8] row) => (float[2, 8] after, float[2, 8] seen) {
    kept = Mul(before, w)
    sum = Add(kept, row)
    after = Tanh(sum)
    seen = Identity(after)
  }>(h, x)
}"""

# A loop in a loop: the host slices by one counter, kernels count with both.
NESTED = """<ir_version: 9, opset_import: ["" : 18]>
nested (float[R, 3] x, int64 outer, int64 inner) => (float[3] y, float[K, 3] rows) {
  yes = Constant<value = bool {1}>()
  zeros = Constant<value = float[3] {0, 0, 0}>()
  y, rows = Loop(outer, yes, zeros) <body = turn (int64 i, bool on, float[3] before) => (bool go, float[3] after, float[3] row) {
    go = Identity(on)
    axis = Constant<value = int64[1] {0}>()
    one = Constant<value = int64[1] {1}>()
    start = Unsqueeze(i, axis)
    end = Add(start, one)
    part = Slice(x, start, end)
    row = Squeeze(part, axis)
    after = Loop(inner, on, before) <body = add (int64 j, bool more, float[3] sum) => (bool still, float[3] next) {
      still = Identity(more)
      both = Add(i, j)
      weight = Cast<to = 1>(both)
      weighted = Mul(row, weight)
      next = Add(sum, weighted)
    }>
  }>
}"""

# From place to place, while there is something at each: an index may be wrong, and there may be no end.
WALK = """<ir_version: 9, opset_import: ["" : 18]>
walk (float[N] x, int64[N] next, int64 most) => (int64 last, float[K] seen) {
  yes = Constant<value = bool {1}>()
  first = Constant<value = int64 {0}>()
  last, seen = Loop(most, yes, first) <body = step (int64 i, bool on, int64 at) => (bool go, int64 after, float value) {
    zero = Constant<value = float {0}>()
    value = Gather(x, at)
    after = Gather(next, at)
    go = Greater(value, zero)
  }>
}"""

COUNTED = WALK.replace("walk (", "counted (").replace("Greater(value, zero)", "Identity(on)")   # whatever there is

# A result whose size only the data can tell, and an index that may be wrong.
CHOSEN = """<ir_version: 9, opset_import: ["" : 18]>
chosen (float[N] x, int64[M] at) => (int64[R, K] where, float[M] taken) {
  positive = Relu(x)
  where = NonZero(positive)
  taken = Gather<axis = 0>(x, at)
}"""

# A list of places that one thread writes, between kernels of the device's; an index that may be wrong.
LISTED = """<ir_version: 9, opset_import: ["" : 18]>
listed (float[40000] x, float[K] z) => (float[20000] y) {
  size = Abs(x)
  half = Constant<value = int64[1] {20000}>()
  largest, at = TopK<axis = 0>(size, half)
  found = Gather<axis = 0>(z, at)
  y = Exp(found)
}"""

# An index that may be wrong, and nothing that the host has to look at.
TAKEN = """<ir_version: 9, opset_import: ["" : 18]>
taken (float[N] x, int64[M] at) => (float[M] y) {
  some = Gather<axis = 0>(x, at)
  y = Relu(some)
}"""

# Strings in and out.
WORDS = """<ir_version: 9, opset_import: ["" : 20]>
words (string[N] a, string[N] b) => (string[N] joined, bool[N] same) {
  joined = StringConcat(a, b)
  same = Equal(a, b)
}"""

# To be trained.
LEARNER = """<ir_version: 9, opset_import: ["" : 18]>
learner (float[N, 24] x) => (float[N, 40] y) {
  y = MatMul(x, W)
}"""

MOMENTS = LEARNER.replace("learner", "moments")   # by an optimizer that has some

# What a step gives is what the next one takes.
FEEDBACK = """<ir_version: 9, opset_import: ["" : 18]>
feedback (float[N] x) => (float[N] y) {
  two = Constant<value = float {2}>()
  y = Add(x, two)
}"""


# What is remembered grows by what is new, and that looks at all of it.
CACHE = """<ir_version: 9, opset_import: ["" : 18]>
cache (float[P, 8] past, float[1, 8] x) => (float[1, 8] y, float[T, 8] all) {
  all = Concat<axis = 0>(past, x)
  turned = Transpose<perm = [1, 0]>(all)
  scores = MatMul(x, turned)
  weights = Softmax<axis = -1>(scores)
  y = MatMul(weights, all)
}"""

# One kernel, which needs no memory but the caller's.
ALONE = """<ir_version: 9, opset_import: ["" : 18]>
alone (float[N] x) => (float[N] y) {
  y = Relu(x)
}"""


# A product that Hopper's warpgroups do, with tensor maps for its operands, and one that waits for it.
LARGE = """<ir_version: 9, opset_import: ["" : 18]>
large (float16[1000, 216] x, float16[216, 2040] w, float16[2040, 8] v) => (float16[1000, 2040] y, float16[1000, 8] z) {
  h = MatMul(x, w)
  y = Relu(h)
  z = MatMul(y, v)
}"""


# Two such products: one of rows from the last to the first, which no tensor map tells; one of any depth, even of none.
ODD = """<ir_version: 9, opset_import: ["" : 18]>
odd (float16[2048, 64] x, float16[64, 2048] w, float16[2048, K] a, float16[K, 2048] b)
    => (float16[2048, 2048] y, float16[2048, 2048] z) {
  start = Constant<value = int64[1] {-1}>()
  end = Constant<value = int64[1] {-5000}>()
  axis = Constant<value = int64[1] {0}>()
  reversed = Slice(x, start, end, axis, start)
  y = MatMul(reversed, w)
  z = MatMul(a, b)
}"""


# Products that the same warpgroups add to, and multiply by, what lies as their results do; nothing ends with a tile. Rows of
# one are no multiple of 16 bytes, so the threads store them.
ADDED = """<ir_version: 9, opset_import: ["" : 18]>
added (float16[M, 72] x, float16[72, 1000] w, float16[M, 1000] r, float16[M, 1000] q,
       float16[9, 200, 136] a, float16[9, 136, 328] b, float16[9, 200, 328] s, float16[72, 999] v, float16[999] c)
    => (float16[M, 1000] y, float16[9, 200, 328] z, float16[M, 999] t) {
  h = MatMul(x, w)
  i = Add(h, r)
  j = Relu(i)
  y = Mul(j, q)
  k = MatMul(a, b)
  z = Sub(s, k)
  u = MatMul(x, v)
  t = Add(u, c)
}"""


def save(text, path):
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    for name, shape in {"W": (24, 40), "V": (40, 8)}.items():
        if any(name in node.input for node in model.graph.node):
            model.graph.initializer.append(numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name))
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def classify(x):
    """What CLASSIFIER computes, in float64."""
    rng = np.random.default_rng(0)
    w, v = (rng.standard_normal(shape).astype(np.float32).astype(np.float64) for shape in ((24, 40), (40, 8)))
    h = x.astype(np.float64) @ w
    r = np.maximum(h, 0)
    s = np.exp(r - r.max(-1, keepdims=True))
    s /= s.sum(-1, keepdims=True)
    y = (s * np.tanh(h)) @ v
    return y, y.argmax(1)


def attend(past, x):
    """What CACHE computes."""
    remembered = np.concatenate([past, x])
    scores = x.astype(np.float64) @ remembered.T
    weights = np.exp(scores - scores.max())
    return weights / weights.sum() @ remembered, remembered


def scan(h, x):
    h, seen = h.astype(np.float64), []
    for row in x.astype(np.float64):
        h = np.tanh(h + row)
        seen.append(np.abs(h))
    return h, np.array(seen[::-1]).reshape(x.shape)


def tuned_loss(w, h, x, labels):
    for row in x.astype(np.float64):
        h = np.tanh(h * w + row)
    return np.mean((h - labels) ** 2)


def nest(x, outer, inner):
    x, y = x.astype(np.float64), np.zeros(3)
    for i in range(outer):
        for j in range(inner):
            y = y + x[i] * (i + j)
    return y, x[:outer]


def walk(x, after, most, always=False):
    at, seen = 0, []
    for _ in range(most):
        seen.append(x[at])
        at = after[at]
        if not (always or seen[-1] > 0):
            break
    return at, np.array(seen)


def halve(x, most):
    x, sums = x.astype(np.float64), []
    for _ in range(most):
        x = (x + 1) / 2
        sums.append(x.sum())
        if not sums[-1] > 10:
            break
    return x, np.array(sums)
