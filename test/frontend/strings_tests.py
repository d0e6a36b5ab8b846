"""Operators on strings, compiled, against ONNX Runtime.

    strings_tests.py --build BUILD [--only SUBSTRING]

Each case is a model of one or a few nodes and the inputs it is run on, one after the other with one instance. Where ONNX
Runtime is no oracle (it refuses, or reads ONNX's text otherwise) a case brings what is expected. WRONG lists inputs that
must be refused when they are bound or run. The last line is "N passed, N failed".
"""
import argparse
import ctypes
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from product import Product, ProductError  # noqa: E402

ML = "ai.onnx.ml"
TYPE = {"O": T.STRING, "f": T.FLOAT, "d": T.DOUBLE, "l": T.INT64, "i": T.INT32, "?": T.BOOL, "e": T.FLOAT16, "b": T.INT8,
        "L": T.UINT64, "B": T.UINT8, "h": T.INT16}
WORDS = ["", "a", "b", "Ab", "monday", "été", "ÉTÉ", "Ωμέγα", "жук", "ЖУК", "ẞtraße", "漢字", "🙂", "a b", " ", "x" * 300]


def s(*texts, shape=None):
    array = np.empty(len(texts), object)
    array[:] = texts
    return array if shape is None else array.reshape(shape)


def n(*attributes, inputs=("x",), outputs=("y",), domain="", **more):
    return helper.make_node(attributes[0], list(inputs), list(outputs), domain=domain, **more)


class Case:
    def __init__(self, name, nodes, *runs, expected=None, opset=22, ml=3, shapes=None, constants=()):
        self.name, self.runs, self.expected = name, [run if isinstance(run, dict) else {"x": run} for run in runs], expected
        nodes = nodes if isinstance(nodes, list) else [nodes]
        inputs = [helper.make_tensor_value_info(key, TYPE[value.dtype.char], (shapes or {}).get(key, [f"{key}{i}" for i in range(value.ndim)]))
                  for key, value in self.runs[0].items()]
        made = {name for node in nodes for name in node.output}
        read = {name for node in nodes for name in node.input}
        outputs = [onnx.ValueInfoProto(name=name) for name in sorted(made - read)]
        graph = helper.make_graph(nodes, "g", inputs, outputs, list(constants))
        self.model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid(ML, ml)],
                                       ir_version=10)


def constant(name, array):
    return helper.make_tensor(name, TYPE[array.dtype.char], array.shape, [t.encode() for t in array.ravel()] if array.dtype == object else array.ravel())


def movement():
    x = s(*WORDS[:12], shape=(3, 4))
    integers = {"starts": [1], "ends": [4], "axes": [1], "perm": [1, 0]}
    yield Case("Identity", n("Identity"), x, s(shape=(0, 4)), s("a", shape=(1, 1)), s("only", shape=(1, 1)))
    yield Case("Identity rank 0", n("Identity"), s("é", shape=()), s("", shape=()))
    yield Case("Transpose", n("Transpose", perm=[1, 0]), x, s(shape=(0, 4)))
    yield Case("Reshape", n("Reshape", inputs=("x", "to")), x, constants=[constant("to", np.array([2, -1]))])
    yield Case("Slice", n("Slice", inputs=("x", "b", "e", "a")), x,
               constants=[constant(k, np.array(integers[v])) for k, v in (("b", "starts"), ("e", "ends"), ("a", "axes"))])
    yield Case("Concat", n("Concat", inputs=("x", "c", "x"), axis=0), x, constants=[constant("c", s("w", "", "é", "a", shape=(1, 4)))])
    yield Case("Gather", n("Gather", inputs=("x", "i"), axis=1), {"x": x, "i": np.array([[0, -1], [2, 2]])})
    yield Case("GatherElements", n("GatherElements", inputs=("x", "i"), axis=1), {"x": x, "i": np.array([[0, -1], [2, 2], [1, 1]])})
    yield Case("Expand", n("Expand", inputs=("x", "to")), s("a", "b", shape=(2, 1)), constants=[constant("to", np.array([2, 3]))])
    yield Case("Tile", n("Tile", inputs=("x", "r")), x, constants=[constant("r", np.array([2, 2]))])
    yield Case("Where", n("Where", inputs=("c", "x", "z")), {"x": x, "c": np.arange(12).reshape(3, 4) % 3 == 0, "z": s("z")})
    yield Case("Split", n("Split", outputs=("y", "z"), num_outputs=2, axis=1), x)
    yield Case("Squeeze", [n("Unsqueeze", inputs=("x", "a"), outputs=("u",)), n("Squeeze", inputs=("u", "a"))], x,
               constants=[constant("a", np.array([1]))])
    yield Case("ScatterElements", n("ScatterElements", inputs=("x", "i", "u"), axis=1),
               {"x": x, "i": np.array([[1], [0], [3]]), "u": s("new", "", "u", shape=(3, 1))})
    yield Case("NonZero", n("NonZero"), s("a", "", "é", ""), expected=[[np.array([[0, 2]])]])
    yield Case("Pad with nothing", n("Pad", inputs=("x", "p")), x, constants=[constant("p", np.array([0, 1, 1, 0]))],
               expected=[[np.pad(x, ((0, 1), (1, 0)), constant_values="")]])
    yield Case("Pad", n("Pad", inputs=("x", "p", "v")), x, constants=[constant("p", np.array([0, 1, 1, 0])), constant("v", s("pad", shape=()))],
               expected=[[np.pad(x, ((0, 1), (1, 0)), constant_values="pad")]])
    yield Case("constants", [n("Concat", inputs=("x", "c"), outputs=("k",), axis=0), n("Equal", inputs=("k", "d"))], s("a", "new", ""),
               constants=[constant("c", s("a", "b", "é")), constant("d", s("a"))])
    yield Case("a constant alone", [n("Constant", inputs=(), value_strings=["a", "é", ""]), n("Identity", outputs=("z",))], s("q"))
    loop = helper.make_graph(
        [helper.make_node("StringConcat", ["c", "e"], ["next"]), helper.make_node("Identity", ["c"], ["row"]),
         helper.make_node("Identity", ["k"], ["go"])], "body",
        [helper.make_tensor_value_info("i", T.INT64, []), helper.make_tensor_value_info("k", T.BOOL, []),
         helper.make_tensor_value_info("c", T.STRING, ["x0"])],
        [helper.make_tensor_value_info("go", T.BOOL, []), helper.make_tensor_value_info("next", T.STRING, ["x0"]),
         helper.make_tensor_value_info("row", T.STRING, ["x0"])])
    yield Case("Loop", helper.make_node("Loop", ["t", "", "x"], ["last", "rows"], body=loop), s("a", "", "b"), s("q", "é", "a"),
               constants=[constant("t", np.array(3)), constant("e", s("+", shape=()))])
    branch = [helper.make_graph([helper.make_node(op, ["x", "x"] if op == "StringConcat" else ["x"], ["r"])], op, [],
                                [helper.make_tensor_value_info("r", T.STRING, ["x0"])]) for op in ("Identity", "StringConcat")]
    yield Case("If", helper.make_node("If", ["c"], ["y"], then_branch=branch[0], else_branch=branch[1]),
               {"x": s("a", "é"), "c": np.array(True)}, {"x": s("a", "é"), "c": np.array(False)})


def texts():
    words = s(*WORDS)
    yield Case("Equal", n("Equal", inputs=("x", "z")), {"x": s(*WORDS, shape=(4, 4)), "z": s("a", "Ab", "", "é")},
               {"x": s(shape=(0, 4)), "z": s("a", "b", "c", "d")})
    yield Case("StringConcat", n("StringConcat", inputs=("x", "z")), {"x": s(*WORDS, shape=(4, 4)), "z": s("", "é", "-", "x" * 5000)},
               {"x": s("a", shape=(1, 1)), "z": s()}, {"x": s("1", "2", shape=(2, 1)), "z": s("a", "b", "c")})
    yield Case("StringConcat rank 0", n("StringConcat", inputs=("x", "z")), {"x": s("é", shape=()), "z": s("b", shape=())})
    yield Case("StringConcat twice", [n("StringConcat", inputs=("x", "x"), outputs=("t",)), n("StringConcat", inputs=("t", "x"))], words, s())
    for delimiter in (None, "", ",", "ab", "é"):
        for most in (None, 0, 1, 2):
            more = {k: v for k, v in (("delimiter", delimiter), ("maxsplit", most)) if v is not None}
            x = ["a,b,,c", "", ",", "a b  c ", "  lead", "abab", "été", "none", "x,y ab z"]
            split = [text.split(delimiter or None, -1 if most is None else most) for text in x]
            if not delimiter:  # spaces at the end are removed, says ONNX; Python keeps them in the rest
                split = [[part.rstrip() for part in parts] for parts in split]
            width = max(map(len, split))
            wanted = s(*[part for parts in split for part in parts + [""] * (width - len(parts))], shape=(len(x), width))
            yield Case(f"StringSplit {more}", n("StringSplit", outputs=("y", "z"), **more), s(*x),
                       expected=[[wanted, np.array([len(parts) for parts in split])]])
    yield Case("StringSplit of nothing", n("StringSplit", outputs=("y", "z"), delimiter=","), s(shape=(0, 2)), s("a,b", "c", shape=(1, 2)),
               expected=[[s(shape=(0, 2, 0)), np.zeros((0, 2), np.int64)], [s("a", "b", "c", "", shape=(1, 2, 2)), np.array([[2, 1]])]])
    for action in ("NONE", "LOWER", "UPPER"):
        for exact in (0, 1):
            for stop in ([], ["monday", "ÉTÉ"], WORDS):
                more = {"stopwords": stop} if stop else {}
                yield Case(f"StringNormalizer {action} {exact} {len(stop)}",
                           n("StringNormalizer", case_change_action=action, is_case_sensitive=exact, locale="C.UTF-8", **more),
                           s(*[w for w in WORDS if w != "ẞtraße"]), s("monday", "Monday", "été"), s("monday"))
    yield Case("StringNormalizer rank 2", n("StringNormalizer", case_change_action="UPPER", stopwords=["b"], locale="C.UTF-8"),
               s("a", "b", "é", shape=(1, 3)), s("b", shape=(1, 1)), shapes={"x": [1, "C"]})
    yield Case("StringNormalizer keeps accents", n("StringNormalizer", case_change_action="LOWER"), s("ÉÀß", "İI", "ǅ"),
               expected=[[s("éàß", "İi", "ǆ")]])


def rounded(values, kind):
    with np.errstate(over="ignore"):
        return np.array(values).astype(kind)


def numbers():
    floats = [0, -0.0, 1, 1.5, 3.14159274, 1e10, 1e-5, 123456789, 1e20, 1e38, float("nan"), float("inf"), -float("inf"), 0.1, 1 / 3,
              16777217, 1e8, 99999999, 9999999.9, 0.0001, 0.00012345678, 1.17e-38, 123456.78]
    for kind in (np.float32, np.float64):
        yield Case(f"Cast from {kind.__name__}", n("Cast", to=T.STRING), np.array(floats, kind), np.random.default_rng(0).standard_normal(500).astype(kind))
    yield Case("Cast from float16", n("Cast", to=T.STRING), np.array([0, 1.5, 65504, 1e-5, -3], np.float16))
    for kind in (np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64, np.bool_):
        info = np.iinfo(kind) if kind != np.bool_ else None
        yield Case(f"Cast from {kind.__name__}", n("Cast", to=T.STRING), np.array([info.min, info.max, 0, 7] if info else [0, 1], kind))
    plain = s("3.14", "1e-5", "1E8", "+INF", "INF", "-inf", "nan", "NaN", "Infinity", " 1", "1 ", "+5", "1e-50", ".5", "5.", "-0",
              "123456789012345678901234567890", "0.1", "4.35", "1e38", "1.7976931348623157e308"[:7] + "e30", "2.2250738585072014e-308",
              "0." + "0" * 400 + "1", "9007199254740993", "1" + "0" * 30 + "e-30")
    for to in (T.FLOAT, T.DOUBLE, T.FLOAT16):
        given, kind = plain if to != T.FLOAT16 else plain[:8], helper.tensor_dtype_to_np_dtype(to)
        yield Case(f"Cast to {T.DataType.Name(to)}", n("Cast", to=to), given, expected=[[rounded([float(text) for text in given], kind)]])
    for to in (T.INT64, T.INT32, T.INT8, T.UINT8, T.UINT64, T.BOOL):
        yield Case(f"Cast to {T.DataType.Name(to)}", n("Cast", to=to), s("1", "0", "-1" if to != T.BOOL else "2", "127", "+5", " 7 "))
    yield Case("CastLike", n("CastLike", inputs=("x", "z")), {"x": np.array([1.5, 2], np.float32), "z": s("a")}, {"x": np.array([3, 0.25], np.float32), "z": s("b")},
               expected=[[s("1.5", "2")], [s("3", "0.25")]])
    yield Case("Cast there and back", [n("Cast", to=T.STRING, outputs=("t",)), n("Cast", to=T.INT64, inputs=("t",))], np.arange(-1000, 1000))


def orders():
    x = s("b", "a", "", "é", "b", "z", "a", "ab", "é", "Z", "aa")
    for more in ({}, {"sorted": 0}):
        yield Case(f"Unique {more}", n("Unique", outputs=("y", "z", "u", "v"), **more), x, s("q"), x[::-1].copy(), x.repeat(20))


def patterns():
    x = s("", "a", "aaa", "abc", "ABC", "a\nb", "é", "日本", "a1_b", "foo@gmail.com", "x.y-z", "αβγ", "ΑΒΓ", "]", "-", "0x1F", "\t", "aXbXc")
    for pattern in ("", "a*", ".*", "(?s).*", "a+b?c{0,2}", "[a-z]+", "[^a-z]+", "(?i)abc", "(?i)αβγ", "\\w+", "\\W", "[[:upper:]]+", "^a.*c$",
                    "(a|b|c)*", "[\\w.]+@(gmail|yahoo)\\.com", ".", "..", "\\S{3,}", "[α-ω]*", "(?i)[α-ω]+", "\\x{65e5}\\x{672c}", "[]-]",
                    "0x[0-9A-Fa-f]+", "a(?:X[bc])*", "(?i)a(?-i)XbXc", "\\Qx.y\\E.*", "[^\\d\\s]+", "(a{2}){1,2}a?", "$", "a$|^b", "\\b.*\\b", ".*\\B", "\\w*\\b\\W*\\B"):
        yield Case(f"RegexFullMatch {pattern}", n("RegexFullMatch", pattern=pattern), x)


def ngrams():
    tokens = np.array([[1, 1, 3, 3, 3, 7], [8, 6, 7, 5, 6, 8]])
    pool = {"ngram_counts": [0, 4], "ngram_indexes": [0, 1, 2, 3, 4, 5, 6], "pool_int64s": [2, 3, 5, 4, 5, 6, 7, 8, 6, 7]}
    weights = [0.5, 1, 2, 3, 4, 5, 6]
    for mode in ("TF", "IDF", "TFIDF"):
        for least, most, skips in ((1, 1, 0), (1, 2, 0), (2, 2, 0), (2, 2, 5), (1, 2, 5), (2, 2, 1)):
            for w in (None, weights):
                more = {"weights": w} if w else {}
                node = n("TfIdfVectorizer", mode=mode, min_gram_length=least, max_gram_length=most, max_skip_count=skips, **pool, **more)
                yield Case(f"TfIdfVectorizer {mode} {least} {most} {skips} {bool(w)}", node, tokens, tokens[:1])
    yield Case("TfIdfVectorizer vector", n("TfIdfVectorizer", mode="TF", min_gram_length=1, max_gram_length=2, max_skip_count=1, **pool),
               tokens[0], tokens[0][:0], tokens[0].repeat(50))
    yield Case("TfIdfVectorizer i32", n("TfIdfVectorizer", mode="TF", min_gram_length=1, max_gram_length=2, max_skip_count=1, **pool), tokens.astype(np.int32))
    scattered = pool | {"ngram_indexes": [6, 2, 0, 9, 4, 1, 3]}
    yield Case("TfIdfVectorizer scattered", n("TfIdfVectorizer", mode="TF", min_gram_length=1, max_gram_length=2, max_skip_count=2, **scattered), tokens)
    words = {"ngram_counts": [0, 3, 7], "ngram_indexes": [0, 1, 2, 3, 4, 5], "pool_strings": ["a", "é", "", "a", "b", "é", "é", "a", "b", "é"]}
    yield Case("TfIdfVectorizer strings", n("TfIdfVectorizer", mode="TFIDF", weights=[1.0, 2, 3, 4, 5, 6], min_gram_length=1, max_gram_length=3,
                                            max_skip_count=2, **words),
               s("a", "b", "é", "", "é", "é", "x", "a", shape=(2, 4)), s("a", "b", "é", "a", "b", "é", "q", "q", shape=(1, 8)))


def features():
    labels = {"keys_strings": ["a", "é", "", "monday"]}
    for more in ({"values_int64s": [5, 6, 7, 8]}, {"values_floats": [0.5, 1, 2, 3]}, {"values_strings": ["q", "", "ж", "z"], "default_string": "none"}):
        yield Case(f"LabelEncoder {list(more)[0]}", n("LabelEncoder", domain=ML, **labels, **more), s(*WORDS, shape=(4, 4)), s(shape=(0, 4)))
    yield Case("LabelEncoder to strings", n("LabelEncoder", domain=ML, keys_int64s=[3, 4, -1], values_strings=["three", "four", "é"], default_string="?"),
               np.array([[3, 4, 5], [-1, 0, 3]]))
    yield Case("LabelEncoder floats to strings", n("LabelEncoder", domain=ML, keys_floats=[0.5, float("nan")], values_strings=["half", "nan"]),
               np.array([0.5, np.nan, 1], np.float32), ml=4)
    yield Case("LabelEncoder 1", n("LabelEncoder", domain=ML, classes_strings=["a", "b", "é"], default_int64=-7), s("é", "a", "zz", ""), ml=1)
    yield Case("LabelEncoder 1 back", n("LabelEncoder", domain=ML, classes_strings=["a", "b", "é"], default_string="?"), np.array([2, 0, 3, -1, 1]), ml=1)
    cats = {"cats_int64s": [10, 20, 30], "cats_strings": ["a", "é", "monday"]}
    yield Case("CategoryMapper", n("CategoryMapper", domain=ML, **cats, default_int64=-5), s(*WORDS), ml=1)
    yield Case("CategoryMapper back", n("CategoryMapper", domain=ML, **cats, default_string="?"), np.array([10, 30, 7, 20, -1]), ml=1)
    yield Case("OneHotEncoder", n("OneHotEncoder", domain=ML, cats_strings=["a", "é", "", "q"]), s(*WORDS, shape=(4, 4)), ml=1)
    x = np.random.default_rng(1).standard_normal((17, 3)).astype(np.float32)
    names = {"classlabels_strings": ["red", "grün", "blue"]}
    yield Case("LinearClassifier", n("LinearClassifier", domain=ML, outputs=("y", "z"), coefficients=[1.0, 2, 3, -1, 0, 1, 2, -2, 0], intercepts=[0.1, 0.2, 0.3], **names), x,
               ml=1, shapes={"x": ["N", 3]})
    yield Case("LinearClassifier of two", n("LinearClassifier", domain=ML, outputs=("y", "z"), coefficients=[1.0, 2, 3], intercepts=[0.1],
                                            classlabels_strings=["no", "yes"]), x, ml=1, shapes={"x": ["N", 3]})
    yield Case("SVMClassifier", n("SVMClassifier", domain=ML, outputs=("y", "z"), kernel_type="LINEAR", kernel_params=[1.0, 0.0, 1.0],
                                  coefficients=[1.0, 2, -1, 1, 2, 3, -1, -2], support_vectors=[1.0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1],
                                  vectors_per_class=[1, 2, 1], rho=[0.1, 0.2, 0.3], **names), x, ml=1, shapes={"x": ["N", 3]})
    tree = {"nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [0, 0, 0], "nodes_values": [0.0, 0, 0],
            "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"], "nodes_truenodeids": [1, 0, 0], "nodes_falsenodeids": [2, 0, 0]}
    yield Case("TreeEnsembleClassifier", n("TreeEnsembleClassifier", domain=ML, outputs=("y", "z"), class_treeids=[0] * 6, class_nodeids=[1, 1, 1, 2, 2, 2],
                                           class_ids=[0, 1, 2] * 2, class_weights=[0.1, 0.7, 0.2, 0.6, 0.3, 0.1], **tree, **names), x, ml=1, shapes={"x": ["N", 3]})


WRONG = [("Cast", {"to": T.FLOAT}, ["1x"], "no number"), ("Cast", {"to": T.INT64}, ["1.5"], "no number"), ("Cast", {"to": T.DOUBLE}, [""], "no number"),
         ("Cast", {"to": T.FLOAT}, ["1e"], "no number"), ("Cast", {"to": T.UINT8}, ["99999999999999999999"], "no number")]


def compiled(model, folder, lapidary):
    name = f"m{len(os.listdir(folder))}"   # a library that is open hides others of its name
    path, library = os.path.join(folder, name + ".onnx"), os.path.join(folder, name + ".so")
    onnx.save(model, path)
    done = subprocess.run([lapidary, "compile", "-q", "-j1", path, "-o", library], capture_output=True, text=True)
    return library, done.stderr.strip() if done.returncode else ""


def difference(got, wanted):
    wanted = np.asarray(wanted)
    if got.shape != wanted.shape or (got.dtype != wanted.dtype and wanted.dtype.kind not in "OU"):
        return f"is {got.dtype}{list(got.shape)}, expected {wanted.dtype}{list(wanted.shape)}"
    if got.dtype == object:
        same = np.array([a == b for a, b in zip(got.ravel(), wanted.ravel())], bool)
    else:
        same = np.isclose(got, wanted, rtol=1e-5, atol=1e-6, equal_nan=True).ravel() if got.dtype.kind in "fe" else (got == wanted).ravel()
    at = np.flatnonzero(~same)
    return f"at {at[0]}: {got.ravel()[at[0]]!r}, expected {wanted.ravel()[at[0]]!r}" if len(at) else ""


def theirs(case):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(case.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in case.model.graph.output]
    return [session.run(names, run) for run in case.runs]


def check(case, folder, lapidary):
    library, problem = compiled(case.model, folder, lapidary)
    if problem:
        return problem
    expected = case.expected or theirs(case)
    for threads in (1, 2):
        with Product(library, threads=threads) as product:
            for run, wanted in zip(case.runs, expected):
                for i, (mine, one) in enumerate(zip(product.run(run), wanted)):
                    if problem := difference(mine, one):
                        return f"{threads} threads, output {i} {problem}"
    return ""


def wrong(op, attributes, texts, words, folder, lapidary):
    library, problem = compiled(Case("", n(op, **attributes), s(*texts)).model, folder, lapidary)
    if problem:
        return problem
    with Product(library) as product:
        try:
            product.run({"x": s(*texts)})
        except ProductError as error:
            return "" if words in str(error) else f"said {error}"
    return "is taken"


# --- hostile callers -------------------------------------------------------------------------------------------------

JOINED = Case("joined", n("StringConcat", inputs=("x", "x")), s("a"))


def refusal(act, words):
    try:
        act()
    except ProductError as error:
        return "" if words in str(error) else f"said {error}"
    return "is taken"


def bytes_that_are_no_text(library):
    texts = [b"\xff\xfe", b"\xc3", b"a\x80b", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\0x\0", b"\xe2\x82"]
    given = s(*[text.decode("utf-8", "surrogateescape") for text in texts])
    with Product(library) as product:
        return difference(product.run({"x": given})[0], np.array([text + text for text in given], object))


def views(library, data, size, words):
    with Product(library) as product:
        return refusal(lambda: (product.bind_memory(0, 8, [1], np.array([data, size], np.int64)), product.step()), words)


def limit(library):
    x = s(*[str(i) * 100 for i in range(2000)])
    with Product(library, max_bytes=1 << 16) as product:
        problem = difference(product.run({"x": x[:20]})[0], np.array([t + t for t in x[:20]], object))
        return problem or refusal(lambda: product.run({"x": x}), "max_bytes allows")


def outputs_as_inputs(library):
    with Product(library) as product:
        product.run({"x": s("a", "b")})
        address = product.output_address(0)
        memory = np.ctypeslib.as_array((ctypes.c_int64 * 4).from_address(address))
        return refusal(lambda: product.bind_memory(0, 8, [2], memory), "must be copied")


def copied_views(library):
    """The elements are copied, the texts that they point to are not."""
    with Product(library) as product:
        product.run({"x": s("a", "b")})
        memory = np.ctypeslib.as_array((ctypes.c_int64 * 4).from_address(product.output_address(0))).copy()
        product.bind_memory(0, 8, [2], memory)
        return refusal(product.step, "must be copied")


def many_runs(library):
    with Product(library) as product:
        for i in range(300):
            x = s(*[f"{i} {k}" for k in range(i % 100)])
            if problem := difference(product.run({"x": x})[0], np.array([t + t for t in x], object)):
                return f"run {i}: {problem}"
    return ""


HOSTILE = [("bytes that are no text", bytes_that_are_no_text), ("a negative size", lambda library: views(library, 64, -1, "is no string")),
           ("a null", lambda library: views(library, 0, 5, "is no string")), ("a limit of memory", limit),
           ("an output as an input", outputs_as_inputs), ("an output's texts as an input", copied_views), ("many runs", many_runs)]


def hostile(act, folder, lapidary):
    library, problem = compiled(JOINED.model, folder, lapidary)
    return problem or act(library)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    lapidary = os.path.join(args.build, "tools", "lapidary")
    failed = passed = 0
    with tempfile.TemporaryDirectory() as folder:
        checks = [(case.name, lambda case=case: check(case, folder, lapidary))
                  for family in (movement, texts, numbers, orders, patterns, ngrams, features) for case in family()]
        checks += [(f"wrong {one[0]} {one[2][0]}", lambda one=one: wrong(*one, folder, lapidary)) for one in WRONG]
        checks += [(f"hostile: {name}", lambda act=act: hostile(act, folder, lapidary)) for name, act in HOSTILE]
        for name, run in checks:
            if args.only not in name:
                continue
            try:
                problem = run()
            except Exception as error:
                problem = repr(error)
            failed, passed = failed + bool(problem), passed + (not problem)
            if problem:
                print(f"FAIL  {name}: {problem[:300]}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return failed > 0 or not passed


if __name__ == "__main__":
    sys.exit(main())
