"""A broken (or odd, but right) model and what the compiler must say of it, and short ways to write such models."""
import os
from dataclasses import dataclass, field

import onnx
import onnx.parser

FINE, WRONG, USAGE, UNSUPPORTED, FILE = 0, 1, 2, 3, 4


@dataclass
class Case:
    name: str
    model: bytes
    lines: list                 # what the lines of stderr must hold, in order; "warning: …" for warnings
    exit: int = WRONG
    files: dict = field(default_factory=dict)    # beside the model: name → bytes, or a function that makes it


def parsed(text):
    return onnx.parser.parse_model(text)


def model(body, inputs="float[2,3] x", outputs="float[2,3] y", initializers="", opset=17, imports='"f" : 1', functions=""):
    """A model with that body; functions are in domain f."""
    head = f'<ir_version: 8, opset_import: ["" : {opset}, {imports}]>'
    return parsed(f"{head} g ({inputs}) => ({outputs}) <{initializers}> {{ {body} }} {functions}")


def function(name, body, inputs="x", attributes=""):
    return f'<domain: "f", opset_import: ["" : 17, "f" : 1]> {name} {attributes} ({inputs}) => (y) {{ {body} }}\n'


def node(body, *lines, name=None, exit=WRONG, change=None, files=None, **arguments):
    """One case about one model in text form. `change` edits the message before it is written."""
    message = model(body, **arguments)
    if change:
        change(message)
    return Case(name or body, message.SerializeToString(), list(lines), exit, files or {})


def raw(name, content, *lines, exit=WRONG, files=None):
    return Case(name, content, list(lines), exit, files or {})


def put_files(folder, files):
    """files: name → bytes, or a function that makes the file."""
    for name, content in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if callable(content):
            content(path)
            continue
        with open(path, "wb") as file:
            file.write(content)
