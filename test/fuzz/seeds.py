#!/usr/bin/env python3
"""Writes what the fuzz targets start from: models of ONNX's node tests and of test/error, the texts of other tests.

    seeds.py --build BUILD --out FOLDER      one folder of files for each target
"""
import argparse
import gzip
import io
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT / "test"), str(ROOT / "test" / "error"), str(ROOT / "test" / "frontend")]
import command_line  # noqa: E402
import container  # noqa: E402
import control_flow  # noqa: E402
import graphs  # noqa: E402
import operators  # noqa: E402
import quantization  # noqa: E402
import sequences  # noqa: E402
import tensors  # noqa: E402
import trees  # noqa: E402
import valid  # noqa: E402

LARGEST = 16 << 10


def put(folder, name, content):
    if len(content) <= LARGEST:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def models():
    import onnx.backend.test.case.node as node
    seen = set()
    for case in node.collect_testcases(None):
        # One of each operator and form; expanded functions are the same operators again.
        key = tuple((n.op_type, len(n.input), len(n.attribute)) for n in case.model.graph.node)
        if key in seen or case.name.endswith("_expanded"):
            continue
        seen.add(key)
        yield case.name, case.model.SerializeToString()
    for family in (container, graphs, control_flow, operators, quantization, sequences, trees, tensors, valid):
        for i, case in enumerate(family.CASES):
            yield f"{family.__name__}_{i}", case.model


def texts(kind):
    for path in (ROOT / "test").rglob(f"*.{kind}"):
        yield f"{path.parent.name}_{path.name}", path.read_bytes()


def kernels(lapidary):
    """What the compiler makes of the node tests that are one kernel."""
    with tempfile.TemporaryDirectory() as folder:
        for op in ("Softmax", "Transpose", "Relu", "CumSum", "MatMul"):
            message = command_line.model(f"y = {op}({'x, x' if op == 'MatMul' else 'x' if op != 'CumSum' else 'x, i'})", inputs="float[3,3] x", outputs="float[3,3] y",
                                         initializers="int64 i = {0}")
            path = os.path.join(folder, "model.onnx")
            with open(path, "wb") as file:
                file.write(message.SerializeToString())
            done = subprocess.run([lapidary, "compile", "-q", "--emit=loops", path], capture_output=True)
            for i, text in enumerate(done.stdout.split(b"\nkernel ")):
                yield f"{op}_{i}", text if text.startswith(b"kernel ") else b"kernel " + text


def data_files():
    np = command_line.np
    arrays = {"x": np.arange(12, dtype=np.float32).reshape(3, 4), "labels": np.arange(3)}
    for name, savez in (("stored", np.savez), ("deflated", np.savez_compressed)):
        file = io.BytesIO()
        savez(file, **arrays)
        yield name, file.getvalue()
    idx = bytes([0, 0, 0x0b, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(range(12))
    yield "idx", idx
    yield "idx_gz", gzip.compress(idx)
    yield "csv", b"a,b,label\n1,2e3,0\n-0.5,nan,1\n"
    yield "csv_plain", b"1;2;3\r\n4;5;6\r\n"
    yield "npy", command_line.npy(arrays["x"])


def write(out, build):
    """A folder of files for each target."""
    for name, content in models():
        put(out / "import", name, content)
        put(out / "passes", name, content)
        put(out / "wire_scan", name, content)
    for name, content in texts("graph"):
        put(out / "module_text", name, content)
    for name, content in texts("loops"):
        put(out / "kernel_text", name, content)
    lapidary = os.path.join(build, "tools", "lapidary")
    if os.path.exists(lapidary):
        for name, content in kernels(lapidary):
            put(out / "kernel_text", name, content)
    for i, value in enumerate((command_line.ONE, command_line.np.zeros(0), command_line.np.zeros((2, 1), bool), command_line.np.array(7))):
        put(out / "tensor_file", f"{i}.npy", command_line.npy(value))
    for i, content in enumerate((command_line.pb(command_line.ONE), command_line.listed_pb(command_line.ONE), command_line.external_pb())):
        put(out / "tensor_file", f"{i}.pb", content)
    for name, content in data_files():
        put(out / "data_files", name, content)
    for i in range(16):
        put(out / "product", str(i), bytes((i * 37 + k * k * 11) % 256 for k in range(400)))



def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    write(pathlib.Path(arguments.out), arguments.build)


if __name__ == "__main__":
    main()
