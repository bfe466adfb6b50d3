"""Writes the names that are its arguments as C++."""

import os
import sys

import six

# Without it Python before 3.8 does not start where the user has no entry in /etc/passwd.
assert os.environ["HOME"]

NAMES = ",".join(six.text_type(name) for name in sys.argv[1:])
print('#include "tensorflow/core/kernels/kernels.h"')
print('namespace tensorflow {{\nconst char* const kNames = "{}";\n}}'.format(NAMES))
