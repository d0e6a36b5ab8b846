"""Writes an ONNX model from ONNX's text form: onnx_model.py FROM TO. Lines that begin with // are comments, so that a
lit test can be its own model."""
import pathlib
import sys

import onnx
import onnx.parser


def main():
    source, target = sys.argv[1:]
    lines = pathlib.Path(source).read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("//"))
    model = onnx.parser.parse_model(text)
    onnx.checker.check_model(model)
    onnx.save(model, target)


if __name__ == "__main__":
    main()
