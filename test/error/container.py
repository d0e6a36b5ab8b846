"""Files that are no model, and models of versions and operator sets that do not exist."""
import os

from case import UNSUPPORTED, model, node, raw


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def number(field_number, value):
    return varint(field_number << 3) + varint(value)


GOOD = model("y = Relu(x)").SerializeToString()
WEIGHT = model("y = Add(x, w)", initializers="float[2,3] w = {1, 2, 3, 4, 5, 6}").SerializeToString()


def nested_ifs(depth):
    """If within If … in raw bytes, since protobuf itself refuses to build them."""
    graph = field(1, field(1, b"x") + field(2, b"y0") + field(4, b"Relu")) + field(2, b"g") + field(12, field(1, b"y0"))
    for level in range(1, depth + 1):
        name = b"y%d" % level
        branches = b"".join(field(5, field(1, which) + field(6, graph) + number(20, 5)) for which in (b"then_branch", b"else_branch")[:1 if depth > 12 else 2])
        graph = field(1, field(1, b"c") + field(2, name) + field(4, b"If") + branches) + field(2, b"g") + field(12, field(1, name))
    return number(1, 8) + field(7, graph) + field(8, number(2, 17))


def three_gigabytes(path):
    with open(path, "wb") as file:
        file.write(GOOD)
    os.truncate(path, 3 << 30)


def imports(*pairs):
    return lambda m: (m.ClearField("opset_import"), [m.opset_import.add(domain=d, version=v) for d, v in pairs])


def with_version(version):
    def change(m):
        m.ir_version = version
    return change


CASES = [
    raw("empty file", b"", "empty file"),
    raw("random bytes", bytes(range(7, 250, 9)) * 3, "not an ONNX protobuf"),
    raw("a picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not an ONNX protobuf"),
    raw("text", b"this is not a model\n", "not an ONNX protobuf"),
    raw("half a file", WEIGHT[: len(WEIGHT) // 2], "truncated"),
    raw("without its last byte", WEIGHT[:-1], "truncated"),
    raw("length of 2 GiB in a short file", number(1, 8) + b"\x3a" + varint(1 << 31) + field(2, b"g"), "truncated at byte"),
    raw("length of 2^63", number(1, 8) + b"\x3a" + varint(1 << 63) + GOOD, ""),
    raw("varint without end", number(1, 8) + b"\xff" * 40, ""),
    raw("garbage at the end", GOOD + b"garbage!", "trailing data at byte"),
    raw("zeros at the end, 3 GiB in all", b"", "trailing data at byte", files={"model.onnx": three_gigabytes}),
    raw("two models in one file", GOOD + GOOD, "appears twice"),
    raw("no graph", number(1, 8) + field(8, number(2, 17)), "no graph"),
    node("y = Relu(x)", "ir_version 0 (supported 3 to", name="ir_version 0", change=with_version(0)),
    node("y = Relu(x)", "ir_version 9999 (supported 3 to", name="ir_version 9999", change=with_version(9999)),
    node("y = Relu(x)", "ir_version -1 (supported 3 to", name="ir_version -1", change=with_version(-1)),
    raw("If nested 300 deep", nested_ifs(300), "nesting depth 101 exceeds 100"),
    raw("If nested 3000 deep", nested_ifs(3000), "nesting depth 101 exceeds 100"),
    raw("name that is not UTF-8", GOOD.replace(b"Relu", b"Re\xffu"), "not UTF-8 (byte 0xff)"),

    node("y = Relu(x)", "node 'y' (Relu): no opset_import for domain 'ai.onnx'", name="no opset", change=imports()),
    node("y = Relu(x)", "opset 9999 of ai.onnx (supported 1 to", name="opset 9999", change=imports(("", 9999))),
    node("y = Relu(x)", "opset -3 of ai.onnx (supported 1 to", name="opset -3", change=imports(("", -3))),
    node("y = Relu(x)", "opset 0 of ai.onnx (supported 1 to", name="opset 0", change=imports(("", 0))),
    node("y = Relu(x)", "domain 'ai.onnx' is imported as 17 and 7", name="two opsets", change=imports(("", 17), ("ai.onnx", 7))),
    node("y = evil.corp.Relu(x)", "node 'y' (Relu): unknown domain 'evil.corp'", name="unknown domain"),
    node("y = Fooo(x)", "node 'y' (Fooo, opset 17): no operator 'Fooo' in ai.onnx opset 17", name="unknown operator"),
    node("y = Relo(x)", "no operator 'Relo' in ai.onnx opset 17 (did you mean 'Relu'?)", name="misspelt operator"),
    node("y = Relu(x)", "no operator '' in ai.onnx opset 17", name="operator without a name", change=lambda m: m.graph.node[0].ClearField("op_type")),
    node("y = Upsample(x, x)", "node 'y' (Upsample, opset 18): Upsample was removed in opset 10", name="removed operator", opset=18),
    node("y = Gelu(x)", "node 'y' (Gelu, opset 19): no operator 'Gelu' in ai.onnx opset 19", name="operator of a later opset", opset=19),
    node("y = com.microsoft.Rfft(x, x)", "node 'y' (Rfft, opset 1): operator com.microsoft.Rfft is not supported yet", name="contrib operator", exit=UNSUPPORTED, imports='"com.microsoft" : 1'),
]
