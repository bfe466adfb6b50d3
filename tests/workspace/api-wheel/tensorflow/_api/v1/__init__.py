"""The API: made before, as those of the official wheel are."""

from tensorflow._api.v1 import math
from tensorflow.python.pywrap_tensorflow import names, sines

__version__ = "0.1.0"
