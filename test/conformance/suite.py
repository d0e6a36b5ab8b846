"""ONNX's backend suite as its Python package holds it, every case in one form.

Of five kinds: node tests; simple models; models converted from PyTorch, two folders of them; and light models, the
graphs of nine well-known networks with generated weights and inputs. Values are TensorProtos, or what is none: a list
(sequence), or None (an optional without an element). Products have tensors alone: those that stand for a value are in
`named`, and what the compiler must be told of it in `forms`.
"""
import contextlib
import dataclasses
import io
import json
import pathlib
import warnings

import numpy as np
import onnx
from onnx import numpy_helper

DATA = pathlib.Path(onnx.__file__).parent / "backend/test/data"
FOLDERS = ["simple", "pytorch-converted", "pytorch-operator"]
# A last place or two of the small types: cases' own tolerances are those of float32.
ROUNDING = {"float16": 2e-3, "bfloat16": 1.6e-2}


@dataclasses.dataclass
class Case:
    name: str              # "node/test_abs"
    model: onnx.ModelProto
    data_sets: list        # of (inputs, outputs)
    rtol: float
    atol: float

    def inputs(self):
        """The graph's inputs that are fed, in order."""
        constants = {tensor.name for tensor in self.model.graph.initializer}
        every = list(self.model.graph.input)
        fed = [value for value in every if value.name not in constants]
        return fed if len(fed) >= len(self.data_sets[0][0]) else every


def tensor(value):
    """A value of the suite as TensorProto where it is a tensor, else as it is."""
    if isinstance(value, (list, tuple, type(None), onnx.TensorProto)):
        return value
    array = np.asarray(value)
    return numpy_helper.from_array(array.astype(object) if array.dtype.kind in "US" else array)


def node_cases():
    """Named without their kind, which every_case puts in front."""
    warnings.simplefilter("ignore")
    from onnx.backend.test.case.node import collect_testcases
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        cases = collect_testcases(None)
    return [Case(case.name, case.model,
                 [([tensor(v) for v in inputs], [tensor(v) for v in outputs]) for inputs, outputs in case.data_sets],
                 case.rtol, case.atol)
            for case in cases if case.model and case.data_sets]


def load_value(path, type_proto):
    """A .pb file, of the type that the graph declares."""
    content = path.read_bytes()
    kind = type_proto.WhichOneof("value")
    if kind == "sequence_type":
        return numpy_helper.to_list(onnx.SequenceProto.FromString(content))
    if kind == "optional_type":
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(content))
    return onnx.TensorProto.FromString(content)


def load_values(folder, what, declared):
    paths = [folder / f"{what}_{i}.pb" for i in range(len(list(folder.glob(f"{what}_*.pb"))))]
    return [load_value(path, value.type) for path, value in zip(paths, declared)]


def folder_case(name, folder):
    model = onnx.load(folder / "model.onnx")
    sets = sorted(folder.glob("test_data_set_*"))
    options = json.loads((folder / "data.json").read_text()) if (folder / "data.json").exists() else {}
    return Case(name, model, [(load_values(one, "input", model.graph.input), load_values(one, "output", model.graph.output))
                              for one in sets], options.get("rtol", 1e-3), options.get("atol", 1e-7))


def light_case(path):
    """Fed with what the suite feeds: a ramp from 0 to 1."""
    model = onnx.load(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = []
    for value in model.graph.input:
        if value.name in constants:
            continue
        shape = [dim.dim_value if dim.HasField("dim_value") else 1 for dim in value.type.tensor_type.shape.dim]
        count = int(np.prod(shape))
        inputs.append(numpy_helper.from_array((np.arange(count).reshape(shape) / count).astype(np.float32)))
    outputs = [onnx.TensorProto.FromString(path.with_name(f"{path.stem}_output_{i}.pb").read_bytes())
               for i in range(len(model.graph.output))]
    return Case("light/" + path.stem.removeprefix("light_"), model, [(inputs, outputs)],
                2e-3 if path.stem == "light_densenet121" else 1e-3, 1e-7)


def every_case():
    cases = [dataclasses.replace(case, name=f"node/{case.name}") for case in node_cases()]
    for kind in FOLDERS:
        cases += [folder_case(f"{kind}/{folder.name}", folder) for folder in sorted((DATA / kind).iterdir()) if folder.is_dir()]
    return cases + [light_case(path) for path in sorted((DATA / "light").glob("*.onnx"))]


def named(declared, values):
    """{name: tensor}: a sequence as its parts, x[0], x[1], …, and nothing for an optional without an element."""
    found = {}
    for info, value in zip(declared, values):
        if isinstance(value, (list, tuple)):
            found |= {f"{info.name}[{i}]": tensor(part) for i, part in enumerate(value)}
        elif value is not None:
            found[info.name] = value
    return found


def shapeless(type_proto):
    """Does the type leave the rank of a sequence's parts open?"""
    if type_proto.HasField("optional_type"):
        return shapeless(type_proto.optional_type.elem_type)
    return not type_proto.sequence_type.elem_type.tensor_type.HasField("shape")


def forms(declared, values):
    """What the compiler is told of inputs that are no tensors, as its options: (option, name, value) each."""
    told = []
    for info, value in zip(declared, values):
        if info.type.HasField("optional_type"):
            told.append(("optional", info.name, "absent" if value is None else "present"))
        if not isinstance(value, (list, tuple)):
            continue
        told.append(("length", info.name, str(len(value))))
        if shapeless(info.type):
            told += [("shape", name, "x".join(map(str, part.dims))) for name, part in named([info], [value]).items()]
    return told


def baked(case):
    """The model with inputs as initializers, and those that stay: what is no tensor, else the first (but a lone one)."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    values = list(zip(case.inputs(), case.data_sets[0][0]))
    kept = [declared for declared, _ in values if not declared.type.HasField("tensor_type")]
    kept = kept or [declared for declared, _ in values[:1] if len(values) > 1]
    for declared, value in values:
        if declared in kept:
            continue
        constant = model.graph.initializer.add()
        constant.CopyFrom(value)
        constant.name = declared.name
    return model, kept


def content(proto):
    """Shape and bytes as the IR has them; small types are packed; before each string its length in eight bytes."""
    if proto.data_type == onnx.TensorProto.STRING:
        return list(proto.dims), b"".join(len(text).to_bytes(8, "little") + text for text in proto.string_data)
    packed = proto if proto.HasField("raw_data") else numpy_helper.from_array(numpy_helper.to_array(proto))
    return list(packed.dims), packed.raw_data


def texts_in(data):
    while data:
        length = int.from_bytes(data[:8], "little")
        yield data[8:8 + length]
        data = data[8 + length:]


def tensor_of(code, shape, data):
    if code == onnx.TensorProto.STRING:
        return array_of(onnx.TensorProto(data_type=code, dims=shape, string_data=list(texts_in(data))))
    return numpy_helper.to_array(onnx.TensorProto(data_type=code, dims=shape, raw_data=data))


def array_of(proto):
    """Strings as an array of objects, whatever this version of onnx makes of them."""
    array = numpy_helper.to_array(proto)
    if proto.data_type != onnx.TensorProto.STRING:
        return array
    texts = [text.decode() if isinstance(text, bytes) else str(text) for text in array.ravel()]
    result = np.empty(len(texts), object)
    result[:] = texts
    return result.reshape(list(proto.dims))


# Results are random: of these the shape and the type alone can be compared.
RANDOM = ("test_bernoulli", "test_training_dropout")


def is_random(name):
    return name.split("/")[-1].startswith(RANDOM) and "zero_ratio" not in name


def difference(got, expected, rtol, atol, name=""):
    """What is wrong with an array; None when it is as near to the expected one as the case and its type ask."""
    if got.dtype != expected.dtype or got.shape != expected.shape:
        return f"is {got.dtype}{list(got.shape)}, expected {expected.dtype}{list(expected.shape)}"
    if is_random(name):
        return None
    if got.dtype == object:
        unlike = [k for k in np.ndindex(*got.shape) if got[k] != expected[k]]
        return f"at {list(unlike[0])}: {got[unlike[0]]!r}, expected {expected[unlike[0]]!r}" if unlike else None
    wide = [x if x.dtype.kind in "biuc" else x.astype(np.float64) for x in (got, expected)]
    # What cancels out is known to a last place of the largest.
    numbers = wide[1][np.isfinite(wide[1])] if got.dtype.kind not in "biuc" else np.zeros(0)
    atol = max(atol, np.finfo(np.float32).eps * np.abs(numbers).max(initial=0))
    if np.allclose(*wide, rtol=max(rtol, ROUNDING.get(got.dtype.name, 0)), atol=atol, equal_nan=True):
        return None
    wide = [x.astype(np.complex128 if x.dtype.kind == "c" else np.float64) for x in wide]
    worst = np.unravel_index(np.argmax(np.abs(wide[0] - wide[1])), got.shape)
    return f"at {[int(k) for k in worst]}: {got[worst]}, expected {expected[worst]}"


class Table:
    """A checked-in file of the cases that are not supported, and why: "name: reason" on each line."""

    def __init__(self, path, title):
        self.path, self.title = path, title

    def read(self, only=""):
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        entries = [line.split(": ", 1) for line in lines if not line.startswith("#")]
        return {name: reason for name, reason in entries if only in name}

    def write(self, reasons):
        lines = [f"{name}: {reason}\n" for name, reason in sorted(reasons.items())]
        self.path.write_text(f"# {self.title}\n" + "".join(lines))

    def unlike(self, reasons, only=""):
        """{case's name: how it is other than the table says}"""
        known, file = self.read(only), self.path.name
        found = {}
        for name in sorted(known.keys() | reasons.keys()):
            if name not in known:
                found[name] = f"not supported: {reasons[name]}"
            elif name not in reasons:
                found[name] = f"supported now, but in {file} (--write writes it anew)"
            elif reasons[name] != known[name]:
                found[name] = f"{reasons[name]}; {file} says: {known[name]}"
        return found
