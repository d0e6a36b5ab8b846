"""ONNX's own node tests through the importer and the Graph interpreter.

    node_tests.py --build BUILD [--keep FOLDER] [--only SUBSTRING] [--write]

Every case of onnx.backend.test is written to a folder, run by interpret_cases, and compared by the case's tolerance.
A case whose shapes depend on a run-time operand is tried again with its operands after the first as initializers.
unsupported.txt beside this file says which cases are not supported, and why: a case fails when its result is wrong, when
it is refused and not in there, or in there and not refused for that reason (any more). --write writes that file anew.
The last line is "N passed, N failed, N skipped"; skipped are the unsupported.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile


HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "conformance")]
import suite  # noqa: E402

TABLE = suite.Table(HERE / "unsupported.txt", "ONNX's node tests that are not supported, and why: node_tests.py --write.")


def write_tensor(path, proto):
    shape, data = suite.content(proto)
    with open(path, "wb") as file:
        file.write((" ".join(map(str, [proto.data_type, *shape])) + "\n").encode())
        file.write(data)


def read_tensor(path):
    header, data = open(path, "rb").read().split(b"\n", 1)
    data_type, *shape = map(int, header.split())
    return suite.tensor_of(data_type, shape, data)


def write_case(case, folder, baked):
    folder.mkdir(parents=True)
    model = suite.baked(case)[0] if baked else case.model
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    declared, values = case.inputs(), case.data_sets[0][0]
    tensors = suite.named(declared, values)
    (folder / "inputs").write_text("".join(f"{name}\n" for name in tensors))
    for i, value in enumerate(tensors.values()):
        write_tensor(folder / f"input_{i}", value)
    (folder / "forms").write_text("".join(f"{option} {told} {name}\n" for option, name, told in suite.forms(declared, values)))


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
    expected = suite.named(case.model.graph.output, case.data_sets[0][1])
    names = (folder / "outputs").read_text().splitlines()
    if names != list(expected):
        return f"outputs {names}, expected {list(expected)}"
    for i, value in enumerate(expected.values()):
        if wrong := suite.difference(read_tensor(folder / f"output_{i}"), suite.array_of(value), case.rtol, case.atol, case.name):
            return f"output {i} {wrong}"
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--keep")
    parser.add_argument("--only", default="")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.write and options.only:
        parser.error("--write needs every case")
    cases = [case for case in suite.node_cases() if options.only in case.name]
    with tempfile.TemporaryDirectory() as folder:
        verdicts = verdicts_of(pathlib.Path(options.build) / "test" / "interpret_cases", cases, pathlib.Path(options.keep or folder))
        wrong, unsupported = sort_out(cases, verdicts)
    if options.write:
        TABLE.write(unsupported)
    failed = {**TABLE.unlike(unsupported, options.only), **wrong}
    for name, what in failed.items():
        print(f"FAIL  {name}: {what}")
    skipped = len([name for name in unsupported if name not in failed])
    print(f"{len(cases) - len(failed) - skipped} passed, {len(failed)} failed, {skipped} skipped")
    return 1 if failed or len(cases) == skipped else 0


if __name__ == "__main__":
    sys.exit(main())
