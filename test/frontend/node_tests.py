"""ONNX's own node tests through the importer and the Graph interpreter.

    node_tests.py --build BUILD [--keep FOLDER] [--only SUBSTRING] [--write]

Every case of onnx.backend.test is written to a folder, run by interpret_cases, and compared by the case's tolerance.
A case whose shapes depend on a run-time operand is tried again with its operands after the first as initializers.
unsupported.txt beside this file says which cases are not supported, and why: a case fails when its result is wrong, when
it is refused and not in there, or in there and not refused for that reason (any more). --write writes that file anew.
The last line is "N passed, N failed, N skipped"; skipped are the unsupported, and those not on tensors of numbers.
"""
import argparse
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


TABLE = pathlib.Path(__file__).with_name("unsupported.txt")
# A last place or two of the small types: cases' own tolerances are those of float32.
ROUNDING = {"float16": 2e-3, "bfloat16": 1.6e-2}


# Results are random: of these the shape and the type alone can be compared.
RANDOM = ("test_bernoulli", "test_training_dropout")


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
        if case.name.startswith(RANDOM) and "zero_ratio" not in case.name:
            continue
        wide = [x.astype(np.float64) if x.dtype.kind not in "biuc" else x for x in (got, expected)]
        # What cancels out is known to a last place of the largest.
        numbers = wide[1][np.isfinite(wide[1])] if got.dtype.kind not in "biu" else np.zeros(0)
        atol = max(case.atol, np.finfo(np.float32).eps * np.abs(numbers).max(initial=0))
        if not np.allclose(*wide, rtol=max(case.rtol, ROUNDING.get(got.dtype.name, 0)), atol=atol, equal_nan=True):
            worst = np.unravel_index(np.argmax(np.abs(wide[0].astype(np.float64) - wide[1])), got.shape)
            return f"output {i} at {[int(k) for k in worst]}: {got[worst]}, expected {expected[worst]}"
    return None


def verdicts_of(tool, cases, root):
    """{case name: (kind, message, folder with the results)}"""
    folder_of = {case.name: root / "plain" / case.name for case in cases}
    verdicts = run(tool, cases, root / "plain", False)
    again = [case for case in cases if verdicts.get(case.name, ("error", ""))[0] == "unsupported"]
    for name, verdict in run(tool, again, root / "baked", True).items():
        if verdict[0] != "unsupported":
            verdicts[name], folder_of[name] = verdict, root / "baked" / name
    return {case.name: (*verdicts.get(case.name, ("error", "not run")), folder_of[case.name]) for case in cases}


def sort_out(cases, verdicts):
    """{case name: what is wrong}, {case name: why it is not supported}"""
    wrong, unsupported = {}, {}
    for case in cases:
        kind, message, folder = verdicts[case.name]
        if kind == "unsupported":
            unsupported[case.name] = message.split(": ", 1)[-1].split(": ", 1)[-1]
        elif kind != "ok":
            wrong[case.name] = message
        elif found := difference(case, folder):
            wrong[case.name] = found
    return wrong, unsupported


def read_table():
    lines = [line for line in TABLE.read_text().splitlines() if not line.startswith("#")]
    return dict(line.split(": ", 1) for line in lines)


def write_table(unsupported):
    lines = [f"{name}: {reason}\n" for name, reason in sorted(unsupported.items())]
    TABLE.write_text("# ONNX's node tests that are not supported, and why: node_tests.py --write.\n" + "".join(lines))


def unlike_table(unsupported, known):
    for name, reason in sorted(unsupported.items()):
        if name not in known:
            yield name, f"not supported: {reason}"
        elif reason != known[name]:
            yield name, f"not supported because: {reason}; {TABLE.name} says: {known[name]}"
    for name in sorted(set(known) - set(unsupported)):
        yield name, f"supported now, but in {TABLE.name} (--write writes it anew)"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--keep")
    parser.add_argument("--only", default="")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.write and options.only:
        parser.error("--write needs every case")
    every = [case for case in collect() if options.only in case.name]
    cases = [case for case in every if tensors_only(case.data_sets[0][0]) and tensors_only(case.data_sets[0][1])]
    with tempfile.TemporaryDirectory() as folder:
        verdicts = verdicts_of(pathlib.Path(options.build) / "test" / "interpret_cases", cases, pathlib.Path(options.keep or folder))
        wrong, unsupported = sort_out(cases, verdicts)
    if options.write:
        write_table(unsupported)
    known = {name: reason for name, reason in read_table().items() if options.only in name}
    failed = {**wrong, **{name: what for name, what in unlike_table(unsupported, known) if name not in wrong}}
    for name, what in failed.items():
        print(f"FAIL  {name}: {what}")
    skipped = len([name for name in unsupported if name not in failed]) + len(every) - len(cases)
    print(f"{len(every) - len(failed) - skipped} passed, {len(failed)} failed, {skipped} skipped")
    return 1 if failed or len(every) == skipped else 0


if __name__ == "__main__":
    sys.exit(main())
