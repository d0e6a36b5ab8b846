"""bench/figures.py holds each figure against its limit, and misses what it should."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))
import figures  # noqa: E402


def held(found):
    return [figure.held() for figure in found]


def row(least, median):
    return {"ratio_min": least, "ratio_median": median}


assert held(figures.speed_figures([row(1.2, 1.3), row(0.9, 0.8)], 1)) == [True] * 4
assert held(figures.speed_figures([row(1.2, 1.1), row(0.8, 0.8)], 1)) == [False, True, False, True]
assert held(figures.speed_figures([row(3, 3), row(0.74, 0.9)], 2)) == [True, False, True, True]
assert held(figures.speed_figures([row(3, 3), None], 2)) == [False] * 4   # a model that does not run

SHARES = {"constant B": 0.95, "constant B, symbolic M": 0.95, "both live": 0.85, "both live, symbolic M": 0.83}
assert held(figures.gemm_figures(SHARES)) == [True] * 4
assert held(figures.gemm_figures({**SHARES, "constant B": 0.89})) == [False, True, True, True]
assert held(figures.gemm_figures({**SHARES, "both live, symbolic M": 0.82})) == [True, True, True, False]

assert held(figures.conv_figures({"direct": [0.9, 0.8], "winograd": [0.1]})) == [True]
assert held(figures.conv_figures({"direct": [0.9, 0.7], "winograd": [2.0]})) == [False]
assert held(figures.conv_figures({"direct": [], "winograd": [2.0]})) == [False]

assert held(figures.compile_figures("resnet50", 2.9, 440, 100)) == [True, True]
assert held(figures.compile_figures("resnet50", 3.1, 460, 100)) == [False, False]
assert held(figures.cuda_figures("resnet50", 14.9)) == [True]
assert held(figures.cuda_figures("resnet50", float("inf"))) == [False]
assert figures.Figure("time", 3.14159, 3, " s", at_most=True).line() == "MISS  time: 3.14 s (at most 3 s)"
print("as they should be")
