#!/usr/bin/env python3
"""Products for CUDA on the stand-in driver: how they fail (errors.py), what their interface does (products.py), some of
ONNX's node tests, those that take the host's part above all, every kind of product (as test/artifact/products.py), and
small models of the zoo (emulate.py), on Hopper in f16; and the benchmarks for GPUs (bench.py). Of a sanitized
build all of it runs under AddressSanitizer (sanitizers.py), and a write outside of a buffer is planted, which it finds.

    check.py --build BUILD [--all] [--only GROUP,GROUP]

The last line is "N passed, N failed, N skipped". Without NVRTC all of it is skipped.
"""
import argparse
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, ".."), *(os.path.join(HERE, "..", folder) for folder in ("zoo", "conformance")),
                os.path.join(HERE, "..", "..", "bench", "gpu")]
import bench  # noqa: E402
import cut  # noqa: E402
import emulate  # noqa: E402
import errors  # noqa: E402
import half  # noqa: E402
import models as zoo_models  # noqa: E402
import nvrtc  # noqa: E402
import products  # noqa: E402
import runner  # noqa: E402
import sanitizers  # noqa: E402
import small_models  # noqa: E402
import suite  # noqa: E402
import tally  # noqa: E402

MODELS = ["squeezenet1_1", "tf_lstm_gru", "greedy_decoder", "sk_scaler_rf"]
MORE_MODELS = ["mobilenet_v3_large", "bilstm_tagger"]   # with --all, and the first layers of these:
CUT_MODELS = ["bert_base", "llama_tiny"]
HALVES_TOLERANCE = 5e-3   # relative L2 of networks whose every value is rounded to 11 bits, in another order of sums
# All of them: scripts/conformance --target=cuda:sm_80.
CASES = """
    add_bcast where_example div_uint8 max_float16 cast_FLOAT_to_BFLOAT16 matmul_4d gemm_all_attributes softmax_axis_1
    conv_with_strides_and_asymmetric_padding convtranspose_pads maxpool_2d_ceil argmax_keepdims_random top_k
    reduce_sum_default_axes_keepdims_example layer_normalization_4d_axis1 lstm_defaults gru_seq_length cumsum_1d scatternd
    nonzero_example compress_0 unique_not_sorted_without_axis nonmaxsuppression_suppress_by_IOU range_float_type_positive_delta
    loop11 loop13_seq scan9_sum if if_seq if_opt sequence_map_add_2_sequences resize_upsample_sizes_nearest reshape_allowzero_reordered
    string_concat string_split_basic regex_full_match_basic strnormalizer_export_monday_casesensintive_lower tfidfvectorizer_tf_uniandbigrams_skip5
    ai_onnx_ml_label_encoder_string_int equal_string identity_sequence optional_get_element_tensor
    attention_23_boolmask_fullymasked_row_nan_robustness averagepool_1d_default batchnorm_epsilon bernoulli
    bitcast_2d_float32_to_int32 bitshift_left_int16 causal_conv_with_state_b1_c1_degenerate center_crop_pad_crop
    col2im concat_1d_axis_0 constantofshape_float_ones convinteger_with_padding cumprod_1d deform_conv_with_mask_bias
    depthtospace_crd_mode_example dequantizelinear det_2d dft dropout_default dynamicquantizelinear edge_pad
    einsum_batch_diagonal expand_dim_changed eyelike_populate_off_main_diagonal flexattention gather_0
    gathernd_example_float32 globalaveragepool gridsample group_normalization_epsilon gru_batchwise hardmax_axis_0
    instancenorm_epsilon linear_attention_decode_step logsoftmax_axis_0 loop16_seq_none lppool_1d_default lrn
    matmulinteger maxunpool_export_with_output_shape mod_broadcast mvn nllloss_NC onehot_negative_indices
    prelu_broadcast qlinearconv qlinearmatmul_2D_int8_float16 quantizelinear reflect_pad reversesequence_batch
    rms_normalization_2d_axis0 rnn_seq_length roialign_aligned_false rotary_embedding scatter_elements_with_axis
    sequence_insert_at_back stft castlike_no_saturate_FLOAT16_to_FLOAT8E5M2
""".split()


def models(build, driver, every):
    for name in MODELS + MORE_MODELS * every:
        for what, message, passed in emulate.check_zoo(name, build, "cuda:sm_80", driver):
            yield f"{name}, {what}: {message}", passed
    for name in CUT_MODELS * every:
        with tempfile.TemporaryDirectory() as folder:
            path, feeds = cut.first_layers(name, folder)
            for what, message, passed in emulate.check(path, feeds, folder, build, "cuda:sm_80", driver, zoo_models.tolerance(name)):
                yield f"{name}, {cut.LAYERS} layers, {what}: {message}", passed


def halves(build, driver, target):
    """Networks of f16: their attention and products on tensor cores, what one kernel brings by tensor maps written by another."""
    def check(what, path, feeds, folder):
        for run, message, passed in emulate.check(path, feeds, folder, build, target, driver, HALVES_TOLERANCE):
            yield f"{what}, {run}: {message}", passed

    with tempfile.TemporaryDirectory() as folder:
        name = "squeezenet1_1_fp16"
        yield from check(name, zoo_models.path_of(name), zoo_models.example_inputs(name + ".onnx"), folder)
    for name in CUT_MODELS:
        with tempfile.TemporaryDirectory() as folder:
            path, feeds = cut.first_layers(name, folder)
            onnx.save(half.to_half(onnx.load(path)), path)
            halved = {key: value.astype(np.float16) if value.dtype == np.float32 else value for key, value in feeds.items()}
            yield from check(f"{name} in f16, {cut.LAYERS} layers", path, halved, folder)


def cases(build):
    options = argparse.Namespace(build=build, lapidary=os.path.join(build, "tools", "lapidary"), target="cuda:sm_80", emulator=[])
    found = {case.name.removeprefix("test_"): case for case in suite.node_cases()}
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            verdict = runner.verdict_on(found[name], options, pathlib.Path(folder))
            yield f"{name}: {verdict.kind} {verdict.reason}".strip(), verdict.kind in ("passed", "constant")


def elsewhere(build, machine, target, only, *options):
    """A group on another machine, which this process has no more: a stand-in reads what it is when first called."""
    done = subprocess.run([sys.executable, __file__, "--build", build, "--target", target, "--only", only, *options],
                          capture_output=True, text=True, env=os.environ | machine)
    for line in done.stdout.splitlines()[:-1]:
        yield line.partition("  ")[2], line.startswith("pass")
    yield "was run", done.returncode == 0


def kinds(build):
    """Objects, archives and programs are as those for a CPU: own names alone, libc alone, the same for any jobs."""
    path = os.path.join(HERE, "..", "artifact", "products.py")
    spec = importlib.util.spec_from_file_location("artifact_products", path)
    artifact = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(artifact)
    made = artifact.Products(os.path.join(build, "tools", "lapidary"), "cuda:sm_80")
    for check in (artifact.only_own_names, artifact.holds_no_program, artifact.needs_libc_alone, artifact.same_for_any_jobs):
        for what, wrong in check(made, "digits"):
            yield f"{what} {wrong}".strip(), not wrong
    own = artifact.Products(os.path.join(build, "tools", "lapidary"))
    with open(own.path("digits", ".so"), "rb") as product:
        content = product.read()
        yield "a product for a CPU holds nothing of the driver", b"libcuda" not in content and b"ZSTD" not in content


def size(build):
    """What a product holds besides its weights, for three architectures and PTX: little beside the images as they are."""
    model = zoo_models.path_of("squeezenet1_1")
    with tempfile.TemporaryDirectory() as folder:
        options = ["compile", "-q", model, "--target=cuda:sm_80,sm_90a,sm_120"]
        library = os.path.join(folder, "model.so")
        emulate.lapidary(build, *options, "--weights=seeded", "-o", library)
        product = os.path.getsize(library)
        os.remove(library)
        emulate.lapidary(build, *options, "--emit=cubin,ptx", "-o", os.path.join(folder, "model"))
        images = sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))
    most = images // 8 + (400 << 10)
    yield f"{product:,} bytes with images of {images:,}, at most {most:,}", product <= most


def report(build):
    """What lapidary bench tells of kernels on a device."""
    with tempfile.TemporaryDirectory() as folder:
        model = small_models.save(small_models.CLASSIFIER, os.path.join(folder, "model.onnx"))
        emulate.emulated(model, folder, build, "cuda:sm_80")
        environment = os.environ | {"LD_LIBRARY_PATH": os.path.join(build, "test", "cuda")}
        done = subprocess.run([os.path.join(build, "tools", "lapidary"), "bench", model, "--target=cuda:sm_80", "--seconds", "0.01", "--json"],
                              env=environment, capture_output=True, text=True)
        yield f"lapidary bench ends with {done.returncode}: {done.stderr.strip()}", done.returncode == 0
        told = json.loads(done.stdout)
        products_told = [row for row in told["kernels"] if row["kernel"].startswith("product")]
        yield "registers of every kernel", all(row["registers"] > 0 and row["local_bytes"] == 0 for row in told["kernels"])
        yield "shared memory of products, what is chosen at launch too", bool(products_told) and all(row["shared_bytes"] > 1024 for row in products_told)
        plain = sum(row["steps"] for row in told["kernels"] if " plain" in " " + row["kernel"])
        yield f"every plain kernel has its operator: {told['plain_kernels']}", sum(told["plain_kernels"].values()) == plain


PLANTED = """
import sys
import numpy as np
sys.path[:0] = [{tests!r}, {here!r}]
import emulate
from product import Product
driver = emulate.Driver({build!r})
with Product({library!r}) as product:
    product.run({{"x": np.ones(5, np.float32)}})
"""


def sanitizer(build):
    """A kernel that writes behind its output is found as it writes, by its line; as it should be it runs."""
    with tempfile.TemporaryDirectory() as folder:
        model = small_models.save(small_models.FEEDBACK, os.path.join(folder, "model.onnx"))
        library = emulate.compiled(model, folder, build, "cuda:sm_80")
        text = emulate.lapidary(build, "compile", "-q", model, "--emit=cuda", "--target", "cuda:sm_80")
        wrong = re.sub(r"store\((out\w+) \+ (task\w+),", r"store(\1 + \2 + 48,", text)
        yield "a mistake is planted", wrong != text
        script = PLANTED.format(tests=os.path.join(HERE, ".."), here=HERE, build=build, library=library)
        for kernels, found in ((text, False), (wrong, True)):
            environment = os.environ | {"LAPIDARY_EMULATED_KERNELS": emulate.emulated_kernels(kernels, build)}
            done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
            told = "AddressSanitizer: use-after-poison" in done.stderr and "lpd_k0" in done.stderr
            yield f"{'a write outside of a buffer' if found else 'no mistake'}: {done.stderr[:500] if told != found else ''}", (
                told == found and (done.returncode != 0) == found)


EARLY = """
import sys
import numpy as np
sys.path[:0] = [{tests!r}, {here!r}]
import emulate
from product import Product
driver = emulate.Driver({build!r})
with Product({library!r}) as product:
    for _ in range(3):
        product.run({{"x": np.ones((500, 24), np.float32)}})
assert driver.calls("cuGraphAddDependencies_v2") > 0
"""


def early(build):
    """Kernels that start before those they wait for are through: one that reads before it waits is found, so is one
    some of whose threads do not wait."""
    target, machine = "cuda:sm_90a", {"STANDIN_CAPABILITY": "9.0"}
    with tempfile.TemporaryDirectory() as folder:
        model = small_models.save(small_models.CLASSIFIER, os.path.join(folder, "model.onnx"))
        library = emulate.compiled(model, folder, build, target)
        text = emulate.lapidary(build, "compile", "-q", model, "--emit=cuda", "--target", target)
        reads = re.sub(r"(lpd_k\w+\(.*?const \w+\* __restrict__ (\w+).*?\{\n)( *)await_turn\(\);",
                       r"\1\3const auto first = *(const volatile u8*)\2;\n\3await_turn();", text)
        some = text.replace("  await_turn();\n", "  if (blockIdx.x == 0) await_turn();\n")
        for what, kernels, message in (("as they are", text, ""), ("a load before the wait", reads, "touches memory before it awaits its turn"),
                                       ("a wait of the first block alone", some, "meets others before it awaits its turn")):
            environment = os.environ | machine | {"LAPIDARY_EMULATED_KERNELS": emulate.emulated_kernels(kernels, build)}
            script = EARLY.format(tests=os.path.join(HERE, ".."), here=HERE, build=build, library=library)
            done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
            yield f"{what}: {done.stderr[-300:] if bool(message) != bool(done.returncode) else message}", (
                message in done.stderr and bool(message) == bool(done.returncode) and (not message or kernels != text))


def has_nvrtc(build):
    """Is there one? Else what the compiler says."""
    with tempfile.TemporaryDirectory() as folder:
        model = small_models.save(small_models.FEEDBACK, os.path.join(folder, "model.onnx"))
        done = subprocess.run([os.path.join(build, "tools", "lapidary"), "compile", "-q", model, "-o", os.path.join(folder, "model.so"),
                               "--target=cuda:sm_80"], capture_output=True, text=True)
    return not nvrtc.is_missing(done), done.stderr.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--only", default="errors,products,hopper,turing,two,networks,cases,kinds,size,report,early,models,bench,sanitizer")
    parser.add_argument("--all", action="store_true", help="more models")
    parser.add_argument("--target", default="cuda:sm_80", help="of products and halves")
    parser.add_argument("--products", default="GROUPS", help="which, a list in products.py")
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    found, message = has_nvrtc(build)
    if not found:
        print(f"skip  {message}\n0 passed, 0 failed, 1 skipped")
        return 0
    driver = emulate.Driver(build)
    groups = {"errors": lambda: errors.checks(build), "products": lambda: products.checks(build, driver, args.target, args.products),
              "hopper": lambda: elsewhere(build, {"STANDIN_CAPABILITY": "9.0"}, "cuda:sm_90a", "products", "--products", "HOPPER_GROUPS"),
              "turing": lambda: elsewhere(build, {"STANDIN_CAPABILITY": "7.5"}, "cuda:sm_75,sm_80,sm_90a", "products", "--products", "TURING_GROUPS"),
              "two": lambda: elsewhere(build, {"STANDIN_DEVICES": "2"}, "cuda:sm_80", "products", "--products", "TWO_GROUPS"),
              "halves": lambda: halves(build, driver, args.target),
              "networks": lambda: elsewhere(build, {"STANDIN_CAPABILITY": "9.0"}, "cuda:sm_90a", "halves"),
              "cases": lambda: cases(build), "kinds": lambda: kinds(build), "size": lambda: size(build), "report": lambda: report(build), "early": lambda: early(build),
              "models": lambda: models(build, driver, args.all),
              "bench": lambda: bench.checks(build), "sanitizer": lambda: sanitizer(build)}
    chosen = [name for name in args.only.split(",") if name != "sanitizer" or sanitizers.is_sanitized(build)]
    return tally.run((name, lambda name=name: groups[name]()) for name in chosen)


if __name__ == "__main__":
    sys.exit(main())
