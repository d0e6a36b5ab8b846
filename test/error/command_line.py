"""Wrong usage, and files that cannot be read or written: one line each, the right exit code, nothing left behind."""
import io
import os
import subprocess
import tempfile
from dataclasses import dataclass, field

import numpy as np

import valid
from case import FILE, FINE, UNSUPPORTED, USAGE, WRONG, model, put_files
from sandbox import Sandbox, problems_of


@dataclass
class Command:
    name: str
    arguments: list
    exit: int
    lines: list                                   # what each line of stderr must hold
    files: dict = field(default_factory=dict)
    written: list = field(default_factory=list)   # files there afterwards that were not before
    output: str = ""                              # what stdout must hold
    options: dict = field(default_factory=dict)   # of Sandbox.run


def npy(array):
    file = io.BytesIO()
    np.save(file, np.asarray(array), allow_pickle=True)
    return file.getvalue()


def header(text, data=b""):
    return b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text.encode() + data


def pb(array, name="x", **change):
    import onnx.numpy_helper
    tensor = onnx.numpy_helper.from_array(np.asarray(array), name)
    for key, value in change.items():
        if key == "dims":
            tensor.dims[:] = value
        else:
            setattr(tensor, key, value)
    return tensor.SerializeToString()


def external_pb():
    import onnx
    tensor = onnx.TensorProto(dims=[2, 3], data_type=1, data_location=1)
    tensor.external_data.add(key="location", value="model.onnx")
    return tensor.SerializeToString()


def listed_pb(array, count=None):
    """The elements in a list of floats, not in raw_data."""
    import onnx
    return onnx.TensorProto(dims=array.shape, data_type=1, float_data=array.ravel()[:count]).SerializeToString()


ONE = np.array([[-1, 2, -3], [4, -5, 6]], np.float32)
RELU = model("y = Relu(x)").SerializeToString()
SEQUENCE = model("y = ConcatFromSequence <axis = 0> (s)", inputs="seq(float[N]) s", outputs="float[M] y")
TAKEN = model("z = ConcatFromSequence <axis = 0> (s) y = Add(z, q)", inputs="seq(float[N]) s, float q", outputs="float[M] y")
TAKEN.graph.input[1].name = TAKEN.graph.node[1].input[1] = "s[1]"
FILES = {
    "sequence.onnx": SEQUENCE.SerializeToString(), "taken.onnx": TAKEN.SerializeToString(),
    "optional.onnx": model("b = OptionalHasElement(o) y = Cast <to = 1> (b)", inputs="optional(float[N]) o", outputs="float y", opset=18).SerializeToString(),
    "model.onnx": RELU,
    "symbols.onnx": model("y = Add(x, z)", inputs="float[N,3] x, float[N,3] z", outputs="float[N,3] y").SerializeToString(),
    "scatter.onnx": model("y = ScatterND <reduction = \"add\"> (x, i, u)", inputs="float[2,3] x, int64[N,2] i, float[N] u", outputs="float[2,3] y", opset=18).SerializeToString(),
    "gather.onnx": model("y = Gather(x, i)", inputs="float[2,3] x, int64[N] i", outputs="float[N,3] y").SerializeToString(),
    "divide.onnx": model("y = Div(x, z)", inputs="int32[N] x, int32[N] z", outputs="int32[N] y").SerializeToString(),
    "pad.onnx": model('y = Pad <mode = "edge"> (x, p)', inputs="float[N,3] x", outputs="float[M,3] y", initializers="int64[4] p = {2, 0, 0, 0}").SerializeToString(),
    "reduce.onnx": model("y = ReduceSum <keepdims = 0> (x, a)", inputs="float[N,3] x, int64[2] a", outputs="float y", opset=18).SerializeToString(),
    "squeeze.onnx": model("y = Squeeze(x, a)", inputs="float[N,3] x, int64[1] a", outputs="float[M] y", opset=18).SerializeToString(),
    "slice.onnx": model("y = Slice(x, a, a, a, s)", inputs="float[N,3] x, int64[1] a, int64[1] s", outputs="float[M,K] y", opset=18).SerializeToString(),
    "half.onnx": model("y = Identity(x)", inputs="bfloat16[2] x", outputs="bfloat16[2] y").SerializeToString(),
    "folder/file": b"", "x.npy": npy(ONE), "x.pb": pb(ONE), "named.pb": pb(ONE, "another name"),
}


def compile_(name, arguments, exit, *lines, **more):
    return Command(f"compile: {name}", ["compile", *arguments.split()], exit, list(lines), **more)


def onnx_floats_as_integers():
    import onnx
    return onnx.TensorProto(data_type=onnx.TensorProto.FLOAT, dims=[2, 3], int32_data=[1, 2, 3, 4, 5, 6]).SerializeToString()


def inspect(name, arguments, exit, *lines, **more):
    return Command(f"inspect: {name}", ["inspect", *arguments.split()], exit, list(lines), **more)


def run(name, arguments, exit, *lines, model="model.onnx", **more):
    return Command(f"run: {name}", ["run", model, *arguments.split()], exit, list(lines), **more)


def wrong_file(name, content, line, exit=WRONG, file="bad.npy"):
    return run(name, f"--input x={file}", exit, f"{file}: {line}", files={file: content})


def run_with(name, content, line, file="bad.npy"):
    return run(name, f"--input x={file}", WRONG, f"model.onnx: {line}", files={file: content})


def fifo(path):
    os.mkfifo(path)


FULL = [compile_(f"disk full after {size} bytes", "model.onnx -o out.so", FILE, "cannot ", files={"out.so": b"previous", "out.h": b"previous"}, options={"file_bytes": size})
        for size in (0, 1000, 9000, 20000)]

COMMANDS = [
    Command("no command", [], USAGE, ["lapidary: a subcommand is required"]),
    Command("unknown command", ["cut"], USAGE, ["lapidary: there is no command 'cut'; there are compile, run, train, bench, inspect, operators"]),
    Command("command of control characters", ["\x1b[31m"], USAGE, [r"lapidary: there is no command '\x1b[31m'; there are"]),
    Command("version", ["--version"], FINE, [], output="."),
    inspect("hint without a number", "--hint N= symbols.onnx", USAGE, "--hint takes SYMBOL=128, got 'N='"),
    inspect("hint without a symbol", "--hint =3 symbols.onnx", USAGE, "--hint takes SYMBOL=128, got '=3'"),
    inspect("negative hint", "--hint N=-1 symbols.onnx", USAGE, "--hint takes SYMBOL=128, got 'N=-1'"),
    inspect("hint beyond what an extent may be", "--hint N=9000000000000000000 symbols.onnx", USAGE, "--hint N=9000000000000000000: the model takes 0 to"),
    inspect("hint of control characters", "--hint \x1b[31m=1 symbols.onnx", USAGE, r"--hint names '\x1b[31m', which is no symbol of the inputs; they have N"),
    inspect("hint of a model without symbols", "--hint N=1 model.onnx", USAGE, "--hint names 'N', which is no symbol of the inputs; they have none"),
    inspect("missing file", "gone.onnx", FILE, "gone.onnx: cannot open: No such file or directory"),
    compile_("no model", "", USAGE, "lapidary compile: model is required"),
    compile_("two models", "model.onnx symbols.onnx", USAGE, "lapidary compile: "),
    compile_("unknown option", "--frobnicate model.onnx", USAGE, "--frobnicate"),
    compile_("missing file", "gone.onnx", FILE, "gone.onnx: cannot open: No such file or directory"),
    compile_("folder", "folder", FILE, "folder: not a regular file"),
    compile_("device", "/dev/null", FILE, "/dev/null: not a regular file"),
    compile_("FIFO", "fifo", FILE, "fifo: not a regular file", files={"fifo": fifo}),
    compile_("file name of control characters", "\x1b[31m.onnx", FILE, r"\x1b[31m.onnx: cannot open"),
    compile_("shape without extents", "--shape x= model.onnx", USAGE, "--shape takes NAME=1x3x224x224, got 'x='"),
    compile_("shape without a name", "--shape 2x3 model.onnx", USAGE, "--shape takes NAME=1x3x224x224, got '2x3'"),
    compile_("shape that is no number", "--shape x=2xq model.onnx", USAGE, "--shape takes NAME=1x3x224x224, got 'x=2xq'"),
    compile_("negative shape", "--shape x=2x-3 model.onnx", USAGE, "--shape takes NAME=1x3x224x224, got 'x=2x-3'"),
    compile_("shape beyond 64 bits", "--shape x=99999999999999999999x3 symbols.onnx", USAGE, "--shape takes NAME=1x3x224x224"),
    compile_("shape of an unknown input", "--shape q=2x3 model.onnx", USAGE, "model.onnx: --shape names 'q', which is no input of the model"),
    compile_("shape of another rank", "--shape x=2 model.onnx", USAGE, "model.onnx: input 'x': --shape gives 1 extent, it has rank 2"),
    compile_("shape against the model's", "--shape x=5x3 model.onnx", USAGE, "model.onnx: input 'x': --shape gives axis 0 extent 5, the model 2"),
    compile_("shapes against each other", "--shape x=5x3 --shape z=4x3 symbols.onnx", USAGE, "symbols.onnx: --shape gives 'N' both 5 and 4"),
    compile_("shape of 2^80 elements", f"--shape x={1 << 40}x{1 << 40} model.onnx", USAGE, "model.onnx: input 'x': "),
    compile_("unknown target", "--target=pentium model.onnx", USAGE, "pentium"),
    compile_("target of another kind", "--target=riscv64 model.onnx", USAGE, "riscv64"),
    compile_("unknown numerics", "--numerics=sloppy model.onnx", USAGE, "sloppy"),
    compile_("unknown emit", "--emit=pdf model.onnx", USAGE, "pdf"),
    compile_("negative jobs", "-j -1 model.onnx", USAGE, "jobs"),
    compile_("unknown pass to skip", "--skip-passes=nonsense model.onnx", USAGE, "no pass 'nonsense'; there are"),
    compile_("pass that lowering needs skipped", "--skip-passes=form-groups model.onnx", USAGE, "--skip-passes: kernels are made of groups, and a broadcast is in none"),
    compile_("pass that lowering needs skipped, where nothing is computed", "--skip-passes=form-groups identity.onnx", USAGE, "--skip-passes: kernels are made of groups, and a result is in none",
             files={"identity.onnx": model("y = Identity(x)").SerializeToString()}),
    compile_("unknown pass to dump after", "--dump-after=nonsense model.onnx", USAGE, "no pass 'nonsense'; there are"),
    compile_("output in a folder that is not there", "model.onnx -o gone/x.so", FILE, "cannot write 'gone/x.so': No such file or directory"),
    compile_("output that is a folder", "model.onnx -o folder", FILE, "cannot write 'folder': not a regular file"),
    compile_("output that is a FIFO", "model.onnx -o fifo", FILE, "cannot write 'fifo': not a regular file", files={"fifo": fifo}),
    compile_("header of the library's name", "model.onnx -o x.h", USAGE, "x.h"),
    *(compile_(f"{option} {text}", f"--{option} {text} model.onnx", USAGE, f"--{option} takes {form}, got '{text}'")
      for option, form, texts in (("length", "NAME=3", ("x", "x=", "=3", "x=-1", "x=a", "x=99999999999999999999")),
                                  ("optional", "NAME=present or NAME=absent", ("x", "x=", "=present", "x=there"))) for text in texts),
    compile_("length of no input", "--length q=3 model.onnx", USAGE, "model.onnx: --length names 'q', which is no input of the model"),
    compile_("length of a tensor", "--length x=3 model.onnx", USAGE, "model.onnx: input 'x': --length gives it parts, it is no sequence"),
    compile_("optional that is none", "--optional x=absent model.onnx", USAGE, "model.onnx: input 'x': --optional names it, it is no optional"),
    compile_("sequence of a trillion parts", "--length s=1000000000000 sequence.onnx", USAGE, "sequence.onnx: input 's': --length gives 1000000000000, the most is 10000"),
    compile_("sequence of another rank", "--length s=2 --shape s[1]=2x3 sequence.onnx", USAGE, "sequence.onnx: input 's[1]': --shape gives 2 extents, it has rank 1"),
    compile_("shape of a part that is not there", "--length s=2 --shape s[2]=3 sequence.onnx", USAGE, "sequence.onnx: --shape names 's[2]', which is no input of the model"),
    compile_("parts of a taken name", "--length s=2 taken.onnx", WRONG, "taken.onnx: two inputs are named 's[1]'"),
    compile_("sequence", "--length s=2 --shape s=3 sequence.onnx", FINE, written=["sequence.h", "sequence.so"]),
    compile_("optional that is there", "--optional o=present optional.onnx", FINE, written=["optional.h", "optional.so"]),
    compile_("optional that is not", "--optional o=absent optional.onnx", FINE, written=["optional.h", "optional.so"]),
    compile_("several products", "--emit=so,obj,archive,exe model.onnx", FINE, written=["model", "model.a", "model.h", "model.o", "model.so"]),
    compile_("several products of one name", "--emit=archive,obj model.onnx -o x.y", FINE, written=["x.a", "x.h", "x.o"]),
    compile_("library over the model", "model.onnx -o model.onnx", USAGE, "'model.onnx' would be overwritten, and it is read"),
    compile_("program over the model", "--emit=exe suffixless", USAGE, "'suffixless' would be overwritten, and it is read", files={"suffixless": RELU}),
    compile_("text over the model", "--emit=loops model.onnx -o ./model.onnx", USAGE, "'./model.onnx' would be overwritten, and it is read"),
    compile_("more compile threads than there can be", "-j 100000000 model.onnx", USAGE, "--jobs"),
    compile_("more threads than there can be", "--threads 99999999 model.onnx", USAGE, "--threads"),
    compile_("header alone", "--emit=header model.onnx", FINE, written=["model.h"]),
    compile_("program alone", "--emit=exe model.onnx -o app.bin", FINE, written=["app.bin"]),
    compile_("header of the object's name", "--emit=obj model.onnx -o x.h", USAGE, "x.h"),
    compile_("text beside a product", "--emit=so,graph model.onnx", USAGE, "--emit: a stage as text comes alone"),
    compile_("text in a folder that is not there", "--emit=graph model.onnx -o gone/x", FILE, "cannot write 'gone/x': No such file or directory"),
    compile_("text that is a FIFO", "--emit=graph model.onnx -o fifo", FILE, "cannot write 'fifo': not a regular file", files={"fifo": fifo}),
    compile_("text to a full device", "--emit=graph model.onnx", FILE, "standard output: No space left on device", options={"stdout": "/dev/full"}),
    *FULL,

    run("fine", "--input x=x.npy", FINE, output="y: f32 2x3: 0, 2, 0, 4, 0, 6"),
    run("ONNX tensor", "--input x=x.pb", FINE, output="y: f32 2x3: 0, 2, 0, 4, 0, 6"),
    run("ONNX tensor of another name, without the input's", "--input named.pb", FINE, output="y: f32 2x3: 0, 2, 0, 4, 0, 6"),
    run("ONNX tensor of bfloat16, in and out", "--input x=b.pb --output y=y.pb", FINE, model="half.onnx", output="y: bf16 2: 1, -2", written=["y.pb"],
        files={"b.pb": b"\x08\x02\x10\x10\x4a\x04\x80\x3f\x00\xc0"}),
    run("target of another architecture", "--target=aarch64", USAGE, "target 'aarch64' is not for this machine: only compile takes it"),
    run("any x86-64", "--target=x86-64 --input x.npy", FINE, output="y: f32 2x3: 0, 2, 0, 4, 0, 6"),
    run("missing input", "--input x=gone.npy", FILE, "gone.npy: cannot open: No such file or directory"),
    run("missing ONNX tensor", "--input x=gone.pb", FILE, "gone.pb: cannot open: No such file or directory"),
    run("folder as input", "--input x=folder", FILE, "folder: not a regular file"),
    run("unknown input", "--input q=x.npy", USAGE, "--input takes NAME=FILE with NAME one of: x; got 'q=x.npy'"),
    run("input without a name", "--input x.npy", USAGE, "--input takes NAME=FILE with NAME one of: x, z; got 'x.npy'", model="symbols.onnx"),
    run("input given twice", "--input x=x.npy --input x=x.npy", USAGE, "input 'x' is given twice"),
    run("unknown output", "--output q=y.npy", USAGE, "--output takes NAME=FILE with NAME one of: y; got 'q=y.npy'"),
    run("output in a folder that is not there", "--output y=gone/y.npy", FILE, "cannot write 'gone/y.npy': No such file or directory", output="y: f32"),
    run("output that is a folder", "--output y=folder", FILE, "cannot write 'folder': not a regular file", output="y: f32"),
    run("output that .npy has no type for", "--output y=y.npy", UNSUPPORTED, "y.npy: .npy has no element type for bf16", model="half.onnx", output="y: bf16"),
    run_with("wrong element type", npy(ONE.astype(np.float64)), "input 'x': element type is float64, expected float32"),
    run_with("wrong rank", npy(ONE.ravel()), "input 'x': rank is 1, expected 2"),
    run_with("wrong shape", npy(ONE.T.copy()), "input 'x': extent 0 is 3, expected 2"),
    run("shapes that differ", "--input x=x.npy --input z=z.npy", WRONG, "input 'z': extent 0 is 5, expected 2", model="symbols.onnx", files={"z.npy": npy(np.zeros((5, 3), np.float32))}),
    wrong_file("empty .npy", b"", "not a .npy file"),
    wrong_file("text for .npy", b"1 2 3\n4 5 6\n", "not a .npy file"),
    wrong_file("truncated .npy", npy(ONE)[:-4], "the shape needs 24 bytes of data, the file has 20"),
    wrong_file("truncated .npy header", npy(ONE)[:40], "the header is longer than the file"),
    wrong_file(".npy with bytes at the end", npy(ONE) + b"1234", "the shape needs 24 bytes of data, the file has 28"),
    wrong_file(".npy of objects", npy(np.array([None, {}])), "element type O", exit=UNSUPPORTED),
    wrong_file(".npy of complex numbers", npy(np.zeros(2, np.complex64)), "element type c8 is not supported", exit=UNSUPPORTED),
    wrong_file(".npy of big-endian numbers", npy(ONE.astype(">f4")), "big-endian data is not supported", exit=UNSUPPORTED),
    wrong_file(".npy of no order", npy(ONE).replace(b"False", b"Maybe"), "the header has no order"),
    wrong_file(".npy of strings of no width", header("{'descr': '<U0', 'fortran_order': False, 'shape': (200000000,), }\n"), "strings of no width"),
    wrong_file(".pb with a list of another type", onnx_floats_as_integers(), "", file="bad.pb"),
    run(".npy in Fortran order without a space", "--input x=f.npy", FINE, output="y: f32 2x3: 0, 2, 0, 4, 0, 6", files={"f.npy": npy(np.asfortranarray(ONE)).replace(b"'fortran_order': True,", b"'fortran_order':True, ")}),
    run(".npy in Fortran order", "--input x=f.npy", FINE, output="y: f32 2x3: 0, 2, 0, 4, 0, 6", files={"f.npy": npy(np.asfortranarray(ONE))}),
    wrong_file(".npy of a shape that overflows", header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({1 << 39}, {1 << 39}), }}\n"), "the shape overflows"),
    wrong_file(".npy of a huge shape", header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({1 << 39},), }}\n"), "the shape needs 2199023255552 bytes of data, the file has 0"),
    wrong_file(".npy of a shape that is no number", header("{'descr': '<f4', 'fortran_order': False, 'shape': (9 9 9, 3), }\n"), "extent 9 9 9 is no number"),
    wrong_file(".npy with a header of 60000 bytes", header("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1, " * 20000 + "), }\n"), "a header of 60"),
    wrong_file(".npy of rank 300", header("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1, " * 300 + "), }\n", bytes(4)), "rank 300 exceeds 64"),
    wrong_file("empty ONNX tensor", b"", "empty file", file="bad.pb"),
    wrong_file("text for an ONNX tensor", b"hello, world\n", "not an ONNX tensor", file="bad.pb"),
    wrong_file("model for an ONNX tensor", RELU, "", file="bad.pb"),
    wrong_file("truncated ONNX tensor", pb(ONE)[:-5], "truncated", file="bad.pb"),
    wrong_file("ONNX tensor too short", pb(ONE, raw_data=bytes(20)), "f32[2, 3] needs 24 bytes, raw_data has 20", file="bad.pb"),
    wrong_file("ONNX tensor of type 99", pb(ONE, data_type=99), "unknown data_type 99", file="bad.pb"),
    run_with("ONNX tensor of another type", pb(ONE.astype(np.int64)), "input 'x': element type is int64, expected float32", file="bad.pb"),
    Command("ONNX tensor of no elements, in extents whose product overflows", ["run", "model.onnx", "--input", "x=bad.pb"], WRONG, ["model.onnx: input 'x': rank is 3, expected 2"],
            {"bad.pb": pb(ONE[:0], dims=[1 << 62, 110, 0])}),
    wrong_file("ONNX tensor with external data", external_pb(), "external data", file="bad.pb"),
    run("scattered out of range", "--input x=x.npy --input i=i.npy --input u=u.npy", WRONG, "scatter.onnx: node 'y' (ScatterND, opset 18): an index is out of range", model="scatter.onnx", files={"i.npy": npy(np.array([[0, 3], [1, 0]])), "u.npy": npy(np.array([1, 2], np.float32))}),
    run("indices out of range", "--input x=x.npy --input i=i.npy", WRONG, "gather.onnx: node 'y' (Gather", model="gather.onnx", files={"i.npy": npy(np.array([0, 1 << 40, -(1 << 40)]))}),
    run("division by 0 and of the least integer by -1", "--input x=a.npy --input z=b.npy", FINE, model="divide.onnx", output="y: i32 3: 0, -2147483648, -3",
        files={"a.npy": npy(np.array([7, -(1 << 31), 7], np.int32)), "b.npy": npy(np.array([0, -1, -2], np.int32))}),
    *(run(f"reduced axes {axes}", "--input x=x.npy --input a=a.npy", WRONG, f"reduce.onnx: node 'y' (ReduceSum, opset 18): {line}", model="reduce.onnx", files={"a.npy": npy(np.array(axes))})
      for axes, line in (([0, 2], "an axis is not in [-2, 1]"), ([-3, 1], "an axis is not in [-2, 1]"), ([-(1 << 63), 1], "an axis is not in [-2, 1]"), ([1, -1], "an axis is given twice"))),
    run("squeezed axis that is not 1", "--input x=x.npy --input a=a.npy", WRONG, "squeeze.onnx: node 'y' (Squeeze, opset 18): an axis to squeeze has not the extent 1", model="squeeze.onnx",
        files={"a.npy": npy(np.array([0]))}),
    run("step 0", "--input x=x.npy --input a=a.npy --input s=s.npy", WRONG, "slice.onnx: node 'y' (Slice, opset 18): step 0", model="slice.onnx",
        files={"a.npy": npy(np.array([0])), "s.npy": npy(np.array([0]))}),
    run("edges of nothing", "--shape x=0x3", WRONG, "mode 'edge' needs elements along axis 0", model="pad.onnx"),
    run("edges of nothing, known at run time", "--input x=empty.npy", WRONG, "mode 'edge' needs elements along axis 0", model="pad.onnx", files={"empty.npy": npy(np.zeros((0, 3), np.float32))}),
    run("random input of petabytes", f"--shape x={1 << 50}x3 --shape z={1 << 50}x3", FILE, "out of memory", model="symbols.onnx"),
]


def of_programs(command):
    """Do programs take these arguments?"""
    options = {argument.split("=")[0] for argument in command.arguments if argument.startswith("-")}
    return command.name.startswith("run: ") and options <= {"--input", "--output", "--shape"}


PROGRAMS = [   # what `run` answers otherwise, or has not
    run("help", "--help", FINE, output="input   x: f32 2x3"),
    run("unknown option", "--frobnicate", USAGE, "app: there is no argument '--frobnicate' (see app --help)"),
    run("argument of control characters", "\x1b[31m", USAGE, r"app: there is no argument '\x1b[31m'"),
    run("option without a value", "--input", USAGE, "app: --input needs a value (see app --help)"),
    run("too many threads", "--threads=100000", USAGE, "--threads takes a number up to 1024, got '100000'"),
    run("threads that are no number", "--threads two", USAGE, "--threads takes a number up to 1024, got 'two'"),
    run("shape of an unknown input", "--shape q=2x3", USAGE, "--shape takes NAME=1x3x224x224 with the name of an input, got 'q=2x3'"),
    run("shape that is no number", "--shape x=2xq", USAGE, "--shape '2xq' does not fit input 'x' of shape 2x3"),
    run("shape of another rank", "--shape x=2", USAGE, "--shape '2' does not fit input 'x' of shape 2x3"),
    run("longer shape", "--shape x=2x3x1", USAGE, "--shape '2x3x1' does not fit input 'x' of shape 2x3"),
    run("shape against the model's", "--shape x=5x3", USAGE, "--shape '5x3' does not fit input 'x' of shape 2x3"),
    run("shape of symbols", "--shape x=5x3", FINE, output="y: f32 5x3: ", model="symbols.onnx"),
    run("extents that nothing fixes", "", FINE, "warning: 'N' taken as 1; --shape or --input says otherwise", output="y: f32 1x3: ", model="symbols.onnx"),
    run("two threads", "--threads 2 --input=x=x.npy --output y.npy", FINE, output="y: f32 2x3: 0, 2, 0, 4, 0, 6", written=["y.npy"]),
    run("ONNX tensor of a list", "--input l.pb --output y.pb", FINE, output="y: f32 2x3: 0, 2, 0, 4, 0, 6", written=["y.pb"], files={"l.pb": listed_pb(ONE)}),
    run("ONNX tensor of a short list", "--input l.pb", WRONG, "l.pb: f32[2, 3] needs 24 bytes, its list has 20", files={"l.pb": listed_pb(ONE, 5)}),
    run("ONNX tensor of strings", "--input s.pb", WRONG, "input 'x': element type is string, expected float32", files={"s.pb": b"\x10\x08\x32\x01a"}),
    run("strings in raw data", "--input s.pb", WRONG, "s.pb: strings cannot be in raw_data", files={"s.pb": b"\x10\x08\x4a\x10" + bytes(16)}),
    run("strings of another type", "--input s.pb", WRONG, "s.pb: its list is of another type", files={"s.pb": b"\x10\x01\x32\x01a"}),
    run("ONNX tensor with a length past its end", "--input s.pb", WRONG, "s.pb: truncated", files={"s.pb": b"\x10\x01\x4a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"}),
    run("ONNX tensor of a shape that overflows", "--input s.pb", WRONG, "s.pb: the shape overflows", files={"s.pb": (b"\x08" + b"\x80" * 8 + b"\x40") * 3 + b"\x10\x01"}),
    run("disk full", "--input x.npy --output y.npy", FILE, "cannot write 'y.npy': File too large", output="y: f32", options={"file_bytes": 100}),
    run("output to a full device", "--input x.npy", FILE, "standard output cannot be written", options={"stdout": "/dev/full"}),
]


def check_command(command, sandbox):
    with tempfile.TemporaryDirectory() as folder:
        put_files(folder, {**FILES, **command.files})
        result = sandbox.run(folder, *command.arguments, **command.options)
        changed = [name for name, content in command.files.items() if isinstance(content, bytes) and open(os.path.join(folder, name), "rb").read() != content]
    problems = problems_of(result, command.exit, command.lines, command.written)
    if command.output not in result.output:
        problems.append(f"no '{command.output}' in the output")
    if changed:
        problems.append(f"files changed: {changed}")
    return problems, result


def check_program(command, sandbox):
    """What `run` says of a file or of wrong usage, a program compiled from the model says too."""
    model_file, *arguments = command.arguments[1:]
    with tempfile.TemporaryDirectory() as apart, tempfile.TemporaryDirectory() as folder:
        put_files(folder, {**FILES, **command.files})
        app = os.path.join(apart, "app")
        subprocess.run([sandbox.program, "compile", "-q", "--emit=exe", model_file, "-o", app], cwd=folder, check=True)
        result = Sandbox(app).run(folder, *arguments, **command.options)
    lines = [line.replace(f"{model_file}: ", "") for line in command.lines]
    problems = problems_of(result, command.exit, lines, command.written)
    if command.output not in result.output:
        problems.append(f"no '{command.output}' in the output")
    return problems, result


def check_header(message, sandbox):
    """A header with a stranger's text in its comments is C without a warning, and holds no control characters."""
    with tempfile.TemporaryDirectory() as folder:
        put_files(folder, {"model.onnx": message, "user.c": b'#include "model.h"\nint main(void) { return 0; }\n'})
        result = sandbox.run(folder, "compile", "model.onnx")
        problems = problems_of(result, FINE, [], ["model.h", "model.so"])
        if not problems and b"\x1b" in open(os.path.join(folder, "model.h"), "rb").read():
            problems.append("control characters in the header")
        if not problems:
            done = subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "user.c"], cwd=folder, capture_output=True, text=True)
            problems += done.stderr.splitlines()[:3]
    return problems, result


# AddressSanitizer ends the process where an allocation fails.
NOT_SANITIZED = {command.name for command in COMMANDS if "out of memory" in command.lines}
CHECKS = [(command.name, check_command, command) for command in COMMANDS]
CHECKS += [(f"program: {command.name.removeprefix('run: ')}", check_program, command)
           for command in [c for c in COMMANDS if of_programs(c)] + PROGRAMS]
CHECKS += [(f"header: {case.name}", check_header, case.model) for case in valid.CASES if "names" in case.name]
