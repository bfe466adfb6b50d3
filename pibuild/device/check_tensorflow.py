"""Prove a TensorFlow 1.x wheel on the device: graphs of many kinds return what TensorFlow returned on x86.

    check_tensorflow.py REFERENCES            compare; print one JSON document, exit with 1 if something differs
    check_tensorflow.py REFERENCES --write    write the results of this TensorFlow to tensorflow-VERSION.npz

This file runs on Python 2.7 and 3.4 and later, and needs only TensorFlow's own dependencies. Floats may differ by
TOLERANCE of a result's largest value: sums have another order there, and a multiply-add rounds once. Bytes of JPEG may
differ by JPEG_STEPS. Everything else must be equal.
"""

from __future__ import absolute_import, division, print_function

import argparse
import json
import os
import shutil
import sys
import tempfile
import time

import numpy as np
import tensorflow as tf

TOLERANCE = {"float16": 4e-3, "float32": 2e-5, "float64": 1e-10, "complex64": 2e-5}
# float16: each of two correct results may be off by 2e-3. On x86, matmul_float16 (sums of 40 products) is off by 1.9e-3
# from the exact result, and differs by 2.7e-3 from the same sums in reverse order.
JPEG_STEPS = 6
"""By how much fast JPEG decoders may differ in a byte: each rounds the fast cosine transform in its own way."""


RELEASE = tuple(int(part) for part in tf.__version__.split(".")[:2])


def numbers(seed, *shape):
    """Return floats between -1 and 1, the same on every machine."""
    return np.random.RandomState(seed).uniform(-1.0, 1.0, shape).astype(np.float32)


def arithmetic():
    """Build operations on elements and over axes, and products in each type that has kernels."""
    a, b = numbers(1, 48, 40), numbers(2, 40, 56)
    result = {"abs_log": tf.log(tf.abs(a) + 1.0), "tanh": tf.tanh(a), "sum": tf.reduce_sum(a, 0)}
    for kind in (tf.float16, tf.float32, tf.float64):
        result["matmul_" + kind.name] = tf.matmul(tf.cast(a, kind), tf.cast(b, kind))
    for name, left, right in (("a", a.T, b), ("b", a, b.T), ("both", a.T, b.T)):
        options = {"transpose_a": name != "b", "transpose_b": name != "a"}
        result["matmul_transposed_" + name] = tf.matmul(left, right, **options)
    result["matmul_vector"] = tf.matmul(a[:1], b)
    whole_a, whole_b = (a * 100).astype(np.int32), (b * 100).astype(np.int32)
    result["matmul_int32"] = tf.matmul(whole_a, whole_b)
    result["floordiv_int64"] = tf.floordiv(whole_a.astype(np.int64), 7)
    result["top_k"] = tf.nn.top_k(a, 3).indices
    result["batch_matmul"] = tf.matmul(numbers(3, 4, 8, 9), numbers(4, 4, 9, 7))
    return result


def networks():
    """Build layers of neural networks, forward and backward."""
    images, kernel = tf.constant(numbers(5, 2, 17, 19, 8)), tf.constant(numbers(6, 3, 3, 8, 16))
    convolved = tf.nn.conv2d(images, kernel, [1, 1, 1, 1], "SAME")
    strided = tf.nn.conv2d(images, kernel, [1, 2, 2, 1], "VALID")
    small, one_by_one = numbers(23, 1, 3, 4, 4), numbers(24, 1, 1, 4, 5)
    half = tf.nn.conv2d(tf.cast(images, tf.float16), tf.cast(kernel, tf.float16), [1, 1, 1, 1], "SAME")
    newer = {}  # TensorFlow 1.4 has no kernels for these
    if RELEASE >= (1, 12):
        newer = {
            "conv2d_dilated": tf.nn.conv2d(images, kernel, [1, 1, 1, 1], "SAME", dilations=[1, 2, 2, 1]),
            "conv2d_float64": tf.nn.conv2d(tf.cast(images, tf.float64), tf.cast(kernel, tf.float64), [1] * 4, "SAME"),
        }
    normal, mean, variance = tf.nn.fused_batch_norm(convolved, numbers(7, 16) + 2.0, numbers(8, 16))
    result = {
        "conv2d": convolved,
        "conv2d_strided": strided,
        "conv2d_float16": half,
        "conv2d_rest_same": tf.nn.conv2d(small[:, :2, :3], one_by_one, [1, 3, 3, 1], "SAME"),
        "conv2d_rest_valid": tf.nn.conv2d(small, one_by_one, [1, 4, 4, 1], "VALID"),
        "conv2d_1x1": tf.nn.conv2d(images, numbers(9, 1, 1, 8, 4), [1, 1, 1, 1], "SAME"),
        "depthwise": tf.nn.depthwise_conv2d(images, numbers(10, 3, 3, 8, 2), [1, 1, 1, 1], "SAME"),
        "batch_norm": normal,
        "batch_norm_mean": mean,
        "batch_norm_variance": variance,
        "max_pool": tf.nn.max_pool(images, [1, 3, 3, 1], [1, 2, 2, 1], "SAME"),
        "avg_pool": tf.nn.avg_pool(images, [1, 3, 3, 1], [1, 2, 2, 1], "VALID"),
        "softmax": tf.nn.softmax(numbers(11, 5, 30)),
        "relu6": tf.nn.relu6(images * 8.0),
        "lrn": tf.nn.lrn(images),
        "gradient_images": tf.gradients(tf.reduce_sum(tf.tanh(convolved)), images)[0],
        "gradient_kernel": tf.gradients(tf.reduce_sum(tf.tanh(convolved)), kernel)[0],
    }
    result.update(newer)
    return result


def fused():
    """Build products that are fused with bias and activation; of variables, because constants would be folded."""
    images, matrix = tf.Variable(numbers(33, 2, 9, 11, 8)), tf.Variable(numbers(34, 12, 20))
    kernel, weights = tf.Variable(numbers(35, 3, 3, 8, 6)), tf.Variable(numbers(36, 20, 7))
    strided = tf.nn.conv2d(images, kernel, [1, 2, 2, 1], "SAME")
    dilated = tf.nn.conv2d(images, kernel, [1, 1, 1, 1], "VALID", dilations=[1, 2, 2, 1])
    same = tf.nn.conv2d(images, kernel, [1, 1, 1, 1], "SAME")
    return {
        "conv2d_bias": tf.nn.bias_add(strided, numbers(37, 6)),
        "conv2d_bias_relu": tf.nn.relu(tf.nn.bias_add(same, numbers(38, 6))),
        "conv2d_bias_relu6_dilated": tf.nn.relu6(tf.nn.bias_add(dilated, numbers(39, 6))),
        "matmul_bias_elu": tf.nn.elu(tf.nn.bias_add(tf.matmul(matrix, weights), numbers(40, 7))),
        "matmul_bias_vector": tf.nn.bias_add(tf.matmul(matrix[:1], weights), numbers(41, 7)),
    }


def algebra():
    """Build decompositions and transforms, which are Eigen's, and TensorFlow's own random numbers."""
    square = numbers(12, 12, 12)
    positive = np.matmul(square, square.T) + 12 * np.eye(12, dtype=np.float32)
    return {
        "cholesky": tf.cholesky(positive),
        "inverse": tf.matrix_inverse(positive),
        "eigenvalues": tf.self_adjoint_eigvals(positive),
        "fft2d": tf.fft2d(tf.complex(numbers(13, 16, 16), numbers(14, 16, 16))),
        "random_uniform": tf.random_uniform([100], seed=3),
        "random_normal": tf.random_normal([100], seed=4),
        "shuffled": tf.random_shuffle(tf.range(50), seed=5),
    }


def control():
    """Build loops, branches and queues within a graph."""
    queue = tf.FIFOQueue(10, [tf.int32], shapes=[[]])
    with tf.control_dependencies([queue.enqueue_many([[3, 1, 4, 1, 5]])]):
        taken = queue.dequeue_many(4)
    _, summed = tf.while_loop(lambda i, _: i < 20, lambda i, s: (i + 1, s + tf.cast(i * i, tf.float32)), (0, 0.0))
    return {
        "queue": taken,
        "while": summed,
        "cond": tf.cond(summed > 100.0, lambda: tf.constant(1), lambda: tf.constant(2)),
        "map": tf.map_fn(lambda x: x * x, tf.range(8)),
        "scan": tf.scan(lambda a, x: a + x, tf.constant(numbers(15, 9))),
        "gather": tf.gather(numbers(16, 20, 3), [5, 0, 19]),
        "scatter": tf.scatter_nd([[1], [3]], [10, 20], [5]),
        "sparse": tf.sparse_tensor_dense_matmul(
            tf.SparseTensor([[0, 1], [2, 0]], tf.constant([2.0, 3.0]), [3, 3]), numbers(17, 3, 4)
        ),
    }


def texts():
    """Build operations that join, split, parse and hash strings, and read a record."""
    words = tf.constant([b"raspberry", b"pi", b"", b"z\xc3\xa9ro"])
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=[1.5, -2.25]))
    example = tf.train.Example(features=tf.train.Features(feature={"x": feature})).SerializeToString()
    return {
        "join": tf.string_join([words, words], "-"),
        "split": tf.string_split(["a b  c"], " ").values,
        "as_string": tf.as_string(tf.constant([1.5, -2.0]), precision=3),
        "to_number": tf.string_to_number(["3.25", "-1e-3"]),
        "hash": tf.string_to_hash_bucket_fast(words, 1 << 20),
        "base64": tf.encode_base64(words),
        "example": tf.parse_single_example(example, {"x": tf.FixedLenFeature([2], tf.float32)})["x"],
    }


def pictures():
    """Build coders of pictures, which are libraries with their own SIMD code, and scaling."""
    picture = (np.abs(numbers(18, 24, 32, 3)) * 255).astype(np.uint8)
    rows, columns = np.mgrid[:48, :40]
    smooth = np.stack([rows * 5, columns * 6, (rows * columns) // 8], -1).astype(np.uint8)
    jpeg = tf.image.encode_jpeg(smooth, quality=95)
    return {
        "resized": tf.image.resize_bilinear(tf.cast(picture[None], tf.float32), [9, 11]),
        "cropped": tf.image.crop_and_resize(tf.cast(picture[None], tf.float32), [[0.1, 0.2, 0.8, 0.9]], [0], [7, 7]),
        "png": tf.image.decode_png(tf.image.encode_png(picture)),
        "jpeg": tf.image.decode_jpeg(jpeg, dct_method="INTEGER_ACCURATE"),
        "jpeg_fast": tf.image.decode_jpeg(jpeg),
        "hsv": tf.image.rgb_to_hsv(tf.cast(picture, tf.float32) / 255.0),
    }


def contributed():
    """Build operations of tf.contrib, whose libraries use symbols of TensorFlow's large library when loaded."""
    contrib = tf.contrib
    inputs = [tf.constant(numbers(25 + step, 3, 5)) for step in range(4)]
    with tf.variable_scope("lstm", initializer=tf.constant_initializer(numbers(30, 11, 24))):
        outputs, _ = tf.nn.static_rnn(contrib.rnn.LSTMBlockCell(6), inputs, dtype=tf.float32)
    picture = tf.constant(numbers(31, 1, 9, 9, 2))
    return {
        "lstm": tf.stack(outputs),
        "rotated": contrib.image.rotate(picture, 0.5, interpolation="BILINEAR"),
        "resampled": contrib.resampler.resampler(picture, tf.constant(numbers(32, 1, 4, 2)) * 3.0 + 4.0),
    }


def evaluated(build):
    """Run the operations that a function builds, in their own graph; return arrays by name."""
    with tf.Graph().as_default(), tf.Session(config=tf.ConfigProto(inter_op_parallelism_threads=2)) as session:
        tf.set_random_seed(1)
        operations = build()
        session.run(tf.global_variables_initializer())
        return session.run(operations)


def save_model(session, folder, x, logits):
    """Write a saved model; TensorFlow 1.4 lacks simple_save, so do the same with its parts."""
    if RELEASE >= (1, 12):
        tf.saved_model.simple_save(session, folder, {"x": x}, {"logits": logits})
        return
    signature = tf.saved_model.signature_def_utils.predict_signature_def({"x": x}, {"logits": logits})
    key = tf.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY
    builder = tf.saved_model.builder.SavedModelBuilder(folder)
    builder.add_meta_graph_and_variables(session, [tf.saved_model.tag_constants.SERVING], {key: signature})
    builder.save()


def training(folder):
    """Train a small network, write a checkpoint and a saved model, and read both; return losses and outputs."""
    inputs, labels = numbers(19, 64, 10), (numbers(20, 64) > 0).astype(np.int32)
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, 10], name="x")
        hidden = tf.nn.relu(tf.matmul(x, tf.Variable(numbers(21, 10, 16))) + tf.Variable(np.zeros(16, np.float32)))
        logits = tf.add(tf.matmul(hidden, tf.Variable(numbers(22, 16, 2))), 0.0, name="logits")
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
        step = tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss)
        session.run(tf.global_variables_initializer())
        losses = [session.run([loss, step], {x: inputs})[0] for _ in range(8)]
        outputs = session.run(logits, {x: inputs})
        saver = tf.train.Saver()
        checkpoint = saver.save(session, os.path.join(folder, "variables"))
        save_model(session, os.path.join(folder, "model"), x, logits)
        session.run(tf.global_variables_initializer())
        saver.restore(session, checkpoint)
        restored = session.run(logits, {x: inputs})
    with tf.Graph().as_default(), tf.Session() as session:
        tf.saved_model.loader.load(session, [tf.saved_model.tag_constants.SERVING], os.path.join(folder, "model"))
        loaded = session.run("logits:0", {"x:0": inputs})
    if not (np.array_equal(outputs, restored) and np.array_equal(outputs, loaded)):
        sys.exit("a model that was written and read returns other outputs than before")
    if not losses[-1] < losses[0]:
        sys.exit("training does not lower the loss: {}".format(losses))
    return {"losses": np.array(losses, np.float32), "outputs": outputs}


def files(folder):
    """Read records through a queue of files with threads, as input pipelines did; return what was read."""
    path = os.path.join(folder, "records")
    with tf.python_io.TFRecordWriter(path) as writer:
        for number in range(20):
            writer.write("record {}".format(number).encode())
    with tf.Graph().as_default(), tf.Session() as session:
        queue = tf.train.string_input_producer([path], num_epochs=1, shuffle=False)
        _, value = tf.TFRecordReader().read(queue)
        batch = tf.train.batch([value], 5)
        session.run(tf.local_variables_initializer())
        coordinator = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(session, coordinator)
        read = [session.run(batch) for _ in range(4)]
        coordinator.request_stop()
        coordinator.join(threads)
    data = tf.data.Dataset.range(10).map(lambda x: x * 3).batch(4)
    with tf.Session() as session:
        first = session.run(data.make_one_shot_iterator().get_next())
    return {"records": np.concatenate(read), "dataset": first}


def results():
    """Return every result by name, and the seconds that each kind took."""
    arrays, spent_s = {}, {}
    folder = tempfile.mkdtemp()
    kinds = [(build.__name__, lambda build=build: evaluated(build)) for build in GRAPHS]
    kinds += [("training", lambda: training(folder)), ("files", lambda: files(folder))]
    try:
        for name, run in kinds:
            began_s = time.time()
            arrays.update(("{}.{}".format(name, key), np.asarray(value)) for key, value in run().items())
            spent_s[name] = round(time.time() - began_s, 2)
    finally:
        shutil.rmtree(folder)
    return arrays, spent_s


def difference(name, found, expected):
    """Return the difference of two results as a share of the allowed one; infinite if they can't be compared."""
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return float("inf")
    if found.dtype.name in TOLERANCE:
        scale = np.abs(expected).max() * TOLERANCE[found.dtype.name]
        return float(np.abs(found.astype(np.complex128) - expected.astype(np.complex128)).max() / max(scale, 1e-30))
    if name.endswith(".jpeg_fast"):
        return float(np.abs(found.astype(int) - expected.astype(int)).max()) / JPEG_STEPS
    return 0.0 if np.array_equal(found, expected) else float("inf")


def stored(value):
    """Return an array as npz can hold it: strings have a fixed width there."""
    return value.astype("S") if value.dtype == object else value


GRAPHS = (arithmetic, networks, algebra, control, texts, pictures, contributed)
if RELEASE > (1, 12):  # older releases do not fuse these
    GRAPHS += (fused,)


def main():
    """Compare the results, or write them; return the exit status."""
    parser = argparse.ArgumentParser(description="Prove a TensorFlow 1.x wheel.")
    parser.add_argument("references", help="the folder of tensorflow-VERSION.npz")
    parser.add_argument("--write", action="store_true", help="write the results of this TensorFlow")
    options = parser.parse_args()
    path = os.path.join(options.references, "tensorflow-{}.npz".format(tf.__version__))
    arrays, spent_s = results()
    arrays = {name: stored(value) for name, value in arrays.items()}
    if options.write:
        np.savez_compressed(path, **arrays)
        return 0
    with np.load(path) as references:
        expected = {name: references[name] for name in references.files}
    if sorted(arrays) != sorted(expected):
        sys.exit("{}: its results have other names than those of this check".format(path))
    shares = {name: difference(name, arrays[name], expected[name]) for name in sorted(expected)}
    failed = sorted(name for name, share in shares.items() if not share <= 1.0)
    measured = {"tensorflow": tf.__version__, "numpy": np.__version__, "python": sys.version.split()[0]}
    measured.update(results=len(shares), failed=failed, spent_s=spent_s)
    measured["largest_share_of_tolerance"] = max(share for share in shares.values() if np.isfinite(share))
    print(json.dumps(measured, sort_keys=True))
    for name in failed:
        sys.stderr.write("{} differs from x86: {} times the allowed difference\n".format(name, shares[name]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
