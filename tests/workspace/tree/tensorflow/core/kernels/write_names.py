"""Writes the names that are its arguments as C++."""

import sys

import six

NAMES = ",".join(six.text_type(name) for name in sys.argv[1:])
print('#include "tensorflow/core/kernels/kernels.h"')
print('namespace tensorflow {{\nconst char* const kNames = "{}";\n}}'.format(NAMES))
