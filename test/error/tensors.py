"""Initializers, declared types and external data that contradict themselves or reach where they must not."""
import os

import onnx

from case import FILE, UNSUPPORTED, node

F32, U8, I64, STRING, BOOL, I4, F4 = 1, 2, 7, 8, 9, 22, 23
BODY = "y = Relu(x) q = Identity(w)"


def tensor(name, line, dims=(2, 3), data_type=F32, exit=1, **values):
    """A model whose initializer w is that tensor."""
    def change(m):
        w = m.graph.initializer.add(name="w", dims=dims, data_type=data_type)
        for key, value in values.items():
            if isinstance(value, list):
                getattr(w, key).extend(value)
            else:
                setattr(w, key, value)
    return node("y = Relu(x)", f"initializer 'w': {line}", name=name, exit=exit, change=change)


def value(name, line, change, **arguments):
    return node("y = Relu(x)", line, name=name, change=lambda m: change(m.graph), **arguments)


def sparse(name, line, indices, dims=(6,), index_dims=None, values=2):
    def change(m):
        s = m.graph.sparse_initializer.add(dims=dims)
        s.values.CopyFrom(onnx.TensorProto(name="w", dims=[values], data_type=F32, float_data=[1, 2][:values]))
        s.indices.CopyFrom(onnx.TensorProto(dims=[len(indices)] if index_dims is None else index_dims, data_type=I64, int64_data=indices))
    return node("y = Relu(x)", f"initializer 'w': {line}", name=name, change=change)


FILES = {
    "w.bin": bytes(24), "../secret.bin": bytes(24), "sub/w.bin": bytes(24),
    "link.bin": lambda path: os.symlink("w.bin", path),
    "linked": lambda path: os.symlink("sub", path),
    "outside": lambda path: os.symlink("..", path),
    "hard.bin": lambda path: os.link(os.path.join(os.path.dirname(path), "..", "secret.bin"), path),
    "fifo": os.mkfifo,
    "null": lambda path: os.symlink("/dev/zero", path),
}


def external(name, line, exit=1, dims=(2, 3), **entries):
    def change(m):
        w = m.graph.initializer.add(name="w", dims=dims, data_type=F32, data_location=1)
        for key, text in entries.items():
            w.external_data.add(key=key, value=text)
    return node("y = Relu(x)", *([f"initializer 'w': external data: {line}"] if line else []), name=f"external data: {name}", exit=exit, change=change, files=FILES)


CASES = [
    tensor("raw data too short", "f32[2, 3] needs 24 bytes, raw_data has 20", raw_data=bytes(20)),
    tensor("raw data too long", "f32[2, 3] needs 24 bytes, raw_data has 28", raw_data=bytes(28)),
    tensor("long raw data too short", "f32[100, 100] needs 40000 bytes, raw_data has 39996", dims=(100, 100), raw_data=bytes(39996)),
    tensor("raw data empty", "f32[2, 3] needs 24 bytes, raw_data has 0", raw_data=b""),
    tensor("no data", "f32[2, 3] needs 24 bytes, it has 0"),
    tensor("typed data too short", "f32[2, 3] needs 24 bytes, float_data has 8", float_data=[1.0, 2.0]),
    tensor("typed data of another type", "int64_data cannot hold f32[2, 3]", int64_data=[1] * 6),
    tensor("data given twice", "data is given twice (raw_data and float_data)", raw_data=bytes(24), float_data=[1.0] * 6),
    tensor("data in an empty tensor", "f32[0, 3] needs 0 bytes, raw_data has 4", dims=(0, 3), raw_data=bytes(4)),
    tensor("negative extent", "negative extent -2", dims=(-2, 3), raw_data=bytes(24)),
    tensor("element count that overflows", "element count overflows int64", dims=(1 << 40, 1 << 40)),
    tensor("element count that wraps to the right one", "element count overflows int64", dims=(1 << 62, 4, 6), raw_data=bytes(24)),
    tensor("byte count that overflows", "byte count overflows int64", dims=(1 << 62,)),
    node("y = Relu(x) q = Identity(w)", name="no elements, in extents whose product overflows", exit=0,
         change=lambda m: m.graph.initializer.add(name="w", dims=[1 << 62, 110, 0], data_type=F32, raw_data=b"")),
    tensor("petabytes", "f32[1125899906842624] needs 4503599627370496 bytes, it has 0", dims=(1 << 50,)),
    tensor("type 0", "unknown data_type 0", data_type=0, raw_data=bytes(24)),
    tensor("type 99", "unknown data_type 99", data_type=99, raw_data=bytes(24)),
    tensor("int4 of the wrong length", "i4[5] needs 3 bytes, raw_data has 2", dims=(5,), data_type=I4, raw_data=bytes(2)),
    tensor("float4 of the wrong length", "f4e2m1[5] needs 3 bytes, raw_data has 5", dims=(5,), data_type=F4, raw_data=bytes(5)),
    tensor("strings in raw data", "strings cannot be in raw_data", data_type=STRING, raw_data=bytes(6)),
    tensor("too few strings", "string[2] needs 2 strings, string_data has 1", dims=(2,), data_type=STRING, string_data=[b"text"]),
    tensor("strings without data", "string[1125899906842624] needs 1125899906842624 strings, string_data has 0", dims=(1 << 50,), data_type=STRING),
    tensor("numbers for strings", "float_data cannot hold strings", dims=(1,), data_type=STRING, float_data=[1.0]),
    tensor("rank 1000", "rank 1000 exceeds 64", dims=(1,) * 1000, raw_data=bytes(4)),
    node("y = Relu(x)", "tensors in segments are not supported", name="segment",
         change=lambda m: m.graph.initializer.add(name="w", dims=[1], data_type=F32, raw_data=bytes(4)).segment.MergeFrom(onnx.TensorProto.Segment(begin=0, end=1 << 40))),
    node("y = Add(x, w)", "initializer 'w' is given twice", name="initializer given twice", initializers="float w = {1}, float w = {2}"),
    node("y = Relu(x)", "the graph has an initializer without a name", name="initializer without a name", change=lambda m: m.graph.initializer.add(dims=[1], data_type=F32, raw_data=bytes(4))),
    node("y = Constant <value = float[3] {1, 2}> ()", "node 'y' (Constant, opset 17): attribute 'value': f32[3] needs 12 bytes, float_data has 8", name="constant too short", outputs="float[3] y"),
    node("y = Constant ()", "takes exactly one attribute, got 0", name="constant without a value"),

    sparse("sparse index out of range", "sparse index 1000000000 not in [0, 6)", [0, 10**9]),
    sparse("sparse index negative", "sparse index -1 not in [0, 6)", [-1, 3]),
    sparse("sparse indices not in order", "sparse index 1 is not in ascending order", [3, 1]),
    sparse("sparse indices of the wrong count", "indices have shape [3], expected [2]", [0, 1, 2]),
    sparse("sparse index tuples of the wrong width", "indices have shape [2, 3]", [0] * 6, dims=(2, 3), index_dims=[2, 3]),
    sparse("sparse indices of another shape", "indices have shape [1, 2], expected [2]", [0, 1], index_dims=[1, 2]),
    sparse("sparse indices that are a scalar", "indices have shape [], expected [1]", [0], index_dims=[], values=1),
    sparse("more sparse values than elements", "4611686018427387904 values in a tensor of 6 elements", [0], values=1 << 62),

    value("input without a type", "input 'x': has no type", lambda g: g.input[0].ClearField("type")),
    value("input of type 99", "input 'x': unknown data_type 99", lambda g: setattr(g.input[0].type.tensor_type, "elem_type", 99)),
    value("input with a negative extent", "input 'x': extent -5 of axis 0", lambda g: setattr(g.input[0].type.tensor_type.shape.dim[0], "dim_value", -5)),
    value("output of type 99", "value 'y' is declared with unknown data_type 99", lambda g: setattr(g.output[0].type.tensor_type, "elem_type", 99)),
    node("y = Relu(x)", "input 'x': element count overflows int64", name="input of 2^80 elements", inputs=f"float[{1 << 40}, {1 << 40}] x", outputs="float[a,b] y"),
    node("y = Relu(x)", "input 'x': rank 70 exceeds 64", name="input of rank 70", inputs=f"float[{','.join(['1'] * 70)}] x", outputs="float[a,b] y"),
    node("y = Relu(x)", "value 'y' is declared with extent 9 of axis 0, computed f32[2, 3]", name="output declared with another shape", outputs="float[9,9] y"),
    node("y = Relu(x)", "value 'y' is declared with rank 1, computed f32[2, 3]", name="output declared with another rank", outputs="float[6] y"),
    node("y = Relu(x)", "value 'y' is declared i64, computed f32[2, 3]", name="output declared with another type", outputs="int64[2,3] y"),
    node("a = Relu(x) y = Relu(a)", "value 'a' is declared with extent 9 of axis 1, computed f32[2, 3]", name="value declared with another shape",
         change=lambda m: m.graph.value_info.append(onnx.helper.make_tensor_value_info("a", F32, [2, 9]))),
    node("y = Add(x, w)", "warning: model.onnx: 1 input with a default value, is compiled in as that constant: 'w'", "value 'w' is declared with rank 1, computed f32[]", name="input with a default of another shape", inputs="float[2,3] x, float[7] w", initializers="float w = {1}"),
    node("y = Relu(x)", "input 'x': its rank is not known; give its extents with --shape", name="input of unknown rank", exit=UNSUPPORTED,
         change=lambda m: m.graph.input[0].type.tensor_type.ClearField("shape")),

    external("fine", None, exit=0, location="w.bin"),
    external("in a folder below", None, exit=0, location="sub/w.bin", offset="0", length="24", checksum="da39a3"),
    external("outside", "location '../secret.bin' leaves the model's folder", location="../secret.bin"),
    external("outside, by detour", "location 'sub/../../secret.bin' leaves the model's folder", location="sub/../../secret.bin"),
    external("absolute", "location '/etc/passwd' leaves the model's folder", location="/etc/passwd"),
    external("symbolic link", "'link.bin' is a symbolic link", location="link.bin"),
    external("symbolic link to a folder", "'linked' is a symbolic link", location="linked/w.bin"),
    external("symbolic link out of the folder", "'outside' is a symbolic link", location="outside/secret.bin"),
    external("hard link", "'hard.bin' has 2 hard links", location="hard.bin"),
    external("missing file", "cannot open 'gone.bin': No such file or directory", location="gone.bin", exit=FILE),
    external("folder", "'sub' is not a regular file", location="sub"),
    external("FIFO", "'fifo' is not a regular file", location="fifo"),
    external("device", "'null' is a symbolic link", location="null"),
    external("offset beyond the file", "offset 4096 + length 24 exceeds file size 24", location="w.bin", offset="4096"),
    external("length beyond the file", "offset 4 + length 24 exceeds file size 24", location="w.bin", offset="4", length="24"),
    external("length of petabytes", "length 4503599627370496, the tensor needs 24 bytes", location="w.bin", length=str(1 << 52)),
    external("offset that overflows", "offset 9223372036854775807 + length 24 exceeds file size 24", location="w.bin", offset=str((1 << 63) - 1)),
    external("negative offset", "offset '-8' is not a size", location="w.bin", offset="-8"),
    external("offset that is code", "offset '0x1;rm' is not a size", location="w.bin", offset="0x1;rm"),
    external("length of another shape", "length 16, the tensor needs 24 bytes", location="w.bin", length="16"),
    external("no location", "no location", offset="0"),
    external("empty location", "no location", location=""),
    external("ONNX Runtime's address of memory", "cannot open '*/_ORT_MEM_ADDR_/*'", location="*/_ORT_MEM_ADDR_/*", offset="140737488355328", exit=FILE),
    external("element count that overflows", None, dims=(1 << 40, 1 << 40), location="w.bin"),
]
CASES[-1].lines = ["initializer 'w': element count overflows int64"]
