"""LSTM, GRU and RNN of all forms; ONNX's node tests have little more than the plain ones."""
import numpy as np
from case import Case, Make

make = Make(11)
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, BATCH, INPUT, HIDDEN = 5, 3, 4, 7


def layer(operator, direction="forward", lengths=False, states=False, bias=True, peepholes=False, fixed=True, outputs=None, note="", **attributes):
    directions, gates = 2 if direction == "bidirectional" else 1, GATES[operator]
    state = (directions, BATCH, HIDDEN)
    inputs = [make.normal(STEPS, BATCH, INPUT), make.normal(directions, gates * HIDDEN, INPUT), make.normal(directions, gates * HIDDEN, HIDDEN) / 2,
              make.normal(directions, 2 * gates * HIDDEN) if bias else None, np.array([3, 5, 1], np.int32) if lengths else None,
              make.normal(*state) if states else None]
    if operator == "LSTM":
        inputs += [make.normal(*state) if states else None, make.normal(directions, 3 * HIDDEN) if peepholes else None]
    if attributes.get("layout"):
        inputs = [x.swapaxes(0, 1).copy() if i in (0, 5, 6) and x is not None else x for i, x in enumerate(inputs)]
    while inputs[-1] is None:
        inputs.pop()
    attributes = {"hidden_size": HIDDEN, "direction": direction, **attributes}
    return Case(operator, inputs, attributes, domain="", outputs=outputs or (3 if operator == "LSTM" else 2), constants=(1, 2, 3, 7) if fixed else (),
                symbolic=False, note=note)


def activated(operator, *names, **attributes):
    return layer(operator, activations=list(names), **attributes)


CASES = [
    *(layer(operator, direction, lengths, states, bias) for operator in GATES for direction in ("forward", "reverse", "bidirectional")
      for lengths, states, bias in ((False, False, True), (True, True, True), (True, False, False))),
    *(layer("LSTM", direction, lengths=lengths, states=True, peepholes=True) for direction in ("forward", "reverse", "bidirectional") for lengths in (False, True)),
    layer("LSTM", peepholes=True, fixed=False), layer("LSTM", fixed=False), layer("GRU", fixed=False, linear_before_reset=1), layer("RNN", "reverse", fixed=False),
    *(layer(operator, "bidirectional", clip=0.4, states=True) for operator in GATES), layer("GRU", clip=0.3, linear_before_reset=1),
    layer("LSTM", input_forget=1, states=True), layer("LSTM", clip=0.2, peepholes=True, lengths=True), layer("LSTM", "bidirectional", input_forget=1, lengths=True, bias=False),
    *(layer("GRU", direction, linear_before_reset=1, states=True, lengths=lengths, bias=bias) for direction in ("forward", "bidirectional")
      for lengths, bias in ((False, True), (True, True), (False, False))),
    *(activated("RNN", name) for name in ("Relu", "Sigmoid", "Softsign", "Softplus", "LeakyRelu", "Elu", "HardSigmoid")),
    activated("RNN", "ScaledTanh", activation_alpha=[1.5], activation_beta=[0.5]), activated("RNN", "HardSigmoid", activation_alpha=[0.3], activation_beta=[0.4]),
    activated("RNN", "LeakyRelu", activation_alpha=[0.2]), activated("RNN", "Elu", activation_alpha=[0.7]), activated("RNN", "Affine", activation_alpha=[0.5], activation_beta=[0.1]),
    activated("RNN", "ThresholdedRelu", activation_alpha=[0.5]), activated("RNN", "Tanh", "Relu", direction="bidirectional"), activated("RNN", "Relu", "Relu", direction="bidirectional"),
    activated("LSTM", "HardSigmoid", "Relu", "LeakyRelu", activation_alpha=[0.25, 0.1], activation_beta=[0.4]),
    activated("LSTM", "Sigmoid", "Tanh", "Tanh", "HardSigmoid", "Softsign", "Tanh", direction="bidirectional", lengths=True),
    activated("GRU", "HardSigmoid", "Relu"), activated("GRU", "Sigmoid", "LeakyRelu", "HardSigmoid", "Tanh", direction="bidirectional", activation_alpha=[0.3, 0.15], activation_beta=[0.6]),
    activated("GRU", "HardSigmoid", "Softsign", linear_before_reset=1, clip=0.8),
]
