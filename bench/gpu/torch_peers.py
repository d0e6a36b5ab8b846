"""What PyTorch takes for the same work, on the same numbers: cuBLASLt, cuDNN with channels last, its attention, its
kernels; and float64 references on the device. Timed as ours are: events around a call, behind a fill of the cache."""
import math
import statistics

import numpy as np
import torch
from torch.nn import functional

import work
from device import FILL_BYTES
from timing import repeated

TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def to_device(array, dtype):
    """An array of the host, as stored (elements.py), as a tensor."""
    if dtype == "bf16":
        return torch.from_numpy(array.view(np.int16)).cuda().view(torch.bfloat16)
    return torch.from_numpy(np.ascontiguousarray(array)).cuda()


class TorchReference:
    name = "torch.float64 on the device"

    def __call__(self, case, arrays):
        values = {name: to_device(array, case.dtype).double() for name, array in arrays.items()}
        return [result.cpu().numpy() for result in work.reference(torch, case, values)]


def call_of(case, tensors):
    """The call, and what it is called."""
    t, s = tensors, case.sizes
    if case.kind == "gemm":
        torch.backends.cuda.matmul.allow_tf32 = "--f32=tf32" in case.options
        b = t["b"].t() if s["transposed"] else t["b"]
        return "torch.matmul", lambda: torch.matmul(t["a"], b)
    if case.kind == "conv":
        x, w = (t[name].contiguous(memory_format=torch.channels_last) for name in "xw")
        return "cuDNN, channels last", lambda: functional.conv2d(x, w, stride=s["stride"], padding=s["edge"] // 2)
    if case.kind == "attention":
        return "scaled_dot_product_attention", lambda: functional.scaled_dot_product_attention(t["q"], t["k"], t["v"], is_causal=s["causal"])
    calls = {"softmax": lambda: functional.softmax(t["x"], -1), "gelu": lambda: functional.gelu(t["x"]), "add": lambda: t["x"] + t["z"],
             "layer_norm": lambda: functional.layer_norm(t["x"], (s["width"],), t.get("scale"), t.get("bias"))}
    return "torch." + case.kind, calls[case.kind]


class Peers:
    def __init__(self):
        torch.backends.cudnn.benchmark = True
        self.fill = torch.empty(FILL_BYTES, dtype=torch.uint8, device="cuda")
        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]

    def milliseconds(self, call):
        self.fill.zero_()
        self.events[0].record()
        call()
        self.events[1].record()
        torch.cuda.synchronize()
        return self.events[0].elapsed_time(self.events[1])

    def kernel(self, case, arrays, seconds):
        """arrays: as stored. The peer's name and its median in microseconds."""
        with torch.no_grad():
            name, call = call_of(case, {key: to_device(array, case.dtype) for key, array in arrays.items()})
            times = repeated(lambda: self.milliseconds(call), seconds)
        return {"peer": name, "peer_us": statistics.median(times) * 1e3}

    def forget(self):
        """Gives memory back, which products need."""
        torch.cuda.empty_cache()


def versions():
    return {"torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}


def agrees_with_numpy(cases, numpy_reference):
    """Do both write the same references? Each kind of kernel once."""
    torch_reference = TorchReference()
    for case in cases:
        arrays = work.inputs(case, 3)
        for a, b in zip(torch_reference(case, arrays), numpy_reference(case, arrays)):
            if not np.allclose(a, b, rtol=1e-9, atol=1e-12) or math.isnan(float(np.sum(a))):
                return False
    return True
