"""Objects, archives and programs: for this machine, for any x86-64 and for AArch64, the last two in QEMU's user mode too.
See check.py."""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "zoo"), os.path.join(HERE, "..", "conformance")]
import models  # noqa: E402
import runner  # noqa: E402
import suite  # noqa: E402
from product import DTYPES, Product  # noqa: E402

DIGITS = os.path.join(ROOT, "examples", "digits", "digits.onnx")
STRICT = ["-std=c99", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1"]
SYSROOT = "/usr/aarch64-linux-gnu"
QEMU = ["qemu-aarch64", "-L", SYSROOT]
# A few of ONNX's node tests for each family of kernels, and for the element types.
KERNEL_CASES = """
    add_bcast where_example mod_mixed_sign_int64 bitwise_and_i16_3d div_uint8 pow_types_float32_int64 max_float16 min_int8
    exp log tanh erf sin cos sigmoid gelu_tanh_1 softplus elu round clip_example isnan sign hardswish
    cast_FLOAT_to_FLOAT16 cast_FLOAT16_to_FLOAT cast_FLOAT_to_BFLOAT16 cast_DOUBLE_to_FLOAT16 cast_FLOAT_to_FLOAT8E4M3FN
    matmul_2d matmul_4d gemm_all_attributes gemm_transposeB einsum_batch_matmul
    basic_conv_with_padding conv_with_strides_and_asymmetric_padding convtranspose_pads convtranspose_dilations
    maxpool_2d_ceil maxpool_3d_default averagepool_2d_same_upper globalaveragepool
    softmax_axis_1 logsoftmax_large_number layer_normalization_4d_axis1 group_normalization_example instancenorm_example
    reduce_sum_default_axes_keepdims_example reduce_max_negative_axes_keepdims_random reduce_l2_do_not_keepdims_example
    argmax_keepdims_random lstm_defaults gru_seq_length rnn_seq_length
    gather_1 gather_elements_0 transpose_all_permutations_4 concat_3d_axis_1 edge_pad flatten_axis2 split_equal_parts_2d_opset13
    slice_negative_axes identity
""".split()
# Of libc and libm: what a linked product may still need.
LIBC_NAME = re.compile(r"[a-z0-9_]+")


def run(*command, **options):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, errors="replace", **options)


def path_of(model):
    return DIGITS if model == "digits" else models.path_of(model)


class Products:
    """Compiles models into one folder, all kinds of products of each at once."""

    def __init__(self, lapidary, target="native"):
        self.lapidary, self.target = lapidary, target
        self.folder = tempfile.mkdtemp()

    def path(self, model, extension):
        base = os.path.join(self.folder, model)
        if not os.path.exists(base + ".h"):
            done = run(self.lapidary, "compile", "-q", path_of(model), "-o", base, "--emit=so,obj,archive,exe", f"--target={self.target}")
            assert done.returncode == 0, done.stderr
        return base + extension

    def close(self):
        shutil.rmtree(self.folder)


def ramp(model):
    """The inputs of two_models.c."""
    feeds = {}
    for name, code, dims in model.inputs:
        shape = [2 if dim < 0 else dim for dim in dims]
        feeds[name] = (np.arange(np.prod(shape)) % 3).astype(DTYPES[code]).reshape(shape)
    return feeds


def results_of_library(library):
    with Product(library, threads=1) as model:
        feeds = ramp(model)
        return feeds, [name for name, *_ in model.outputs], model.run(feeds)


def link_two(products, one, two, compiler, *options):
    """two_models.c with the products at these paths; the names of the models come from theirs."""
    names = [os.path.splitext(os.path.basename(path))[0] for path in (one, two)]
    program = os.path.join(products.folder, "two_" + os.path.splitext(one)[1][1:] + os.path.splitext(two)[1][1:])
    done = run(compiler, *STRICT, f"-DONE={names[0]}", f'-DONE_HEADER="{names[0]}.h"', f"-DTWO={names[1]}",
               f'-DTWO_HEADER="{names[1]}.h"', "-I", products.folder, os.path.join(HERE, "two_models.c"), one, two,
               "-Wl,--fatal-warnings", "-pthread", "-lm", "-o", program, *options)
    assert done.returncode == 0, done.stderr
    return program


def difference(got, expected, tolerance):
    """Of lists of arrays; tolerance 0: the same bits."""
    for i, (mine, theirs) in enumerate(zip(got, expected, strict=True)):
        if mine.dtype != theirs.dtype or mine.shape != theirs.shape:
            return f"output {i} is {mine.dtype}{list(mine.shape)}, expected {theirs.dtype}{list(theirs.shape)}"
        error = np.linalg.norm(mine.astype(np.float64) - theirs) / (np.linalg.norm(theirs.astype(np.float64)) or 1)
        if not (error <= tolerance):
            return f"output {i}: relative L2 {error:.1e}"
    return ""


def split_outputs(data, expected):
    arrays, at = [], 0
    for like in expected:
        arrays.append(np.frombuffer(data[at:at + like.nbytes], like.dtype).reshape(like.shape))
        at += like.nbytes
    return arrays if at == len(data) else []


def two_models(products, expected, compiler="cc", emulator=(), tolerance=0.0):
    """An object and an archive of different models in one program."""
    pairs = [(".o", ".o"), (".o", ".a"), (".a", ".o")]
    for kinds in pairs:
        paths = [products.path(name, kind) for name, kind in zip(expected, kinds)]
        program = link_two(products, *paths, compiler)
        done = subprocess.run([*emulator, program], capture_output=True)
        what = f"{products.target}: {' and '.join(expected)} as {' and '.join(kinds)} in one program"
        if done.returncode:
            yield what, done.stderr.decode()
            continue
        arrays = [array for _, _, results in expected.values() for array in results]
        yield what, difference(split_outputs(done.stdout, arrays), arrays, tolerance)


def only_own_names(products, name, nm="nm"):
    for extension in (".o", ".a"):
        done = run(nm, "-g", products.path(name, extension))
        lines = [line.split() for line in done.stdout.splitlines() if len(line.split()) > 1]
        defined = [parts[-1] for parts in lines if parts[-2] != "U"]
        needed = [parts[-1] for parts in lines if parts[-2] == "U"]
        wrong = [symbol for symbol in defined if not symbol.startswith(name + "_")]
        wrong += [symbol for symbol in needed if symbol.startswith(("lpd", name)) or not LIBC_NAME.fullmatch(symbol)]
        yield (f"{products.target}: {name}{extension} defines {len(defined)} names, all its own",
               f"{wrong}" if wrong or len(defined) < 10 else "")


def programs(products, expected, emulator=(), tolerance=0.0):
    """Each model as a program: .npy in, .npy out; .pb in, .pb out."""
    import onnx
    from onnx import numpy_helper

    for name, (feeds, outputs, results) in expected.items():
        for extension in (".npy", ".pb"):
            arguments, files = ["--threads=2"], []
            for i, (input_name, value) in enumerate(feeds.items()):
                path = os.path.join(products.folder, f"in{i}{extension}")
                if extension == ".npy":
                    np.save(path, value)
                else:
                    with open(path, "wb") as file:
                        file.write(numpy_helper.from_array(value).SerializeToString())
                arguments += ["--input", f"{input_name}={path}"]
            for i, output_name in enumerate(outputs):
                files.append(os.path.join(products.folder, f"out{i}{extension}"))
                arguments += ["--output", f"{output_name}={files[-1]}"]
            done = run(*emulator, products.path(name, ""), *arguments)
            what = f"{products.target}: {name} as a program, {extension} files"
            if done.returncode:
                yield what, done.stderr
                continue
            got = [np.load(file) if extension == ".npy" else numpy_helper.to_array(onnx.load_tensor(file)) for file in files]
            yield what, difference(got, results, tolerance)


def holds_no_program(products, name):
    """The command line of programs is in nothing else."""
    for extension in (".so", ".o", ".a", ""):
        found = b"--threads" in open(products.path(name, extension), "rb").read()
        yield (f"{products.target}: {name}{extension or ' (program)'} holds {'a' if found else 'no'} command line",
               "" if found == (extension == "") else "it should be otherwise")


def needs_libc_alone(products, name):
    for extension in (".so", ""):
        done = run("readelf", "-d", products.path(name, extension))
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", done.stdout)
        yield (f"{products.target}: {name}{extension or ' (program)'} needs {', '.join(needed)}",
               "" if needed and set(needed) <= {"libc.so.6", "libm.so.6"} else "something else than libc")


def same_for_any_jobs(products, name):
    seen = []
    for jobs in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            base = os.path.join(folder, name)
            done = run(products.lapidary, "compile", "-q", path_of(name), "-o", base, "--emit=obj,archive,exe", "-j", jobs,
                       f"--target={products.target}")
            assert done.returncode == 0, done.stderr
            seen.append({extension: open(base + extension, "rb").read() for extension in (".o", ".a", "", ".h")})
    differ = [extension for extension, content in seen[0].items() if content != seen[1][extension]]
    yield f"{products.target}: {name}: the same object, archive, program and header for any jobs", f"{differ} differ" if differ else ""


def one_set_of_weights(products, name):
    """Kernels for three levels of the instruction set take some room, weights once."""
    with tempfile.TemporaryDirectory() as folder:
        one = os.path.join(folder, name + ".so")
        done = run(products.lapidary, "compile", "-q", path_of(name), "-o", one, "--target=x86-64-v3")
        assert done.returncode == 0, done.stderr
        more = os.path.getsize(products.path(name, ".so")) - os.path.getsize(one)
        yield (f"{products.target}: {name}: {more >> 10} kB more than for one level",
               "" if 0 < more < os.path.getsize(one) / 20 else f"of {os.path.getsize(one) >> 10} kB")


def refuses_below(products, name, cpu):
    """One line and an exit code on a CPU below the lowest level; no illegal instruction."""
    done = run("qemu-x86_64", "-cpu", cpu, products.path(name, ""))
    line = [text for text in done.stderr.splitlines() if not text.startswith("qemu")]
    fine = done.returncode == 3 and len(line) == 1 and line[0].startswith("this CPU has no ")
    yield f"{products.target}: {name}: refused on {cpu}", "" if fine else f"exit code {done.returncode}: {done.stderr}"


def kernels(lapidary, target, emulator):
    """KERNEL_CASES as programs of another machine."""
    options = argparse.Namespace(lapidary=lapidary, target=target, emulator=emulator, jobs=os.cpu_count())
    wanted = {f"node/test_{name}" for name in KERNEL_CASES}
    cases = [case for case in suite.every_case() if case.name in wanted]
    with tempfile.TemporaryDirectory() as folder:
        verdicts = runner.verdicts_of(cases, options, folder)
    for name, verdict in sorted(verdicts.items()):
        yield f"{target}: {name}", "" if verdict.kind in ("passed", "constant") else f"{verdict.kind}: {verdict.reason}"


def use_library(products, name, symbols, compiler, emulator):
    """use_model.c against the library, run where there may be another machine's loader."""
    library = products.path(name, ".so")
    program = os.path.join(products.folder, "use_" + name)
    done = run(compiler, *STRICT, f"-DMODEL={name}", f'-DMODEL_HEADER="{name}.h"', "-I", products.folder,
               os.path.join(HERE, "use_model.c"), library, f"-Wl,-rpath,{products.folder}", "-pthread", "-o", program)
    assert done.returncode == 0, done.stderr
    for mode in ("threads", "errors"):
        done = run(*emulator, program, mode, *symbols)
        yield f"{products.target}: {name}: {mode}", "" if done.returncode == 0 else done.stderr.strip()


def check_products(lapidary):
    here = Products(lapidary)
    expected = {name: results_of_library(here.path(name, ".so")) for name in ("digits", "bilstm_tagger", "squeezenet1_1")}
    pair = {name: expected[name] for name in ("digits", "bilstm_tagger")}
    yield from only_own_names(here, "digits")
    yield from needs_libc_alone(here, "digits")
    yield from holds_no_program(here, "digits")
    yield from same_for_any_jobs(here, "digits")
    yield from two_models(here, pair)
    yield from programs(here, pair)
    here.close()

    every = Products(lapidary, "x86-64")
    yield from only_own_names(every, "digits")
    yield from programs(every, pair, tolerance=1e-5)
    yield from one_set_of_weights(every, "bilstm_tagger")
    for name, cpu in (("digits", "Haswell"), ("digits", "Nehalem"), ("squeezenet1_1", "Nehalem")):
        for what, wrong in programs(every, {name: expected[name]}, ["qemu-x86_64", "-cpu", cpu], 1e-5):
            yield f"{what}, on {cpu}", wrong
    yield from kernels(lapidary, "x86-64", ["qemu-x86_64", "-cpu", "Nehalem"])
    yield from refuses_below(every, "digits", "core2duo")
    every.close()

    arm = Products(lapidary, "aarch64")
    yield from only_own_names(arm, "digits", "aarch64-linux-gnu-nm")
    yield from needs_libc_alone(arm, "digits")
    yield from two_models(arm, pair, "aarch64-linux-gnu-gcc", QEMU, 1e-5)
    yield from programs(arm, expected, QEMU, 1e-5)
    yield from kernels(lapidary, "aarch64", QEMU)
    yield from use_library(arm, "digits", ["N=3"], "aarch64-linux-gnu-gcc", QEMU)
    arm.close()
