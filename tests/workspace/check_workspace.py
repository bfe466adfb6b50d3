"""Proves the small workspace's wheel on the device: what C++ computes is what numpy does; one JSON document on stdout.

Runs on Python 2.7 and 3.
"""

from __future__ import absolute_import, division, print_function

import json
import sys

import numpy as np
import tensorflow as tf
import tensorflow.contrib.average

REFERENCES = {
    "add": np.add,
    "divide": np.divide,
    "larger": np.maximum,
    "multiply": np.multiply,
    "smaller": np.minimum,
    "subtract": np.subtract,
}


def numbers(step):
    """Give floats in 1 to 2; a numpy for proofs has no random ones."""
    return 1 + np.modf(step * np.arange(1003))[0].astype(np.float32)


def main():
    """Compare; leave with what differs."""
    a, b = numbers(0.618), numbers(0.414)
    found = {name: tf.math.run(name, a, b) for name in tf.names().split(",") + ["average"]}
    wanted = {name: reference(a, b) for name, reference in REFERENCES.items()}
    wanted.update(average=(a + b) / 2)
    found.update(dot=tf.math.dot(a, b), variance=tf.math.variance(a), sines=tf.sines())
    wanted.update(dot=np.dot(a.astype(float), b), variance=a.astype(float).var())
    found.update(product=tf.math.product(a[:900], b[:900], 30))
    wanted.update(product=np.dot(a[:900].reshape(30, 30), b[:900].reshape(30, 30)).flatten())
    wanted.update(sines=np.sin(np.arange(64) * np.pi / 32))
    if sorted(found) != sorted(wanted):
        sys.exit("there are {}, not {}".format(sorted(found), sorted(wanted)))
    wrong = sorted(name for name in wanted if not np.allclose(found[name], wanted[name], rtol=1e-5, atol=1e-6))
    if wrong:
        sys.exit("{} differ from numpy".format(", ".join(wrong)))
    try:
        tf.math.run("power", a, b)
        sys.exit("an operation that is not there ran")
    except ValueError as error:
        said = str(error)
    print(json.dumps({"results": sorted(found), "python": sys.version.split()[0], "error": said}))


if __name__ == "__main__":
    main()
