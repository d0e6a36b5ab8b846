"""The zoo: which models there are, their files with weights filled in, and inputs for them.

Graphs are real exporters' output without weights (graphs/); materialize.py fills them with seeded ones, once, into
the cache folder.
"""
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "bench")]
import materialize  # noqa: E402
from peers import BASE_SUFFIXES, example_inputs  # noqa: E402

# Models the compiler takes today, with the size of their files in MB.
MODELS = {
    "resnet50": 102, "mobilenet_v3_large": 22, "efficientnet_b0": 21, "densenet121": 32, "vgg16": 553,
    "squeezenet1_1": 5, "googlenet": 27, "unet": 31, "vit_b_16": 346, "bert_base": 435, "gpt2": 652,
    "llama_tiny": 426, "bilstm_tagger": 48, "mx_resnet18_v2": 47, "tf_mobilenet_v2": 14,
    "deepspeech2": 61, "resnet50_int8_qdq": 26, "bert_base_dynint8": 109, "llama_tiny_int4": 94, "squeezenet1_1_fp16": 2,
    "bert_base_ortopt": 435, "lightgbm_600x63": 3, "sk_scaler_rf": 3, "tf_lstm_gru": 6, "ssdlite_detector": 14,
    "greedy_decoder": 1, "dynamo_encoder": 18, "dynamo_mobilenet_v2": 14,
}

TOLERANCE = 1e-5   # relative L2 of outputs from another engine's
# Where a code next to a rounding boundary may fall to either side, or ONNX Runtime itself rounds to 16 bits.
ROUNDED = {"resnet50_int8_qdq": 0.15, "bert_base_dynint8": 0.07, "llama_tiny_int4": 1e-2, "squeezenet1_1_fp16": 5e-3}


def tolerance(name):
    return ROUNDED.get(name, TOLERANCE)


def cache_folder():
    root = os.environ.get("LAPIDARY_CACHE") or os.path.expanduser("~/.cache/lapidary")
    folder = os.path.join(root, "zoo")
    os.makedirs(folder, exist_ok=True)
    return folder


def path_of(name):
    """The model's file, materialised when it is not there yet."""
    folder = cache_folder()
    path = os.path.join(folder, name + ".onnx")
    if not os.path.exists(path):
        temporary = os.path.join(folder, f".{os.getpid()}")
        os.makedirs(temporary, exist_ok=True)
        materialize.materialize(name, temporary)
        for file in sorted(os.listdir(temporary), key=lambda file: file.endswith(".onnx")):   # its data before the model
            os.replace(os.path.join(temporary, file), os.path.join(folder, file))
        os.rmdir(temporary)
    return path


def other_inputs(name):
    """Inputs of a second set of shapes: batch 3 and other lengths, where the model has them symbolic."""
    rng = np.random.default_rng(1)
    for suffix in BASE_SUFFIXES:
        name = name.removesuffix(suffix)

    def normal(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    if name in ("bert_base", "bert_base_ortopt"):
        mask = np.ones((3, 45), np.int64)
        mask[1, 30:] = 0
        return {"ids": rng.integers(0, 1000, (3, 45)), "mask": mask}
    if name in ("gpt2", "bilstm_tagger"):
        return {"ids": rng.integers(0, 1000, (3, 37))}
    if name == "deepspeech2":
        return {"x": normal(3, 1, 161, 131)}
    if name == "llama_tiny":
        feeds = {"ids": rng.integers(0, 1000, (3, 5))}
        feeds |= {f"past_{part}{layer}": normal(3, 4, 20, 64) for layer in range(8) for part in "kv"}
        return feeds
    first = example_inputs(name + ".onnx")
    if name == "ssdlite_detector":   # one picture of that size
        return {"x": rng.random((1, 3, 320, 320), dtype=np.float32)}
    if name == "greedy_decoder":
        return {"start": np.array([7, 0, 42, 99, 3]), "steps": np.array(12)}   # each step multiplies rounding errors
    if name == "tf_lstm_gru":
        return {"x": rng.integers(0, 1000, (3, 32)).astype(np.int32)}
    if name == "mx_resnet18_v2":   # its batch is fixed
        return {key: normal(*value.shape) for key, value in first.items()}
    return {key: normal(3, *value.shape[1:]).astype(value.dtype) for key, value in first.items()}
