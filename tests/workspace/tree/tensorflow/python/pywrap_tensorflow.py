"""Loads the library that holds everything, its symbols in sight of libraries of further operations."""

import ctypes
import sys

_FLAGS = sys.getdlopenflags()
sys.setdlopenflags(_FLAGS | ctypes.RTLD_GLOBAL)
from tensorflow.python.pywrap_tensorflow_internal import dot, names, product, run, sines, variance  # noqa: E402

sys.setdlopenflags(_FLAGS)
