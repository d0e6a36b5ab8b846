"""ONNX's node tests once more, compiled: each supported case through `lapidary run`.

    compiled_node_tests.py --build BUILD [--only SUBSTRING …]

node_tests.py says what the importer makes of an operator; this says that what it makes can be compiled. A case fails
when its result is wrong or the compiler refuses it; those in unsupported.txt are left out.
The last line is "N passed, N failed, N skipped".
"""
import argparse
import concurrent.futures
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper

import node_tests


def save(path, array, name):
    path.write_bytes(numpy_helper.from_array(np.asarray(array), name).SerializeToString())


def run(lapidary, case, folder, baked=False):
    """What is wrong with the case, None when nothing is."""
    inputs, _ = case.data_sets[0]
    node_tests.write_case(case, folder, baked)
    names = [value.name for value in case.model.graph.input]
    given = list(zip(names, inputs))
    if baked:
        given = given[:1] if len(given) > 1 else []
    command = [lapidary, "run", "--quiet", "--jobs", "1", "--threads", "2", str(folder / "model.onnx")]
    for i, (name, value) in enumerate(given):
        save(folder / f"input_{i}.pb", value, name)
        command += ["--input", f"{name}={folder}/input_{i}.pb"]
    outputs = [value.name for value in case.model.graph.output]
    for i, name in enumerate(outputs):
        command += ["--output", f"{name}={folder}/output_{i}.pb"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    message = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    if done.returncode and "known only at run time" in message and not baked:
        return run(lapidary, case, folder / "baked", True)
    if done.returncode:
        return message
    for i in range(len(outputs)):
        tensor = onnx.TensorProto.FromString((folder / f"output_{i}.pb").read_bytes())
        node_tests.write_tensor(folder / f"output_{i}", numpy_helper.to_array(tensor))
    return node_tests.difference(case, folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--only", nargs="*", default=[""])
    options = parser.parse_args()
    known = node_tests.read_table()
    every = [case for case in node_tests.collect() if any(part in case.name for part in options.only)]
    cases = [case for case in every if case.name not in known and
             all(node_tests.tensors_only(values) for values in case.data_sets[0])]
    lapidary = str(pathlib.Path(options.build) / "tools" / "lapidary")
    failed = {}
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda case: run(lapidary, case, pathlib.Path(folder) / case.name), cases)
        failed = {case.name: what for case, what in zip(cases, found) if what}
    for name, what in failed.items():
        print(f"FAIL  {name}: {what}")
    print(f"{len(cases) - len(failed)} passed, {len(failed)} failed, {len(every) - len(cases)} skipped")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
