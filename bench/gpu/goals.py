"""The figures the project wants to reach on a GPU, beside what was measured. Where something was not, that is what is
said: a figure without its peer is no figure."""
import math

PEER_MODE = "max-autotune"  # of torch.compile: what others take less trouble with is no peer


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def goal(what, value, limit, at_most=False):
    met = None if value is None else (value <= limit if at_most else value >= limit)
    return {"what": what, "value": value, "limit": limit, "at_most": at_most, "met": met}


def line(g):
    bound = f"{'at most' if g['at_most'] else 'at least'} {g['limit']:g}"
    if g["met"] is None:
        return f"not measured  {g['what']} ({bound})"
    return f"{'reached' if g['met'] else 'MISSED':12}  {g['what']}: {g['value']:.4g} ({bound})"


def against_peer(kernels):
    return [row["peer_us"] / row["us"] for row in kernels if row.get("peer_us") and row.get("us")]


def both(row):
    """A network's products, whose goals are the same, and their times: the one for any extents is what a model is compiled to."""
    yield "for any extents", row.get("ms")
    yield "for these alone", row.get("fixed", {}).get("ms")


def all_goals(report):
    """Of run.py's report. Times of networks are goals for an H200 and mean nothing elsewhere."""
    kernels, models, bandwidth = report["kernels"], report["models"], report["copy_gb_s"]
    on_h200 = models if "H200" in report["machine"]["device"] else []
    bf16 = [row for row in kernels if row["kind"] == "gemm" and row["dtype"] == "bf16"]
    large = against_peer([row for row in bf16 if row["group"] == "cube" and row["m"] >= 4096])
    yield goal("bf16 products from 4096^3 on, cuBLASLt's time over ours, least", min(large, default=None), 0.95)
    shares = against_peer([row for row in bf16 if row["group"] != "cube"])
    yield goal("bf16 products of networks, cuBLASLt's time over ours, geometric mean", geometric_mean(shares), 0.90)
    moved = [row["gb_s"] / bandwidth for row in kernels if row["group"] == "memory" and row.get("us") and bandwidth]
    yield goal("rows and elementwise kernels, share of the copy's bandwidth, least", min(moved, default=None), 0.90)
    find = lambda name, **sizes: next((row for row in on_h200 if row["name"] == name and row["sizes"] == sizes), {})  # noqa: E731
    for how, ms in both(find("bert_base", N=32, S=128)):
        yield goal(f"BERT-base f16, 32 texts of 128, {how}: ms on an H200", ms, 1.4, at_most=True)
    for how, ms in both(find("resnet50", N=256)):
        yield goal(f"ResNet-50 f16, 256 images, {how}: images/s on an H200", ms and 256 / ms * 1e3, 35000)
    for row in report.get("training", []):
        ms, eager = row["passed"] and row.get("ms"), row.get("torch_eager", {}).get("ms")
        yield goal(f"training {row['graph']}, {row['f32']}: our step over PyTorch's, eager", ms / eager if ms and eager else None, 1, at_most=True)
    for row in models:
        if row["sizes"].get("N") == 1:
            compiled = row.get("torch_compiled_ms") if report["torch_mode"] == PEER_MODE else None
            for how, ms in both(row):
                yield goal(f"{row['name']}, one input, {how}: our latency over torch.compile's, {PEER_MODE}", compiled and ms and ms / compiled, 1, at_most=True)
