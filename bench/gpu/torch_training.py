"""What a step of training takes PyTorch: the networks of train_peers.py, for graphs of the same layers.

    torch_training.py GRAPH eager|MODE F32,F32 SECONDS [DEVICE], MODE of torch.compile, F32 ieee or tf32

Prints {F32: {"ms": of a step, …}} as JSON; inputs lie on the device, and some steps are put behind each other, as ours are.
A process of its own, as torch_models.py is.
"""
import json
import sys

import torch

import train_peers
from timing import queued


def measured(graph, how, f32, seconds, device):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = f32 == "tf32"
    torch.manual_seed(0)
    on_device = device == "cuda"
    before = 0
    if on_device:
        torch.zeros(1, device=device)
        before = torch.cuda.mem_get_info()[0]
        torch.cuda.reset_peak_memory_stats()
    with torch.device(device):   # not its default: that costs every call
        step = train_peers.training_step(graph, how != "eager", how)
    found = queued(step, torch.cuda.synchronize if on_device else lambda: None, seconds)
    if on_device:
        found |= {"used_mb": (before - torch.cuda.mem_get_info()[0]) / 2**20, "allocated_mb": torch.cuda.max_memory_allocated() / 2**20}
    return found


def main():
    graph, how, kinds, seconds, device = [*sys.argv[1:], "cuda"][:5]
    torch.backends.cudnn.benchmark = True
    found = {}
    for f32 in kinds.split(","):
        try:
            found[f32] = measured(graph, how, f32, float(seconds), device)
        except Exception as error:  # the other one may work
            found[f32] = {"failed": repr(error)[:300]}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
