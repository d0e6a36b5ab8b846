#!/usr/bin/env python3
"""The files that `lapidary train` takes data from: the same samples in every format train to the same bits, and each
thing that can be wrong with a file or an array is one line, said before training starts.

    data_files.py --build build
"""
import gzip
import io
import os
import struct
import sys
import zipfile

import numpy as np
from onnx import TensorProto

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
import small  # noqa: E402
import tally  # noqa: E402

SAMPLES, BATCH = 40, 10
IDX_TYPES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(savez=np.savez, **arrays):
    file = io.BytesIO()
    savez(file, **arrays)
    return file.getvalue()


def idx(array):
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, IDX_TYPES[str(array.dtype)], array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def csv(columns, header=None, separator=",", end="\n"):
    lines = [separator.join(map(repr, map(float, row))) for row in columns]
    return (end.join(([separator.join(header)] if header else []) + lines) + end).encode()


class Checks:
    def __init__(self, build, folder):
        self.build, self.folder = build, folder
        self.model = small.model(os.path.join(folder, "small.onnx"))
        self.pictures = small.model(os.path.join(folder, "pictures.onnx"), features=(1, 2, 3))
        self.fixed = small.model(os.path.join(folder, "fixed.onnx"), batch=BATCH)
        self.tokens = small.model(os.path.join(folder, "tokens.onnx"), dtype=TensorProto.INT64)
        self.x, self.labels = small.data(SAMPLES)

    def groups(self):
        return [("formats", self.formats), ("types", self.types), ("wrong files", self.wrong_files), ("wrong arrays", self.wrong_arrays)]

    def put(self, name, content):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def train(self, path, *arguments, model=None):
        """(what the process said, the trained weights)"""
        output = os.path.join(self.folder, "trained.onnx")
        if os.path.exists(output):
            os.remove(output)
        done = small.lapidary(self.build, "train", model or self.model, "--data", path, "--batch", BATCH, "--epochs", 2, "--threads", 1,
                              "-o", output, *arguments)
        weights = b"".join(array.tobytes() for array in small.initializers(output).values()) if os.path.exists(output) else None
        return done, weights

    def formats(self):
        x, labels, train = self.x, self.labels, self.train
        done, expected = train(self.put("stored.npz", npz(x=x, labels=labels)))
        yield f"an .npz: {done.stderr}", done.returncode == 0 and expected

        def same(what, path, *arguments, model=None):
            done, weights = train(path, *arguments, model=model)
            return f"{what}: {done.stderr.strip()}", weights == expected

        deflated = self.put("deflated.npz", npz(np.savez_compressed, x=x, labels=labels))
        yield same("a deflated .npz", deflated)
        yield same("more arrays than are needed", self.put("more.npz", npz(x=x, labels=labels, other=x)))
        yield same("Fortran's order", self.put("fortran.npz", npz(x=np.asfortranarray(x), labels=labels)))
        self.put("folder/x.npy", npy(x)), self.put("folder/labels.npy", npy(labels))
        yield same("a folder", os.path.join(self.folder, "folder"))
        x_file, label_file = self.put("x.npy", npy(x)), self.put("l.npy", npy(labels))
        yield same(".npy files", x_file, "--labels", label_file)
        yield same("IDX", self.put("x.idx", idx(x)), "--labels", self.put("l.idx", idx(labels.astype(np.uint8))))
        yield same("IDX compressed", self.put("x.gz", gzip.compress(idx(x))), "--labels",
                   self.put("l.gz", gzip.compress(idx(labels.astype(np.int32)))))
        names = ["a", "b", "c", "d", "e", "f", "kind"]
        table = np.column_stack([x, labels])
        yield same("CSV", self.put("plain.csv", csv(table)))
        yield same("CSV with names", self.put("names.csv", csv(table, names)))
        yield same("CSV of another separator, and of DOS", self.put("dos.csv", csv(table, names, ";", "\r\n")))
        first = np.column_stack([labels, x])
        yield same("CSV with the label first", self.put("first.csv", csv(first)), "--label-column", 1)
        yield same("CSV with the label by name", self.put("named.csv", csv(first, names[-1:] + names[:-1])), "--label-column", "kind")
        yield same("CSV and labels apart", self.put("inputs.csv", csv(x)), "--labels", self.put("labels.csv", csv(labels[:, None])))
        yield same("samples of another shape", deflated, model=self.pictures)
        yield same("labels with an axis of one", self.put("column.npz", npz(x=x, labels=labels[:, None])))
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            with file.open("x.npy", "w", force_zip64=True) as entry:
                entry.write(npy(x))
            file.writestr("labels.npy", npy(labels))
            file.comment = b"a comment behind the end"
        yield same("an archive with a comment, and ZIP64's fields", self.put("comment.npz", archive.getvalue()))

    def types(self):
        x, labels, train = self.x, self.labels, self.train
        _, expected = train(self.put("f4.npz", npz(x=x, labels=labels)))
        for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.uint64, np.float32, np.float64):
            done, weights = train(self.put("type.npz", npz(x=x.astype(np.float64), labels=labels.astype(dtype))))
            yield f"labels of {dtype.__name__}: {done.stderr.strip()}", weights == expected
        bytes_ = (np.abs(x) * 50).astype(np.uint8)
        _, scaled = train(self.put("scaled.npz", npz(x=(bytes_ * (1 / 255)).astype(np.float32), labels=labels)))
        done, weights = train(self.put("bytes.npz", npz(x=bytes_, labels=labels)), "--scale", "1/255")
        yield f"bytes with --scale: {done.stderr.strip()}", weights and weights == scaled
        _, plain = train(self.put("plain.npz", npz(x=bytes_.astype(np.float32), labels=labels)))
        done, weights = train(self.put("bytes.npz", npz(x=bytes_, labels=labels)))
        yield f"bytes as they are: {done.stderr.strip()}", weights and weights == plain
        done, integers = train(self.put("tokens.npz", npz(x=bytes_.astype(np.int64), labels=labels)), model=self.tokens)
        yield f"whole numbers for whole numbers: {done.stderr.strip()}", integers == plain
        done, floats = train(self.put("tokens.npz", npz(x=bytes_.astype(np.float64), labels=labels)), model=self.tokens)
        yield f"floats that are whole: {done.stderr.strip()}", floats == plain

    def refused(self, what, path, expected, *arguments, model=None, status=1):
        done, weights = self.train(path, *arguments, model=model)
        lines = done.stderr.splitlines()
        fine = done.returncode == status and len(lines) == 1 and expected in lines[0] and not done.stdout and weights is None
        return f"{what}: {done.returncode}, {done.stderr.strip()}", fine

    def wrong_files(self):
        put, refused = self.put, self.refused
        archive = npz(np.savez_compressed, x=self.x, labels=self.labels)
        yield refused("a file that is not there", os.path.join(self.folder, "none.npz"), "none.npz: ", status=4)
        yield refused("an empty file", put("empty.npz", b""), "empty.npz: the file is empty")
        yield refused("an archive cut off", put("cut.npz", archive[:-30]), "cut.npz: the archive is truncated")
        yield refused("half an archive", put("half.npz", archive[:len(archive) // 2]), "half.npz: the archive is truncated")
        broken = bytearray(archive)
        broken[len(archive) // 3] ^= 4
        yield refused("a damaged archive", put("damaged.npz", bytes(broken)), "is damaged")
        refusals, crashes = 0, []
        for place in np.random.default_rng(3).integers(0, len(archive), 40).tolist():
            broken = bytearray(archive)
            broken[place] ^= 1 << place % 8
            done, _ = self.train(put("fuzz.npz", bytes(broken)))
            refusals += done.returncode in (1, 3)
            if done.returncode not in (0, 1, 3):
                crashes.append((place, done.returncode, done.stderr))
        yield f"40 flipped bits: {refusals} refused, crashes {crashes}", refusals and not crashes
        pictures = idx(self.x)
        labels = ("--labels", put("l.npy", npy(self.labels)))
        yield refused("IDX cut off", put("cut.idx", pictures[:-3]), "cut.idx: the file is truncated", *labels)
        yield refused("IDX with more behind it", put("long.idx", pictures + b"abc"), "long.idx: the file is too long", *labels)
        yield refused("gzip cut off", put("cut.gz", gzip.compress(pictures)[:-30]), "the compressed file is truncated", *labels)
        squeezed = bytearray(gzip.compress(pictures))
        squeezed[-6] ^= 1
        yield refused("gzip damaged", put("damaged.gz", bytes(squeezed)), "the compressed file is damaged", *labels)
        yield refused("a .npy cut off", put("cut.npy", npy(self.x)[:-1]), "the shape needs", *labels)
        yield refused("a word in CSV", put("word.csv", b"1,2,3,4,5,6,0\n1,2,x,4,5,6,0\n"), "word.csv: line 2, column 3: 'x' is no number")
        yield refused("a short line in CSV", put("short.csv", b"1,2,3,4,5,6,0\n\n1,2\n"), "short.csv: line 3 has 2 columns, expected 7")
        yield refused("CSV of names alone", put("names.csv", b"a,b,c\n"), "names.csv: there are no samples")
        yield refused("CSV of one column", put("one.csv", b"1\n2\n"), "one column")
        yield refused("a column that is not there", put("few.csv", b"a,b,c,d,e,f,g\n1,2,3,4,5,6,0\n"), "has no column 'kind'",
                      "--label-column", "kind", status=2)
        os.makedirs(os.path.join(self.folder, "bare"), exist_ok=True)
        yield refused("a folder without arrays", os.path.join(self.folder, "bare"), "holds no .npy files")

    def wrong_arrays(self):
        x, labels = self.x, self.labels

        def refused(what, expected, *arguments, model=None, status=1, **arrays):
            return self.refused(what, self.put("wrong.npz", npz(**arrays)), expected, *arguments, model=model, status=status)

        yield refused("no labels", "array 'labels' is missing; there are: x", x=x)
        yield refused("no inputs", "array 'x' is missing; there are: y, labels", y=x, labels=labels)
        yield refused("another shape", "array 'x': a sample is 5, the model wants 6", x=x[:, :5], labels=labels)
        yield refused("a label of two", "array 'labels': a sample is 2, the model wants scalar", x=x, labels=np.stack([labels, labels], 1))
        yield refused("no axis of samples", "array 'x' has no axis of samples", x=np.float32(1), labels=labels)
        yield refused("text", "array 'x' has element type string, the model wants f32", x=x.astype(str), labels=labels)
        yield refused("complex numbers", "element type c8 is not supported", x=x.astype(np.complex64), labels=labels, status=3)
        yield refused("other numbers of samples", "array 'labels' has 39 samples, 'x' has 40", x=x, labels=labels[:-1])
        yield refused("none", "array 'x' has no samples", x=x[:0], labels=labels[:0])
        yield refused("fewer than a batch", "7 samples, a batch has 10", x=x[:7], labels=labels[:7])
        yield refused("fewer than the model's batch", "7 samples, a batch has 10", x=x[:7], labels=labels[:7], model=self.fixed)
        for value, name in ((np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")):
            broken = x.copy()
            broken[17, 4] = value
            yield refused(name, f"array 'x' at [17, 4] is {name}", x=broken, labels=labels)
        for value in (small.CLASSES, -1):
            beyond = labels.copy()
            beyond[23] = value
            yield refused(f"label {value}", f"array 'labels': label 23 is {value}, the model has 3 classes", x=x, labels=beyond)
        half = labels.astype(np.float32)
        half[3] = 0.5
        yield refused("half a label", "array 'labels' at [3] is 0.5, the model wants whole numbers", x=x, labels=half)
        large = labels.astype(np.uint64)
        large[5] = 2**63 + 1
        yield refused("a label beyond i64", f"array 'labels' at [5] is {2**63 + 1}, which i64 does not hold", x=x, labels=large)
        yield refused("a number beyond f32", "array 'x' at [0, 1] is 1e+300, which f32 does not hold", x=np.array([[0, 1e300] * 3] * 40), labels=labels)
        yield refused("broken numbers for whole ones", "the model wants whole numbers", x=x, labels=labels, model=self.tokens)
        ignored = labels.copy()
        ignored[2] = -100
        done, weights = self.train(self.put("ignored.npz", npz(x=x, labels=ignored)))
        yield f"a label that does not count: {done.stderr.strip()}", done.returncode == 0 and weights


if __name__ == "__main__":
    sys.exit(tally.run_in_folder(Checks, __doc__))
