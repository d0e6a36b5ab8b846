#!/usr/bin/env python3
"""Fits the polynomials of codegen/cpu/maths_*.cpp and prints them, highest power first, with their largest error.

Near-minimax by Lawson's reweighted least squares on a dense grid in long double; coefficients are rounded to the type
they are used in one by one, from the low power up, and the rest fitted again around what rounding moved.
Usage: scripts/fit_maths.py"""
import math
import numpy as np

LD = np.longdouble


def minimax(basis, target, weight):
    """Coefficients c with max |weight·(basis·c − target)| about least."""
    w = np.ones(len(target))
    best, best_error = None, np.inf
    for _ in range(400):
        scale = np.sqrt(w) * weight
        c, *_ = np.linalg.lstsq((basis * scale[:, None]).astype(float), (target * scale).astype(float), rcond=None)
        error = np.abs(weight * (basis @ c.astype(LD) - target)).astype(float)
        if error.max() < best_error:
            best, best_error = c, error.max()
        w *= error / error.max() + 1e-3
        w /= w.sum()
    return best, best_error


def fit(name, lo, hi, powers, function, weight, dtype=np.float32, points=4000):
    """function(x) ≈ Σ c[i]·x^powers[i] on [lo, hi], error times weight(x) least."""
    angle = np.linspace(0, math.pi, points)
    x = (LD(lo + hi) / 2 + LD(hi - lo) / 2 * np.cos(angle)).astype(LD)
    basis = np.stack([x**p for p in powers], 1)
    target, w = function(x), weight(x)
    fixed = []
    rest = target.copy()
    for i in range(len(powers)):
        c, _ = minimax(basis[:, i:], rest, w)
        fixed.append(dtype(c[0]))
        rest = rest - basis[:, i] * LD(fixed[-1])
    error = np.abs(w * rest).max()
    digits = 9 if dtype == np.float32 else 17
    print(f"{name}: error 2^{math.log2(error):.1f}")
    print("  {" + ", ".join(f"{float(c):.{digits}g}" for c in reversed(fixed)) + "}")


def erf(x):
    return np.array([LD(math.erf(v)) for v in x])


def minus_log_erfc(x):
    return -np.log(np.array([LD(math.erfc(v)) for v in x]))


ln2 = math.log(2)
# e^r = 1 + r + r²·P(r)
fit("exp", -ln2 / 2, ln2 / 2, range(5), lambda x: (np.expm1(x) - x) / x**2, lambda x: x**2 / np.exp(x), points=4001 - 1)
# log(1+f) = f − f²/2 + f³·P(f)
fit("log", -1 / 3, 1 / 3, range(8), lambda f: (np.log1p(f) - f + f**2 / 2) / f**3, lambda f: f**3 / np.log1p(f))
# tanh(x) = x + x³·P(x²)
fit("tanh", 1e-4, 0.625**2, range(5), lambda s: (np.tanh(np.sqrt(s)) / np.sqrt(s) - 1) / s, lambda s: s * np.sqrt(s) / np.tanh(np.sqrt(s)))
# erf(x) = x + x·P(x²), x below 0.92
fit("erf small", 1e-4, 0.925**2, range(6), lambda s: erf(np.sqrt(s)) / np.sqrt(s) - 1, lambda s: np.sqrt(s) / erf(np.sqrt(s)))
# erf(x) = 1 − e^(−t·P(t)), t = |x|
fit("erf large", 0.92, 4.0, range(7), lambda t: minus_log_erfc(t) / t, lambda t: t * np.exp(-minus_log_erfc(t)) / erf(t))
# sin(x) = x + x³·P(x²); cos(x) = 1 − x²/2 + x⁴·P(x²), x below π/4
q = (math.pi / 4 * 1.0001) ** 2
fit("sin", 1e-4, q, range(4), lambda s: (np.sin(np.sqrt(s)) / np.sqrt(s) - 1) / s, lambda s: s * np.sqrt(s) / np.sin(np.sqrt(s)))
fit("cos", 1e-2, q, range(4), lambda s: (np.cos(np.sqrt(s)) - 1 + s / 2) / s**2, lambda s: s**2 / np.cos(np.sqrt(s)))
# log2(m) = t·P(t²) with t = (m−1)/(m+1), m between √½ and √2; 2^f for f within ±½. In f64, for pow.
t2 = ((math.sqrt(2) - 1) / (math.sqrt(2) + 1)) ** 2 * 1.0001
fit("log2", 1e-6, t2, range(7), lambda s: 2 / LD(ln2) * np.arctanh(np.sqrt(s)) / np.sqrt(s), lambda s: np.sqrt(s) / np.arctanh(np.sqrt(s)), np.float64)
fit("exp2", -0.5, 0.5, range(8), lambda f: np.exp2(f), lambda f: np.exp2(-f), np.float64)
