#!/usr/bin/env python3
"""Checkpoints of a product's states: they come back bit for bit, and what is damaged, foreign, of another version or of
another model is refused, each with its own message; a full disk leaves the checkpoint before it.

    checkpoints.py --build build
"""
import multiprocessing
import os
import resource
import signal
import struct
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
import small  # noqa: E402
import tally  # noqa: E402
from product import Product, ProductError  # noqa: E402

INVALID_ARGUMENT, WRONG_INPUT, SYSTEM = 1, 2, 7
HEAD, MASK = 64, 2**64 - 1


def mixed(x):
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def with_version(content, version):
    """A head that is whole, but of another version."""
    head = content[:8] + struct.pack("<I", version) + content[12:HEAD - 8]
    total = 0
    for word in struct.unpack("<7Q", head):
        total = mixed(total ^ word)
    return head + struct.pack("<Q", total) + content[HEAD:]


def compiled(build, folder, name, **options):
    model = small.model(os.path.join(folder, name + ".onnx"), **options)
    done = small.lapidary(build, "compile", "-q", "--train", "--optimizer", "adamw", model, "-o", model[:-5] + ".so")
    assert done.returncode == 0, done.stderr
    return model[:-5] + ".so"


def states_of(product):
    return {name: product.state(name).tobytes() for name in product.states}


def train(product, steps):
    x, labels = small.data()
    for _ in range(steps):
        product.call("train_step", {"x": x, "labels": labels})


def refusal(product, path):
    """(status, message) of a load that must fail and change nothing."""
    before = states_of(product)
    try:
        product.load(path)
    except ProductError as error:
        return error.args if states_of(product) == before else (error.args[0], "states were changed")
    return 0, "loaded"


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)
    return path


class Checks:
    def __init__(self, build, folder):
        self.folder = folder
        self.library = compiled(build, folder, "small")
        self.other = compiled(build, folder, "other", hidden=9)
        self.path = os.path.join(folder, "checkpoint")

    def groups(self):
        return [("", check) for check in (self.round_trip, self.damaged, self.fallback, self.refused, self.full_disk)]

    def product(self):
        return Product(self.library, threads=1)

    def round_trip(self):
        first = self.product()
        train(first, 3)
        first.save(self.path, "a note: é")
        second = self.product()
        yield "the note comes back", second.load(self.path) == ("a note: é", "")
        yield "states come back bit for bit", states_of(second) == states_of(first)
        train(first, 2), train(second, 2)
        yield "training goes on to the same bits", states_of(second) == states_of(first)
        yield "nothing else is left", sorted(os.listdir(self.folder)) == sorted(
            ["checkpoint", *(f"{name}.{end}" for name in ("small", "other") for end in ("onnx", "so", "h"))])

    def damaged(self):
        content = open(self.path, "rb").read()
        product, wrong = self.product(), os.path.join(self.folder, "wrong")
        for length in (0, 5, 8, HEAD - 1, HEAD, HEAD + 3, len(content) // 2, len(content) - 1):
            found = refusal(product, write(wrong, content[:length]))
            yield f"{length} bytes of {len(content)}: {found}", found == (WRONG_INPUT, f"checkpoint '{wrong}': truncated")
        found = refusal(product, write(wrong, content + b"x"))
        yield f"a byte more: {found}", found[0] == WRONG_INPUT and "goes on behind its end" in found[1]
        places = [*range(8, HEAD), *np.random.default_rng(1).integers(HEAD, len(content), 200).tolist(), len(content) - 1]
        accepted = []
        for place in places:
            flipped = bytearray(content)
            flipped[place] ^= 1 << place % 8
            status, message = refusal(product, write(wrong, flipped))
            if status != WRONG_INPUT or "damaged" not in message:
                accepted.append((place, message))
        yield f"a flipped bit, {len(places)} places: {accepted}", not accepted
        os.remove(wrong)

    def fallback(self):
        product = self.product()
        train(product, 1)
        product.save(self.path, "first")
        first = states_of(product)
        train(product, 1)
        product.save(self.path, "second")
        content = open(self.path, "rb").read()
        for what, broken in (("truncated", content[:-9]), ("damaged", content[:-9] + b"x" + content[-8:])):
            note, message = self.loaded(product, write(self.path, broken))
            yield f"{what}: {message}", note == "first" and what in message and "loaded the one before" in message
            yield f"{what}: its states", states_of(product) == first
        os.remove(self.path)
        note, message = self.loaded(product, self.path)
        yield f"missing: {message}", note == "first" and "No such file" in message
        write(self.path, content[:-9])
        product.save(self.path, "third")
        yield "a damaged one is replaced", self.loaded(product, self.path) == ("third", "")
        os.remove(self.path + ".previous")
        found = refusal(product, os.path.join(self.folder, "none"))
        yield f"neither there: {found}", found[0] == SYSTEM and "No such file" in found[1]

    @staticmethod
    def loaded(product, path):
        train(product, 1)
        return product.load(path)

    def refused(self):
        product, wrong = self.product(), os.path.join(self.folder, "wrong")
        product.save(self.path, "whole")
        content = open(self.path, "rb").read()
        found = refusal(product, write(wrong, with_version(content, 2)))
        yield f"another version: {found}", found == (INVALID_ARGUMENT, f"checkpoint '{wrong}': version 2, this library reads 1")
        yield "this version, made the same way", refusal(product, write(wrong, with_version(content, 1))) == (0, "loaded")
        found = refusal(product, write(wrong, b"some text, and none of ours"))
        yield f"foreign: {found}", found == (INVALID_ARGUMENT, f"checkpoint '{wrong}': not a checkpoint")
        try:
            product.save(wrong)
            yield "a foreign file is overwritten", False
        except ProductError as error:
            kept = open(wrong, "rb").read() == b"some text, and none of ours"
            yield f"a foreign file is not overwritten: {error}", kept and error.args[0] == SYSTEM
        for ending in (".new", ".old", ".previous"):
            beside = os.path.join(self.folder, "beside")
            with open(beside + ending, "w") as file:
                file.write("some text, and none of ours")
            try:
                product.save(beside)
                yield f"a foreign file is overwritten: {ending}", False
            except ProductError as error:
                kept = open(beside + ending).read() == "some text, and none of ours" and not os.path.exists(beside)
                yield f"a foreign file is not overwritten: {error}", kept and f"beside{ending}'" in str(error)
            os.remove(beside + ending)
        Product(self.other, threads=1).save(os.path.join(self.folder, "of_other"))
        found = refusal(product, os.path.join(self.folder, "of_other"))
        yield f"another model's: {found}", found[0] == INVALID_ARGUMENT and "another model" in found[1]
        for what, path in (("a folder", self.folder), ("a device", "/dev/null"), ("no folder", os.path.join(self.folder, "no", "x"))):
            found = refusal(product, path)
            yield f"loading {what}: {found}", found[0] == SYSTEM
            try:
                product.save(path)
                yield f"saving to {what}", False
            except ProductError as error:
                yield f"saving to {what}: {error}", error.args[0] == SYSTEM
        yield "the device is still there", os.path.exists("/dev/null") and not os.path.isfile("/dev/null")

    def full_disk(self):
        product = self.product()
        product.save(self.path, "before")
        before = open(self.path, "rb").read()

        def attempt(results):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2))
            try:
                self.product().save(self.path, "after")
                results.put("saved")
            except ProductError as error:
                results.put(error.args)

        context = multiprocessing.get_context("fork")
        results = context.Queue()
        process = context.Process(target=attempt, args=(results,))
        process.start()
        found = results.get(timeout=60)
        process.join()
        yield f"a full disk: {found}", found[0] == SYSTEM and "too large" in found[1]
        yield "the checkpoint is as before", open(self.path, "rb").read() == before
        yield "nothing half-made is left", not [name for name in os.listdir(self.folder) if name.endswith((".new", ".old"))]


if __name__ == "__main__":
    sys.exit(tally.run_in_folder(Checks, __doc__))
