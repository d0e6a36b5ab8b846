"""The networks of cases.py as PyTorch modules in f16, with random weights, and what they take eagerly and compiled.

    torch_models.py NAME SIZES eager|MODE SECONDS, MODE of torch.compile

SIZES is JSON; prints the milliseconds of a call, inputs and result on the device, as JSON. A process of its own, so that
a compilation that takes too long can be ended, and leaves nothing behind.
"""
import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

from timing import repeated


def convolution(inputs, outputs, edge, stride=1, groups=1, act=None):
    layers = [nn.Conv2d(inputs, outputs, edge, stride, edge // 2, groups=groups)]   # batch norms are folded, as in the model
    return nn.Sequential(*layers, *([act()] if act else []))


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        outputs = 4 * width
        self.path = nn.Sequential(convolution(inputs, width, 1, act=nn.ReLU), convolution(width, width, 3, stride, act=nn.ReLU),
                                  convolution(width, outputs, 1))
        self.short = convolution(inputs, outputs, 1, stride) if stride != 1 or inputs != outputs else nn.Identity()

    def forward(self, x):
        return F.relu(self.path(x) + self.short(x))


def resnet50():
    layers, inputs = [convolution(3, 64, 7, 2, act=nn.ReLU), nn.MaxPool2d(3, 2, 1)], 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(count):
            layers.append(Bottleneck(inputs, width, stride if block == 0 else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


class Squeeze(nn.Module):
    def __init__(self, width):
        super().__init__()
        inner = (width // 4 + 4) // 8 * 8
        self.path = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, inner, 1), nn.ReLU(), nn.Conv2d(inner, width, 1), nn.Hardsigmoid())

    def forward(self, x):
        return x * self.path(x)


class Inverted(nn.Module):
    def __init__(self, inputs, edge, expanded, outputs, squeeze, act, stride):
        super().__init__()
        parts = [convolution(inputs, expanded, 1, act=act)] if expanded != inputs else []
        parts += [convolution(expanded, expanded, edge, stride, expanded, act)] + [Squeeze(expanded)] * squeeze
        self.path = nn.Sequential(*parts, convolution(expanded, outputs, 1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.path(x) if self.residual else self.path(x)


def mobilenet_v3_large():
    relu, swish, layers, inputs = nn.ReLU, nn.Hardswish, [convolution(3, 16, 3, 2, act=nn.Hardswish)], 16
    for edge, expanded, outputs, squeeze, act, stride in (
            (3, 16, 16, 0, relu, 1), (3, 64, 24, 0, relu, 2), (3, 72, 24, 0, relu, 1), (5, 72, 40, 1, relu, 2), (5, 120, 40, 1, relu, 1),
            (5, 120, 40, 1, relu, 1), (3, 240, 80, 0, swish, 2), (3, 200, 80, 0, swish, 1), (3, 184, 80, 0, swish, 1),
            (3, 184, 80, 0, swish, 1), (3, 480, 112, 1, swish, 1), (3, 672, 112, 1, swish, 1), (5, 672, 160, 1, swish, 2),
            (5, 960, 160, 1, swish, 1), (5, 960, 160, 1, swish, 1)):
        layers.append(Inverted(inputs, edge, expanded, outputs, squeeze, act, stride))
        inputs = outputs
    return nn.Sequential(*layers, convolution(160, 960, 1, act=swish), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(960, 1280), nn.Hardswish(),
                         nn.Linear(1280, 1000))


def heads_of(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class Layer(nn.Module):
    """Of BERT (norms after) or of GPT-2 (norms before, causal)."""

    def __init__(self, causal, width=768, heads=12):
        super().__init__()
        self.causal, self.heads = causal, heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)

    def attend(self, x, mask):
        q, k, v = (heads_of(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        return self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal).transpose(1, 2).flatten(2))

    def forward(self, x, mask=None):
        feed = lambda y: self.down(F.gelu(self.up(y), approximate="tanh" if self.causal else "none"))  # noqa: E731
        if self.causal:
            x = x + self.attend(self.first(x), mask)
            return x + feed(self.second(x))
        x = self.first(x + self.attend(x, mask))
        return self.second(x + feed(x))


class Texts(nn.Module):
    def __init__(self, causal, words):
        super().__init__()
        self.causal = causal
        self.words, self.places, self.norm = nn.Embedding(words, 768), nn.Embedding(1024 if causal else 512, 768), nn.LayerNorm(768)
        self.layers = nn.ModuleList(Layer(causal) for _ in range(12))
        self.head = nn.Linear(768, words, bias=False) if causal else None

    def forward(self, ids, mask=None):
        x = self.words(ids) + self.places.weight[:ids.shape[1]]
        x = x if self.causal else self.norm(x)
        mask = None if mask is None else mask.bool()[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask)
        return self.head(self.norm(x)) if self.causal else x


class LlamaLayer(nn.Module):
    """16 heads of 64 over 4 of keys and values; the caches come in and go out, one longer."""

    def __init__(self, width=1024, inner=2816):
        super().__init__()
        linear = lambda a, b: nn.Linear(a, b, bias=False)  # noqa: E731
        self.q, self.k, self.v, self.out = linear(width, width), linear(width, 256), linear(width, 256), linear(width, width)
        self.gate, self.up, self.down = linear(width, inner), linear(width, inner), linear(inner, width)
        self.first, self.second = nn.RMSNorm(width), nn.RMSNorm(width)

    def forward(self, x, turn, past_k, past_v):
        y = self.first(x)
        q, k, v = turn(heads_of(self.q(y), 16)), turn(heads_of(self.k(y), 4)), heads_of(self.v(y), 4)
        k, v = torch.cat([past_k, k], 2), torch.cat([past_v, v], 2)
        # One step: every key lies before it.
        y = F.scaled_dot_product_attention(q, k.repeat_interleave(4, 1), v.repeat_interleave(4, 1))
        x = x + self.out(y.transpose(1, 2).flatten(2))
        y = self.second(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y)), k, v


class Llama(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.layers = nn.Embedding(8000, 1024), nn.ModuleList(LlamaLayer() for _ in range(8))
        self.norm, self.head = nn.RMSNorm(1024), nn.Linear(1024, 8000, bias=False)

    def forward(self, ids, past):
        x, out = self.words(ids), []
        at = past[0][0].shape[2] + torch.arange(ids.shape[1], device=ids.device)
        angles = at[:, None] * 10000.0 ** (-torch.arange(0, 32, device=ids.device) / 32)
        cos, sin = (f(angles).repeat(1, 2).to(x.dtype) for f in (torch.cos, torch.sin))
        turn = lambda y: y * cos + torch.cat([-y[..., 32:], y[..., :32]], -1) * sin  # noqa: E731
        for layer, (k, v) in zip(self.layers, past):
            x, k, v = layer(x, turn, k, v)
            out.append((k, v))
        return self.head(self.norm(x)), out


def build(name, sizes):
    """The module and the arguments of a call."""
    n, s, p = (sizes.get(symbol, 1) for symbol in "NSP")
    if name in ("resnet50", "mobilenet_v3_large"):
        module = (resnet50 if name == "resnet50" else mobilenet_v3_large)()
        return module.to(memory_format=torch.channels_last), [torch.randn(n, 3, 224, 224).half().to(memory_format=torch.channels_last)]
    ids = torch.randint(0, 1000, (n, s))
    if name == "bert_base":
        return Texts(False, 30522), [ids, torch.ones(n, s, dtype=torch.int64)]
    if name == "gpt2":
        return Texts(True, 50257), [ids]
    return Llama(), [ids, [tuple(torch.randn(n, 4, p, 64).half() for _ in "kv") for _ in range(8)]]


def main():
    name, sizes, how, seconds = sys.argv[1:]
    torch.backends.cudnn.benchmark = True
    with torch.device("cuda"):   # not its default: that costs every call
        module, arguments = build(name, json.loads(sizes))
    module = module.half().eval()
    if how != "eager":
        module = torch.compile(module, mode=how)

    def call():
        start = time.perf_counter()
        module(*arguments)
        torch.cuda.synchronize()
        return (time.perf_counter() - start) * 1e3

    with torch.inference_mode():
        for _ in range(3):
            call()
        times = repeated(call, float(seconds))
    print(json.dumps({"ms": statistics.median(times), "least_ms": min(times)}))


if __name__ == "__main__":
    main()
