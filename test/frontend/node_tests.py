"""ONNX's own node tests through the importer and the Graph interpreter.

Usage: node_tests.py INTERPRET_CASES [--keep FOLDER] [--only SUBSTRING] [--list]

Every case of onnx.backend.test is written to a folder, run by interpret_cases, and compared by the case's tolerance.
A case whose shapes depend on a run-time operand is tried again with its operands after the first as initializers.
Exits with 1 when a result is wrong or a valid model is refused as wrong; unsupported ones are counted by operator.
"""
import argparse
import collections
import contextlib
import io
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
from onnx import numpy_helper


# A last place or two of the small types: cases' own tolerances are those of float32.
ROUNDING = {"float16": 2e-3, "bfloat16": 1.6e-2}


def collect():
    warnings.simplefilter("ignore")
    from onnx.backend.test.case.node import collect_testcases
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        cases = collect_testcases(None)
    return [case for case in cases if case.model and case.data_sets]


def write_tensor(path, array):
    proto = numpy_helper.from_array(array)
    with open(path, "wb") as file:
        file.write((" ".join(map(str, [proto.data_type, *proto.dims])) + "\n").encode())
        file.write(proto.raw_data)


def read_tensor(path):
    header, data = open(path, "rb").read().split(b"\n", 1)
    data_type, *shape = map(int, header.split())
    proto = onnx.TensorProto(data_type=data_type, dims=shape, raw_data=data)
    return numpy_helper.to_array(proto)


def tensors_only(values):
    return all(isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind not in "OUS" for value in values)


def write_case(case, folder, baked):
    folder.mkdir(parents=True)
    inputs, _ = case.data_sets[0]
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    names = [value.name for value in model.graph.input]
    if baked:
        for name, value in list(zip(names, inputs))[1:] if len(names) > 1 else list(zip(names, inputs)):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "inputs").write_text("\n".join(names) + "\n")
    for i, value in enumerate(inputs):
        write_tensor(folder / f"input_{i}", np.asarray(value))


def run(tool, cases, root, baked):
    folders = []
    for case in cases:
        write_case(case, root / case.name, baked)
        folders.append(str(root / case.name))
    verdicts = {}
    for start in range(0, len(folders), 200):
        done = subprocess.run([tool, *folders[start:start + 200]], capture_output=True, text=True, timeout=600)
        for line in done.stdout.splitlines():
            name, kind, *rest = line.split(" ", 2)
            verdicts[name] = (kind, rest[0] if rest else "")
        if done.returncode:
            missing = next(f for f in folders[start:start + 200] if pathlib.Path(f).name not in verdicts)
            verdicts[pathlib.Path(missing).name] = ("error", f"the tool ended with {done.returncode}")
    return verdicts


def difference(case, folder):
    _, outputs = case.data_sets[0]
    for i, expected in enumerate(outputs):
        got = read_tensor(folder / f"output_{i}")
        expected = np.asarray(expected)
        if got.dtype != expected.dtype or got.shape != expected.shape:
            return f"output {i} is {got.dtype}{list(got.shape)}, expected {expected.dtype}{list(expected.shape)}"
        wide = [x.astype(np.float64) if x.dtype.kind not in "biuc" else x for x in (got, expected)]
        if not np.allclose(*wide, rtol=max(case.rtol, ROUNDING.get(got.dtype.name, 0)), atol=case.atol, equal_nan=True):
            worst = np.unravel_index(np.argmax(np.abs(wide[0].astype(np.float64) - wide[1])), got.shape)
            return f"output {i} at {[int(k) for k in worst]}: {got[worst]}, expected {expected[worst]}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("--keep")
    parser.add_argument("--only", default="")
    parser.add_argument("--list", action="store_true", help="name the unsupported cases")
    options = parser.parse_args()
    root = pathlib.Path(options.keep or tempfile.mkdtemp())
    every = [case for case in collect() if options.only in case.name]
    cases = [case for case in every if tensors_only(case.data_sets[0][0]) and tensors_only(case.data_sets[0][1])]
    verdicts = run(options.tool, cases, root / "plain", False)
    folder_of = {case.name: root / "plain" / case.name for case in cases}
    again = [case for case in cases if verdicts.get(case.name, ("error", ""))[0] == "unsupported"]
    second = run(options.tool, again, root / "baked", True)
    for name, verdict in second.items():
        if verdict[0] != "unsupported":
            verdicts[name], folder_of[name] = verdict, root / "baked" / name

    passed, wrong, unsupported = 0, [], []
    for case in cases:
        kind, message = verdicts.get(case.name, ("error", "not run"))
        if kind == "ok":
            message = difference(case, folder_of[case.name])
            if message is None:
                passed += 1
                continue
        if kind == "unsupported":
            unsupported.append((case, message))
        else:
            wrong.append((case, message))
    for case, message in wrong:
        print(f"WRONG {case.name}: {message}")
    operators = collections.Counter(case.model.graph.node[0].op_type for case, _ in unsupported)
    if options.list:
        for case, message in unsupported:
            print(f"unsupported {case.name}: {message.split(': ', 1)[-1]}")
    print("unsupported:", ", ".join(f"{name} {count}" for name, count in operators.most_common()))
    print(f"{passed} passed, {len(wrong)} wrong, {len(unsupported)} unsupported, "
          f"{len(every) - len(cases)} not on tensors of numbers")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
