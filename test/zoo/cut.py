"""Models of the zoo cut behind their first layers: the kernels of the whole, in a fraction of its time."""
import os

import onnx
import onnx.utils

import models

LAYERS = 2
# What leaves a layer, and the inputs and outputs that each layer has beside it.
LAYER_ENDS = {"bert_base": "/m/encoder/layer.{}/output/LayerNorm/LayerNormalization_output_0", "llama_tiny": "/b.{}/Add_4_output_0"}
INPUTS = {"llama_tiny": ("past_k{}", "past_v{}")}
OUTPUTS = {"llama_tiny": ("present_k{}", "present_v{}")}


def of_layers(names):
    return [name.format(layer) for layer in range(LAYERS) for name in names]


def first_layers(name, folder):
    """(path of the model, its example inputs)."""
    whole = models.path_of(name)
    others = {each.format(layer) for each in INPUTS.get(name, ()) for layer in range(100)}
    feeds = models.example_inputs(whole)
    taken = {key: value for key, value in feeds.items() if key not in others or key in of_layers(INPUTS[name])}
    path = os.path.join(folder, f"{name}_cut.onnx")
    end = LAYER_ENDS[name].format(LAYERS - 1)
    onnx.utils.extract_model(whole, path, list(taken), [end, *of_layers(OUTPUTS.get(name, ()))], check_model=False)
    return path, taken
