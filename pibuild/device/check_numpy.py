"""Prove a numpy wheel on the device: compare each part with arithmetic, the standard library or numpy on x86.

    check_numpy.py [FOLDER]

Print what each check measured, as one JSON document. Exit with 1 and a traceback if something differs. FOLDER is not
used. This file runs on Python 2.7 and 3.4 and later, with numpy 1.16 and later. Products are of whole numbers, which
are exact in any order of summation. Where rounding may differ, the allowed difference stands beside the comparison.
"""

from __future__ import absolute_import, division, print_function

import cmath
import glob
import importlib
import json
import math
import operator
import os
import pickle
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

NEW = int(np.__version__.split(".")[0]) >= 2
SIMD = np.__config__.CONFIG.get("SIMD Extensions", {}).get("baseline", []) if NEW else []
INTEGERS = "bBhHiIlLqQ"
FLOATS = "efdg"
COMPLEX = "FDG"


def same(found, expected, what):
    """Raise AssertionError if the shapes or any values differ; NaN equals NaN."""
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected), what, verbose=True)


def close(found, expected, allowed, what):
    """Return the largest difference, relative to the largest value. Raise AssertionError if it is above `allowed`."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, (what, found.shape, expected.shape)
    scale = max(float(np.max(np.abs(expected))), 1e-300)
    off = float(np.max(np.abs(found - expected))) / scale
    assert off <= allowed, "{}: off by {} of the largest value, allowed are {}".format(what, off, allowed)
    return off


def numbers(seed, *shape):
    """Return whole numbers from -9 to 9, the same on every machine, without numpy.random."""
    values, state = [], seed
    for _ in range(int(np.prod(shape))):
        state = (state * 1103515245 + 12345) % 2**31
        values.append((state >> 16) % 19 - 9)
    return np.array(values, np.int64).reshape(shape)


def configuration():
    """Check that this numpy is the wheel's, and was built for this machine with OpenBLAS."""
    package = os.path.dirname(np.__file__)
    assert package.startswith(os.path.join(sys.prefix, "lib")), package
    assert np.__version__ == os.environ["PIBUILD_VERSION"], np.__version__
    with open("{}-{}.dist-info/INSTALLER".format(package, np.__version__)) as file:
        assert file.read().strip() == "pip"  # the numpy that proves other wheels is not installed by pip
    sizes = {code: np.dtype(code).itemsize for code in INTEGERS + FLOATS + COMPLEX + "pPO?"}
    expected = dict(zip("bBhHiIlLqQefdgFDGpPO?", (1, 1, 2, 2, 4, 4, 4, 4, 8, 8, 2, 4, 8, 8, 8, 16, 16, 4, 4, 4, 1)))
    assert sizes == expected, sizes
    assert np.little_endian and sys.byteorder == "little" and np.dtype("i8").alignment == 8
    limits = np.finfo(np.longdouble)
    assert (limits.bits, limits.nmant, limits.eps) == (64, 52, sys.float_info.epsilon), repr(limits)
    if NEW:
        config = np.__config__.CONFIG
        assert config["Machine Information"]["host"]["family"] == "arm", config
        blas = config["Build Dependencies"]["blas"]
        assert blas["found"] and blas["name"] == "openblas", config
    else:
        assert ("HAVE_CBLAS", None) in np.__config__.blas_opt_info["define_macros"], np.__config__.blas_opt_info
    return {"numpy": np.__version__, "python": platform.python_version(), "simd": SIMD}


def whole():
    """Import every extension module and every public package; check that the static libraries are for ARM."""
    package = os.path.dirname(np.__file__)
    modules = []
    for folder, _, names in os.walk(package):
        dots = os.path.relpath(folder, os.path.dirname(package)).replace(os.sep, ".")
        modules += [dots + "." + name.split(".")[0] for name in names if name.endswith(".so")]
    names = "ctypeslib fft fft.helper f2py linalg linalg.lapack_lite ma matlib polynomial random testing"
    names += " _core char exceptions rec strings typing" if NEW else " compat"
    names += " distutils distutils.core" if sys.version_info < (3, 12) else ""
    for name in sorted(modules) + ["numpy." + name for name in names.split()]:
        importlib.import_module(name)
    assert len(modules) >= (14 if NEW else 6), modules
    assert not os.path.exists(os.path.join(package, "distutils", "site.cfg"))  # it has paths of the build machine
    include = np.get_include()
    assert os.path.exists(os.path.join(include, "numpy", "arrayobject.h")), include
    archives = [path for pattern in ("*/lib/*.a", "*/*/lib/*.a") for path in glob.glob(os.path.join(package, pattern))]
    assert len(archives) == (2 if NEW else 1), archives
    for path in archives:
        with open(path, "rb") as file:
            objects = file.read().split(b"\x7fELF")[1:]
        machines = {struct.unpack_from("<H", rest, 14)[0] for rest in objects if rest[:1] == b"\x01"}
        assert objects and machines == {40}, (path, machines)
    return {"extension modules": len(modules)}


def f2py():
    """Make a module's C source from Fortran, with the program that pip installed."""
    folder = tempfile.mkdtemp()
    try:
        with open(os.path.join(folder, "twice.f"), "w") as file:
            file.write("      subroutine twice(x, n)\n      integer n\n      double precision x(n)\n")
            file.write("cf2py intent(in, out) x\n      x = 2 * x\n      end\n")
        program = os.path.join(sys.prefix, "bin", "f2py")
        command = [sys.executable, program, "-m", "twice", "twice.f"]
        subprocess.check_output(command, cwd=folder, stderr=subprocess.STDOUT)
        with open(os.path.join(folder, "twicemodule.c")) as file:
            assert "f2py_rout_twice_twice" in file.read()
    finally:
        shutil.rmtree(folder)


def multiplied(a, b):
    """Return the product of two matrices, which are lists of Python's numbers."""
    columns = list(zip(*b))
    return [[sum(map(operator.mul, row, column)) for column in columns] for row in a]


def products():
    """Compare products of each type with Python's: small ones in all layouts, and large ones for OpenBLAS's blocks."""
    a, b = numbers(1, 23, 37), numbers(2, 37, 19)
    exact, gram = np.array(multiplied(a.tolist(), b.tolist())), np.array(multiplied(a.tolist(), a.T.tolist()))
    for code in INTEGERS + FLOATS + COMPLEX + "O":
        x, y, z, g = (matrix.astype(code) for matrix in (a, b, exact, gram))
        layouts = [(x, y), (x.copy("F"), y), (x, y.copy("F")), (x.copy("F"), y.copy("F"))]
        layouts += [(np.repeat(np.repeat(x, 2, 0), 3, 1)[::2, ::3], y), (x[::-1][::-1], y[:, ::-1][:, ::-1])]
        for left, right in layouts:
            same(np.dot(left, right), z, "dot of " + code)
            if code != "O" or NEW:  # numpy 1.16 has no such product of objects
                same(np.matmul(left, right), z, "matmul of " + code)
        same(np.dot(x, x.T), g, "a matrix by its transpose, of " + code)
        same(np.dot(x[3], y), z[3], "vector by matrix of " + code)
        same(np.dot(x, y[:, 5]), z[:, 5], "matrix by vector of " + code)
        same(np.dot(x[4, ::-1], y[::-1, 6]), z[4, 6], "vector by vector of " + code)
        same(np.vdot(x[4], y[:, 6]), z[4, 6], "vdot of " + code)
        same(np.tensordot(x, y, 1), z, "tensordot of " + code)
        if code != "O" or NEW:
            same(np.einsum("ij,jk", x, y), z, "einsum of " + code)
        same(np.inner(x, y.T), z, "inner of " + code)
    truth = [
        [any(p and q for p, q in zip(row, column)) for column in zip(*(b > 5).tolist())] for row in (a > 5).tolist()
    ]
    same(np.matmul(a > 5, b > 5), truth, "matmul of booleans")
    a, b = numbers(3, 131, 270), numbers(4, 270, 67)
    product = np.dot(a, b)
    for code in "fd":
        same(np.dot(a.astype(code), b.astype(code)), product, "large product of " + code)
    turned = np.dot(a[::-1], b), np.dot(a, b[::-1]), np.dot(a[::-1], b[::-1])
    for code in COMPLEX[:2]:
        p, q = (a + 1j * a[::-1]).astype(code), (b + 1j * b[::-1]).astype(code)
        same(np.dot(p, q), (product - turned[2]) + 1j * (turned[0] + turned[1]), "large product of " + code)
        same(np.dot(p, q[:, 3]), np.dot(p, q)[:, 3], "large complex product with a vector of " + code)
    batch = numbers(5, 3, 1, 6, 7), numbers(6, 2, 7, 5)
    same(np.matmul(batch[0] * 1.0, batch[1])[2, 1], np.dot(batch[0][2, 0], batch[1][1]), "batch of products")
    same(np.dot(np.ones((3, 0)), np.ones((0, 2))), np.zeros((3, 2)), "empty product")


def threads():
    """Multiply in several threads at once."""
    a, b = numbers(7, 90, 80) * 1.0, numbers(8, 80, 70) * 1.0
    expected, are_equal = np.dot(a, b), [None] * 4

    def run(place):
        are_equal[place] = all(np.array_equal(np.dot(a, b), expected) for _ in range(20))

    started = [threading.Thread(target=run, args=(place,)) for place in range(4)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    assert are_equal == [True] * 4, are_equal


def linear_algebra():
    """Decompose matrices and multiply the parts, in each type that LAPACK has; return the largest differences."""
    worst = {}
    for code, allowed in (("f", 2e-4), ("d", 1e-11), ("F", 2e-4), ("D", 1e-11)):
        a = numbers(9, 41, 41).astype(code) + (1j * numbers(10, 41, 41) if code in COMPLEX else 0)
        a = (a + np.eye(41) * 30).astype(code)
        b, adjoint = numbers(11, 41, 3).astype(code), a.conj().T
        hermitian, positive, tall = a + adjoint, np.dot(adjoint, a), a[:, :9]
        off = [close(np.dot(a, np.linalg.solve(a, b)), b, allowed, "solve")]
        off += [close(np.dot(a, np.linalg.inv(a)), np.eye(41), allowed, "inv")]
        u, s, v = np.linalg.svd(tall, full_matrices=False)
        assert np.all(s[:-1] >= s[1:])
        off += [
            close(np.dot(u * s, v), tall, allowed, "svd"),
            close(np.dot(v, v.conj().T), np.eye(9), allowed, "svd's v"),
        ]
        values, vectors = np.linalg.eigh(hermitian)
        off += [close(np.dot(hermitian, vectors), vectors * values, allowed, "eigh")]
        off += [close(np.linalg.eigvalsh(hermitian), values, allowed, "eigvalsh")]
        values, vectors = np.linalg.eig(a)
        off += [close(np.dot(a, vectors), vectors * values, allowed, "eig")]
        off += [close(np.sum(values), np.trace(a), allowed, "the sum of the eigenvalues")]
        q, r = np.linalg.qr(tall)
        off += [close(np.dot(q, r), tall, allowed, "qr"), close(np.tril(r, -1) + 1, np.ones_like(r), 0, "qr's r")]
        lower = np.linalg.cholesky(positive)
        off += [close(np.dot(lower, lower.conj().T), positive, allowed, "cholesky")]
        sign, logarithm = np.linalg.slogdet(a)
        off += [
            close(
                sign * np.exp(logarithm - 140), np.prod(values.astype("D") / math.exp(140 / 41.0)), allowed, "slogdet"
            )
        ]
        fitted = np.linalg.lstsq(tall, b, rcond=-1)[0]
        off += [close(np.dot(tall.conj().T, np.dot(tall, fitted)), np.dot(tall.conj().T, b), allowed, "lstsq")]
        off += [close(np.dot(np.linalg.pinv(tall), tall), np.eye(9), allowed, "pinv")]
        assert np.linalg.matrix_rank(np.dot(tall, tall.conj().T)) == 9
        worst[code] = max(off)
    close(np.linalg.det([[2.0, 1], [7, 5]]), 3.0, 1e-15, "det")
    same(
        np.linalg.matrix_power(numbers(12, 3, 3), 3),
        multiplied(multiplied(*[numbers(12, 3, 3).tolist()] * 2), numbers(12, 3, 3).tolist()),
        "matrix_power",
    )
    try:
        np.linalg.inv(np.zeros((2, 2)))
    except np.linalg.LinAlgError:
        return worst
    raise AssertionError("a singular matrix was inverted")


def fourier():
    """Compare transforms with sums by Python's own exp, for lengths of all kinds; return the largest difference."""
    worst = 0.0
    for length in (1, 2, 3, 4, 5, 7, 8, 11, 13, 30, 64, 97):
        x = (numbers(13, length) + 1j * numbers(14, length)).tolist()
        turn = [cmath.exp(-2j * math.pi * k / length) for k in range(length)]
        expected = [sum(x[j] * turn[j * k % length] for j in range(length)) for k in range(length)]
        worst = max(worst, close(np.fft.fft(x), expected, 1e-12, "fft of %d" % length))
        worst = max(worst, close(np.fft.ifft(expected), x, 1e-12, "ifft of %d" % length))
        real = np.array(x).real
        worst = max(worst, close(np.fft.rfft(real), np.fft.fft(real)[: length // 2 + 1], 1e-12, "rfft"))
        worst = max(worst, close(np.fft.irfft(np.fft.rfft(real), length), real, 1e-12, "irfft"))
        close(np.fft.fft(np.array(x, "F")), expected, 1e-6, "fft of complex64")
    image = numbers(15, 6, 10) * 1.0
    worst = max(worst, close(np.fft.ifft2(np.fft.fft2(image)), image, 1e-12, "fft2"))
    close(np.fft.fft2(image), np.fft.fft(np.fft.fft(image, axis=0), axis=1), 1e-12, "fft2 by axes")
    close(np.fft.fftshift(np.fft.fftfreq(6)), [-0.5, -1 / 3.0, -1 / 6.0, 0, 1 / 6.0, 1 / 3.0], 1e-16, "fftfreq")
    return worst


def random():
    """Compare random numbers with numpy's on x86: of RandomState, which never changes, and of numpy 2's generators."""
    state = np.random.RandomState(1234)
    drawn = (
        ("random_sample", state.random_sample(2), [0.1915194503788923, 0.6221087710398319]),
        ("random_sample", state.random_sample(), 0.4377277390071145),
        ("randint", state.randint(0, 1000, 5), [664, 655, 689, 279, 233]),
        ("normal", state.standard_normal(3), [0.8595884137174165, -0.6365235044173491, 0.015696372114428918]),
        ("exponential", state.standard_exponential(2), [1.150314935793702, 1.24723536830511]),
        ("gamma", state.standard_gamma(2.5, 2), [0.25824776017745676, 2.3884566151554325]),
        ("beta", state.beta(0.5, 0.5, 2), [0.26011659462194897, 0.040097326181922716]),
        ("binomial", state.binomial(100, 0.3, 3), [37, 32, 29]),
        ("binomial", state.binomial(10, 0.3, 3), [4, 2, 3]),
        ("poisson", state.poisson(40, 3), [48, 46, 44]),
        ("poisson", state.poisson(4, 3), [4, 1, 3]),
        ("permutation", state.permutation(8), [6, 0, 1, 3, 4, 7, 5, 2]),
        ("choice", state.choice(10, 3, replace=False), [3, 1, 5]),
        ("bytes", list(bytearray(state.bytes(4))), [89, 41, 190, 202]),
        ("state", state.get_state()[1][:3], [2260313690, 348938374, 3392255680]),
        ("seed", np.random.RandomState([1, 2, 3]).randint(0, 2**31 - 1, 2), [471850590, 1552691353]),
    )
    for name, found, expected in drawn:
        np.testing.assert_allclose(found, expected, rtol=1e-12, err_msg="RandomState's " + name)
    return len(drawn) + (generators() if NEW else 0)


def generators():
    """Check each bit generator of numpy 2: large integers, small ones, uniform, normal and exponential numbers."""
    expected = {
        "MT19937": (
            [1110342434319799908, 3723488375724315026],
            [87, 27, 95, 3, 0, 1, 2, 24, 23],
            [0.6752899264264728, 0.28771413176923166, 1.8832546259905998, 0.2605065107345581, -0.030629342421889305],
        ),
        "PCG64": (
            [9008465316566228444, 3506686710911391296],
            [17, 92, 10, 1, 3, 0, 2, 16, 18],
            [0.3185339287822264, -1.6661354573179643, 0.9409200827801937, 0.5556163191795349, 1.2940735816955566],
        ),
        "PCG64DXSM": (
            [4990244311874384913, 795408415780920008],
            [4, 77, 2, 3, 2, 0, 1, 18, 21],
            [0.5694083306196249, 0.5084451418058109, 0.8459498324161315, 0.840921938419342, -1.8945003747940063],
        ),
        "Philox": (
            [5139788051328421575, 2063602558280004192],
            [80, 29, 72, 3, 1, 2, 0, 21, 17],
            [0.7638736392751975, -0.7192002706548987, 3.7723560718885656, 0.7001423239707947, -0.2119806706905365],
        ),
        "SFC64": (
            [7794847703771135446, 5085583500219485528],
            [70, 31, 28, 2, 1, 3, 0, 19, 21],
            [0.023431278987841586, -1.1167290878719198, 1.3904692963316663, 0.09527474641799927, 0.09155510365962982],
        ),
    }
    for name, (large, small, rest) in sorted(expected.items()):
        generator = np.random.Generator(getattr(np.random, name)(1234))
        same(generator.integers(0, 2**63 - 1, 2), large, name)
        drawn = generator.integers(0, 100, 3, dtype=np.int32), generator.permutation(4), generator.binomial(50, 0.4, 2)
        same(np.concatenate(drawn), small, name)
        drawn = [generator.random(), generator.standard_normal(), generator.standard_exponential()]
        drawn += [generator.random(dtype=np.float32), generator.standard_normal(dtype=np.float32)]
        np.testing.assert_allclose(drawn, rest, rtol=1e-12, err_msg=name)
    return len(expected)


MATHEMATICS = {
    "sin cos tan arctan sinh tanh exp expm1 arcsinh degrees radians floor ceil trunc": (-5.0, 5.0),
    "arcsin arccos": (-1.0, 1.0),
    "arctanh": (-0.99, 0.99),
    "sqrt log log10 log1p": (0.01, 90.0),
    "cosh": (-5.0, 5.0),
    "arccosh": (1.0, 9.0),
}
"""Functions that numpy and the math module share, with the range in which they are compared."""


def functions():
    """Compare functions with the math module's: they may differ by four units in the last place."""
    worst = {}
    for names, (first, last) in MATHEMATICS.items():
        x = np.linspace(first, last, 61)
        for name in names.split():
            function = getattr(math, name.replace("arc", "a"))
            for code, unit in (("d", 2.0**-52), ("f", 2.0**-23)):
                typed = x.astype(code)
                typed = typed[(typed >= first) & (typed <= last)]
                exact = np.array([float(function(value)) for value in typed.astype("d").tolist()])
                off = np.abs(getattr(np, name)(typed) - exact) / np.maximum(np.abs(exact), 1e-30) / unit
                assert np.max(off) <= 4, "{} of {}: off by {} units".format(name, code, np.max(off))
                worst[code] = max(worst.get(code, 0.0), float(np.max(off)))
    x, y = np.linspace(0.3, 7, 41), np.linspace(-3.1, 9, 41)
    for name, function in (("arctan2", math.atan2), ("hypot", math.hypot), ("power", math.pow), ("fmod", math.fmod)):
        close(getattr(np, name)(x, y), list(map(function, x.tolist(), y.tolist())), 4e-16, name)
    same(np.copysign(x, y), list(map(math.copysign, x.tolist(), y.tolist())), "copysign")
    same(np.ldexp(x, 5), x * 32, "ldexp")
    z = (x + 1j * y).tolist()
    for name in ("exp", "log", "sqrt", "sin", "tanh"):
        close(getattr(np, name)(np.array(z)), [getattr(cmath, name)(value) for value in z], 1e-15, "complex " + name)
    return worst


def single():
    """Check that float32 is rounded as IEEE 754 says: like the result in double precision, rounded to float32."""
    x = (np.arange(1, 4001) * 0.37 + 0.01).astype("f")
    y = x[::-1].copy() * np.float32(1.7)
    exact = {
        "add": (np.add(x, y), x.astype("d") + y),
        "multiply": (np.multiply(x, y), x.astype("d") * y),
        "divide": (np.divide(x, y), x.astype("d") / y),
        "sqrt": (np.sqrt(x), np.sqrt(x.astype("d"))),
        "reciprocal": (np.reciprocal(x), 1 / x.astype("d")),
        "square": (np.square(x), np.square(x.astype("d"))),
    }
    wrong = {name: int(np.sum(narrow != wide.astype("f"))) for name, (narrow, wide) in exact.items()}
    assert not any(wrong.values()), wrong
    small = np.full(64, 1e-40, "f")
    keeps = bool(np.all(small + np.float32(0) == small) and np.all(small * np.float32(2) > small))
    assert keeps or "NEON" in SIMD  # NEON treats subnormal numbers as zero
    return {"keeps subnormal numbers": keeps}


def wrapped(values, code):
    """Return Python's integers as they overflow in C."""
    bits = 8 * np.dtype(code).itemsize
    low = 0 if np.dtype(code).kind == "u" else 2 ** (bits - 1)
    return np.array([(value + low) % 2**bits - low for value in values], code)


def integers():
    """Compare integers with Python's, at their limits and in arrays that do not fill the last vector register."""
    operators = {"add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "remainder": operator.mod}
    operators.update({"floor_divide": operator.floordiv, "bitwise_and": operator.and_, "bitwise_or": operator.or_})
    operators["bitwise_xor"] = operator.xor
    for code in INTEGERS:
        low, high = int(np.iinfo(code).min), int(np.iinfo(code).max)
        values = [low, low + 1, high, high - 1, high // 3, 0, 1, 2, 3, 5, 7, 11, 100, 127] * 3
        others = [7, 3, 1, high, 2, 13, high // 2, 5, 127] * 5
        for length in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 42):
            first, second = values[:length], others[:length]
            x, y = np.array(first, code), np.array(second, code)
            for name, function in operators.items():
                same(getattr(np, name)(x, y), wrapped(map(function, first, second), code), name + " of " + code)
            same(x < y, list(map(operator.lt, first, second)), "less of " + code)
            same(np.maximum(x, y), list(map(max, first, second)), "maximum of " + code)
            same(np.minimum(x, y), list(map(min, first, second)), "minimum of " + code)
        x = np.array(values, code)
        for divisor in (1, 2, 3, 7, 10, 100, high):
            quotients = wrapped([value // divisor for value in values], code)
            same(x // x.dtype.type(divisor), quotients, "by a scalar, of " + code)
        same(x[::2] >> 1, [value >> 1 for value in values[::2]], "shift of " + code)
        same(np.invert(x), wrapped([~value for value in values], code), "invert of " + code)
        same(np.add.reduce(x, dtype=code), wrapped([sum(values)], code)[0], "sum of " + code)
        assert (int(x.max()), int(x.argmax()), int(x.min())) == (high, values.index(high), low), code


def order():
    """Sort each type by each method; check functions that depend on order, and sums."""
    values = numbers(16, 300)
    for code in INTEGERS + FLOATS + "O":
        x = np.abs(values).astype(code) if code in "BHILQ" else values.astype(code)
        expected = sorted(x.tolist())
        for kind in ("quicksort", "mergesort", "heapsort", "stable"):
            same(np.sort(x, kind=kind), expected, kind + " of " + code)
            same(x[np.argsort(x, kind=kind)], expected, "argsort of " + code)
        assert np.partition(x, 150)[150] == expected[150] and np.median(x) == (expected[149] + expected[150]) / 2, code
        assert list(np.unique(x)) == sorted(set(expected)), code
        assert np.searchsorted(np.array(expected, code), x[7]) == expected.index(x[7]), code
    broken = np.array([3.0, np.nan, -np.inf, 1.0] * 9, "f")
    same(np.sort(broken), [-np.inf] * 9 + [1] * 9 + [3] * 9 + [np.nan] * 9, "sort with NaN")
    x = np.linspace(0.1, 7.3, 10007)
    close(np.sum(x), math.fsum(x.tolist()), 1e-15, "sum")
    close(np.sum(x.astype("f")), math.fsum(x.astype("f").tolist()), 1e-6, "sum of float32")
    close(np.var(x), math.fsum(((x - 3.7) ** 2).tolist()) / 10007, 1e-13, "var")
    same(np.cumsum(values), [sum(values.tolist()[: place + 1]) for place in range(300)], "cumsum")


def half():
    """Compare each float16 with the number that its bits define, and convert that back."""
    bits = np.arange(2**16, dtype="H")
    x = bits.view("e")
    exponent, fraction = (bits >> 10 & 31).astype("i"), (bits & 1023).astype("d")
    exact = np.where(exponent > 0, np.ldexp(fraction + 1024, exponent - 25), np.ldexp(fraction, -24 + 0 * exponent))
    exact[exponent == 31] = np.where(fraction[exponent == 31] > 0, np.nan, np.inf)
    exact[bits > 2**15 - 1] *= -1
    for code in "fd":
        same(x.astype(code), exact, "float16 as " + code)
        numeric = ~np.isnan(exact)
        same(exact[numeric].astype(code).astype("e").view("H"), bits[numeric], "back from " + code)
    with np.errstate(over="ignore"):
        same(np.array([2048.5, 2049.5, 1e5, 1e-8], "f").astype("e"), [2048, 2050, np.inf, 0], "rounding to float16")
    same(np.array([1, 2, 3], "e") * np.float16(0.5), np.array([0.5, 1, 1.5], "e"), "float16 product")


def dates():
    """Calculate with dates and times, their differences, and working days."""
    days = np.arange("2000-02-27", "2000-03-02", dtype="M8[D]")
    assert [str(day) for day in days] == ["2000-02-27", "2000-02-28", "2000-02-29", "2000-03-01"], days
    assert np.datetime64("2038-01-19T03:14:08") - np.datetime64("1970-01-01") == np.timedelta64(2**31, "s")
    assert str(np.datetime64("1969-12-31T23:59:59.999999999")) == "1969-12-31T23:59:59.999999999"
    assert int(np.datetime64("2262-04-11T23:47:16", "ns").astype("i8")) == 9223372036000000000
    assert np.busday_count("2024-02-01", "2024-03-01") == 21 and np.isnat(np.datetime64("NaT"))
    assert np.datetime64("2024-01-31") + np.timedelta64(36, "h") == np.datetime64("2024-02-01T12")


def texts():
    """Change strings of bytes and of characters; convert numbers from and to strings."""
    x = np.array([text.decode("utf-8") for text in (b"pi", b"Zero \xcf\x80", b"", b"\xf0\x9f\x8d\x93 2")])
    same(np.char.upper(x), [text.upper() for text in x.tolist()], "upper")
    same(np.char.add(x, "!"), [text + "!" for text in x.tolist()], "add")
    same(np.sort(x), sorted(x.tolist()), "sort of strings")
    same(np.char.encode(x, "utf-8"), [text.encode("utf-8") for text in x.tolist()], "encode")
    same(np.array(["12", "-7"]).astype("q"), [12, -7], "numbers from strings")
    same(np.array([2.5, 1e100]).astype("S32").astype("d"), [2.5, 1e100], "numbers by way of strings")
    assert str(np.array([0.1, 1e-300, np.inf])) == "[1.e-001 1.e-300     inf]", str(np.array([0.1, 1e-300, np.inf]))
    assert np.format_float_positional(np.float32(0.1)) == "0.1" and str(np.float16(0.1)) == "0.1"
    if NEW:
        same(np.strings.find(np.array(["apple", "pie"], np.dtypes.StringDType()), "p"), [1, 0], "StringDType")


def structures():
    """Check records: their layout and views, foreign byte order, and buffers."""
    kind = np.dtype([("number", "<i2"), ("value", ">f8"), ("name", "S5"), ("grid", "u1", (2, 2))])
    x = np.array([(-3, 2.5, b"pi", [[1, 2], [3, 4]]), (7, -1e300, b"zero", [[5, 6], [7, 8]])], kind)
    assert kind.itemsize == 19 and np.dtype(kind.descr[:3], align=True).itemsize == 24, kind
    assert x.tobytes()[:19] == struct.pack("<h", -3) + struct.pack(">d", 2.5) + b"pi\0\0\0\1\2\3\4"
    same(x["value"] * 2, [5.0, -2e300], "field in foreign byte order")
    same(np.sort(x, order="value")["number"], [7, -3], "sort by a field")
    same(x["grid"].sum(axis=(1, 2)), [10, 26], "grid")
    same(x.view(np.recarray).name, [b"pi", b"zero"], "record array")
    same(np.frombuffer(bytearray(struct.pack(">3i", 1, -2, 3)), ">i4").astype("i"), [1, -2, 3], "frombuffer")
    same(np.asarray(memoryview(np.arange(6.0).reshape(2, 3)[1])), [3.0, 4, 5], "memoryview")
    unaligned = np.zeros(33, "B")[1:].view("d")
    unaligned[:] = [1, 2, 3, 4]
    same(unaligned + unaligned, [2, 4, 6, 8], "unaligned")
    masked = np.ma.masked_greater(np.arange(5), 2)
    assert masked.sum() == 3 and np.polynomial.Polynomial([1, 2, 3])(2) == 17


def files():
    """Write arrays and read them back: npy, npz, text, raw, mapped and pickled."""
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "x")
    try:
        x, y = (
            numbers(17, 30, 7) * 0.1,
            np.array([(1, "a"), (2, b"\xcf\x80".decode("utf-8"))], [("n", "i8"), ("s", "U3")]),
        )
        for save in (np.savez, np.savez_compressed):
            save(path, x=x, y=y)
            with np.load(path + ".npz") as archive:
                same(archive["x"], x, "npz")
                same(archive["y"], y, "npz of records")
        np.save(path, x)
        same(np.load(path + ".npy", mmap_mode="r")[3], x[3], "mapped npy")
        np.savetxt(path, x)
        same(np.loadtxt(path), x, "text")
        same(np.genfromtxt(path)[:, 2], x[:, 2], "genfromtxt")
        x.tofile(path)
        same(np.fromfile(path).reshape(x.shape), x, "raw")
        same(pickle.loads(pickle.dumps(y, 2)), y, "pickle")  # noqa: S301  pickled in the same line
    finally:
        shutil.rmtree(folder)


def raises(flag, function, *arguments):
    """Whether the function raises FloatingPointError if only this flag is to raise it."""
    with np.errstate(all="ignore"), np.errstate(**{flag: "raise"}):
        try:
            function(*arguments)
        except FloatingPointError:
            return True
    return False


def flags():
    """Check that the processor's flags are set where they must be, and nowhere else."""
    for code in "fd":
        limits = np.finfo(code)
        one, zero, huge, tiny = (np.full(67, value, code) for value in (1, 0, limits.max, limits.tiny))
        assert raises("divide", np.divide, one, zero) and raises("divide", np.log, zero), code
        assert raises("invalid", np.divide, zero, zero) and raises("invalid", np.sqrt, -one), code
        assert raises("over", np.multiply, huge, huge) and raises("over", np.exp, huge), code
        assert raises("under", np.multiply, tiny, tiny), code
        for function in (np.sqrt, np.exp, np.log, np.sin, np.square, np.reciprocal, np.floor):
            assert not any(raises(flag, function, one) for flag in ("divide", "invalid", "over", "under")), function
        for function in (np.add, np.multiply, np.divide, np.maximum, np.less, np.power):
            assert not any(raises(flag, function, one, one) for flag in ("divide", "invalid", "over", "under")), (
                function
            )
    assert raises("divide", np.floor_divide, np.ones(9, "q"), np.zeros(9, "q"))


CHECKS = (
    configuration,
    whole,
    f2py,
    products,
    threads,
    linear_algebra,
    fourier,
    random,
    functions,
    single,
    integers,
    order,
    half,
    dates,
    texts,
    structures,
    files,
    flags,
)


def main():
    """Run all checks; print what each measured, and the seconds that it took."""
    results = {}
    for check in CHECKS:
        began_s = time.time()
        measured = check()
        results[check.__name__] = {"seconds": round(time.time() - began_s, 2), "measured": measured}
    json.dump(results, sys.stdout, indent=1, sort_keys=True)


if __name__ == "__main__":
    main()
