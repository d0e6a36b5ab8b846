"""The kernels and models that are measured: one list, which prepare.py compiles and run.py checks and times.

A kernel is one product whose leading extent M is symbolic, or known where it is `fixed`, which lets the compiler choose its
tiles for it; `check` and `time` are values of it. B and weights of `weights` kernels are constants of the model, as in
networks; of the others inputs. Names of dtypes are those of elements.py.
"""
from dataclasses import asdict, dataclass, field

from elements import BF16, F16, F32


@dataclass
class Kernel:
    name: str
    kind: str                     # gemm, conv, attention, softmax, layer_norm, gelu, add
    dtype: str
    sizes: dict = field(default_factory=dict)
    check: list = field(default_factory=list)
    time: list = field(default_factory=list)
    weights: bool = False
    fixed: bool = False
    options: list = field(default_factory=list)   # of the compiler
    group: str = ""               # kernels whose figures are put together

    def record(self):
        return asdict(self)


def gemm(group, dtype, n, k, time, fixed=False, weights=True, transposed=False, options=()):
    """A fixed one is of the one value in `time`."""
    parts = [group, dtype, f"{n}x{k}"] + [f"m{m}" for m in time if fixed] + ["transposed"] * transposed
    parts += [option.strip("-").replace("=", "_") for option in options]
    return Kernel("_".join(["gemm", *parts]), "gemm", dtype, {"n": n, "k": k, "transposed": transposed},
                  list(time) if fixed else [1, 17, 200], list(time), weights, fixed, list(options), group)


MODEL_GEMMS = [("bert", 768, 768), ("bert", 3072, 768), ("bert", 768, 3072), ("gpt2", 2304, 768), ("llama", 4096, 4096),
               ("llama", 14336, 4096), ("llama", 4096, 14336)]
IMAGE_GEMMS = [(64, 256, 50176), (512, 1024, 12544), (2048, 512, 3136)]   # ResNet-50's 1x1 convolutions, 16 images


def gemms(f32_options):
    """f32_options: what the compiler is told for products of f32, each with kernels of its own."""
    for dtype in (F16, BF16):
        yield from (gemm(group, dtype, n, k, (1, 128)) for group, n, k in MODEL_GEMMS)
        yield from (gemm(group, dtype, n, k, (4096,), fixed=True) for group, n, k in MODEL_GEMMS)
        yield from (gemm("resnet", dtype, n, k, (m,), fixed=True) for n, k, m in IMAGE_GEMMS)
        yield from (gemm("cube", dtype, edge, edge, (edge,), fixed=True, weights=False) for edge in (1024, 2048, 4096, 8192))
    yield gemm("gpt2", F16, 50257, 768, (4096,), fixed=True)   # rows of no multiple of 16 bytes
    yield gemm("cube", BF16, 4096, 4096, (4096,), weights=False)
    yield gemm("cube", BF16, 4096, 4096, (4096,), fixed=True, weights=False, transposed=True)
    for options in f32_options:
        yield from (gemm(group, F32, n, k, (4096,), fixed=True, options=options) for group, n, k in MODEL_GEMMS[:3])
        yield gemm("cube", F32, 4096, 4096, (4096,), fixed=True, weights=False, options=options)


# ResNet-50's distinct ones: channels in and out, edge of the kernel, stride, edge of the image.
CONVOLUTIONS = [
    (3, 64, 7, 2, 224), (64, 64, 1, 1, 56), (64, 64, 3, 1, 56), (64, 256, 1, 1, 56), (256, 64, 1, 1, 56), (256, 128, 1, 1, 56),
    (128, 128, 3, 2, 56), (128, 512, 1, 1, 28), (256, 512, 1, 2, 56), (512, 128, 1, 1, 28), (128, 128, 3, 1, 28),
    (512, 256, 1, 1, 28), (256, 256, 3, 2, 28), (256, 1024, 1, 1, 14), (512, 1024, 1, 2, 28), (1024, 256, 1, 1, 14),
    (256, 256, 3, 1, 14), (1024, 512, 1, 1, 14), (512, 512, 3, 2, 14), (512, 2048, 1, 1, 7), (1024, 2048, 1, 2, 14),
    (2048, 512, 1, 1, 7), (512, 512, 3, 1, 7)]

BETWEEN = [(64, 64, 3, 1, 56), (256, 128, 1, 1, 56), (128, 128, 3, 2, 56), (128, 128, 3, 1, 28), (1024, 256, 1, 1, 14), (512, 2048, 1, 1, 7)]


def convolution(inputs, outputs, edge, stride, image, fixed, check, time, between=False):
    """One `between` two of 1x1 is timed alone: its images come and go as the kernels have them, as the peer's do."""
    return Kernel(f"conv_{inputs}_{outputs}_{edge}x{edge}_s{stride}_{image}" + "_m32" * fixed + "_between" * between, "conv", F16,
                  {"inputs": inputs, "outputs": outputs, "edge": edge, "stride": stride, "image": image, "between": between},
                  list(check), list(time), weights=True, fixed=fixed, group="conv")


def attention(heads, width, length, causal, check=(1,), time=(4,)):
    return Kernel(f"attention_{heads}x{width}_s{length}" + "_causal" * causal, "attention", F16,
                  {"heads": heads, "width": width, "length": length, "causal": causal}, list(check), list(time), group="attention")


def rows(kind, dtype, width, check=(1, 37), time=None):
    """Timed over 256 MB."""
    time = time or [(256 << 20) // (width * (4 if dtype == F32 else 2))]
    return Kernel(f"{kind}_{dtype}_{width}", kind, dtype, {"width": width}, list(check), list(time), group="memory")


def kernels(f32_options=((),)):
    yield from gemms(f32_options)
    yield from (convolution(*shape, True, (32,), (32,)) for shape in CONVOLUTIONS)
    yield from (convolution(*shape, True, (32,), (32,), between=True) for shape in BETWEEN)
    yield from (convolution(*shape, False, (1, 3), ()) for shape in CONVOLUTIONS if shape[2] > 1)
    yield from (attention(16, width, length, causal) for width in (64, 128) for length in (512, 2048) for causal in (False, True))
    yield from (rows(kind, dtype, width) for kind in ("softmax", "layer_norm") for width in (768, 4096) for dtype in (F16, F32))
    yield from (rows(kind, F16, 4096) for kind in ("gelu", "add"))
    yield rows("add", F32, 4096)


def tiny_kernels():
    """One of each kind, small enough for the stand-in driver."""
    yield gemm("bert", F16, 72, 136, (33,))
    yield gemm("bert", F16, 72, 136, (50,), fixed=True)
    yield gemm("gpt2", F16, 77, 136, (50,), fixed=True)
    yield gemm("cube", BF16, 64, 160, (20,), weights=False)
    yield from (gemm("bert", F32, 40, 70, (33,), options=options) for options in ((), ("--f32=3xtf32",), ("--f32=bf16",)))
    yield convolution(16, 32, 3, 2, 9, False, (1, 3), (2,))
    yield convolution(16, 32, 3, 2, 9, False, (1, 3), (2,), between=True)
    yield attention(2, 64, 70, True, time=(1,))
    yield rows("softmax", F16, 100, time=[8])
    yield rows("layer_norm", F32, 96, time=[8])
    yield rows("gelu", F16, 64, time=[8])
    yield rows("add", F32, 64, time=[8])


@dataclass
class Model:
    """A network of the zoo in f16. `layers`: how often its layers repeat. `check`, `time`: values of its symbols; for each of
    those that are timed there is a product with these extents known, besides the one for all."""
    name: str
    layers: int
    check: list
    time: list

    def record(self):
        return asdict(self)


MODELS = [
    Model("resnet50", 1, [{"N": 1}, {"N": 3}], [{"N": 1}, {"N": 256}]),
    Model("mobilenet_v3_large", 1, [{"N": 1}, {"N": 3}], [{"N": 1}, {"N": 256}]),
    Model("bert_base", 12, [{"N": 1, "S": 128}, {"N": 3, "S": 45}], [{"N": 1, "S": 128}, {"N": 32, "S": 128}]),
    Model("gpt2", 12, [{"N": 1, "S": 128}], [{"N": 1, "S": 128}, {"N": 8, "S": 512}]),
    Model("llama_tiny", 8, [{"N": 1, "S": 1, "P": 127}, {"N": 3, "S": 5, "P": 20}],
          [{"N": 1, "S": 1, "P": 127}, {"N": 64, "S": 1, "P": 511}]),
]
TINY_MODELS = [Model("tiny_classifier", 1, [{"N": 1}, {"N": 3}], [{"N": 2}])]


@dataclass
class Training:
    """A graph of test/zoo/train, trained by an optimiser: a product, which is checked for `steps` against PyTorch's losses."""
    graph: str
    optimizer: str
    f32: str = "ieee"
    timed: bool = True
    steps: int = 20

    @property
    def name(self):
        return f"train_{self.graph}_{self.optimizer}_{self.f32}"

    def record(self):
        return {"name": self.name, **asdict(self)}


TRAINED = {"mlp": "adamw", "cnn_digits": "adamw", "lstm": "adamw", "transformer": "adamw", "resnet18": "sgd"}   # timed with these
TRAINING = [training for graph, timed in TRAINED.items() for training in (
    Training(graph, timed), Training(graph, "sgd" if timed == "adamw" else "adamw", timed=False), Training(graph, timed, "tf32"))]
TINY_TRAINING = [Training("mlp", "adamw", steps=2), Training("mlp", "sgd", timed=False, steps=2)]


def model_inputs(name, sizes):
    """[(name, dtype, shape, below)] of a model's inputs: integers are below `below`, a mask of ones where it is 2."""
    n, s, p = (sizes.get(symbol, 1) for symbol in "NSP")
    if name in ("resnet50", "mobilenet_v3_large"):
        return [("x", F16, (n, 3, 224, 224), 0)]
    if name == "bert_base":
        return [("ids", "i64", (n, s), 1000), ("mask", "i64", (n, s), 2)]
    if name == "gpt2":
        return [("ids", "i64", (n, s), 1000)]
    if name == "llama_tiny":
        return [("ids", "i64", (n, s), 1000)] + [(f"past_{part}{layer}", F16, (n, 4, p, 64), 0) for layer in range(8) for part in "kv"]
    return [("x", F16, (n, 3, 12, 12), 0)]
