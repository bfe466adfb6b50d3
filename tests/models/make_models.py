"""Make the models that prove a tflite-runtime wheel on the device, and what x86 TensorFlow answers.

Two graphs, chosen so that a fault of the compiler or of a SIMD kernel has somewhere to show:

- `digits`, a small MobileNet (convolution, depthwise and pointwise convolutions, residual add, average pool,
  softmax) trained on the 8x8 handwritten digits that scikit-learn carries; as float32 and as full-integer
  int8, quantised with samples of the training set.
- `operators`, an untrained graph with seeded weights: strided, dilated and transposed convolution, resizes,
  pads, LSTM, batched matrix product, reductions, and what else people's graphs use; as float32, as hybrid
  (int8 weights, float activations: TFLite's dynamic range quantisation) and as full-integer int8.

For each: NAME.tflite, NAME.npz (arrays `input_I` and `output_I`, first axis = sample, no pickle), and an
entry in models.json with sha256, operators, tolerances and the reasons for them. The expected outputs come
from TensorFlow's reference kernels (plain loops, no SIMD, no delegate), so they owe nothing to the code that
is proven.

Run it in a virtual environment of its own, with Python 3.11 on x86-64 (two minutes on one core):

    pip install tensorflow-cpu==2.14.1 keras==2.14.0 numpy==1.26.4 scikit-learn==1.9.1 scipy==1.17.1
    python tests/models/make_models.py

Two runs on one machine give the same bytes. Another CPU may sum in another order while it trains and so find
other weights: then commit all files of one run together.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Read when TensorFlow is imported: quiet, and no oneDNN, whose choice of kernels depends on the CPU.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

Array = np.ndarray[Any, Any]
Samples = list[list[Array]]  # one list of input (or output) arrays per sample

layers = tf.keras.layers

SEED = 20171
HELD_OUT = 360
PROOF_SAMPLES = 16
OPERATOR_SAMPLES = 4
EPOCHS = 40
MODEL_LIMIT_BYTES = 150_000
PACKAGES = ("tensorflow-cpu", "keras", "numpy", "scikit-learn", "scipy")

# A batch of one that the converter knows: else the LSTM becomes a loop over lists of tensors.
IMAGE_SHAPE = (1, 12, 12, 3)
SEQUENCE_SHAPE = (1, 8, 6)

FLOAT_TOLERANCE = {
    "rtol": 1e-4,
    "atol": 1e-6,
    "reason": (
        "SIMD kernels and XNNPACK sum in another order and fuse multiply with add: a few units of 2^-24 per "
        "layer, which a dozen layers and an exponential raise to some 1e-5. NEON flushes denormals to zero: "
        "hence atol."
    ),
}
HYBRID_TOLERANCE = {
    "rtol": 1e-3,
    "atol": 1e-4,
    "reason": (
        "As float32; besides, activations are rounded to int8 on the way, so a difference in the last bit of "
        "a float can move one of them by a step, which is 1/127 of the largest and one term among dozens."
    ),
}


def integer_tolerance(max_lsb: int) -> dict[str, Any]:
    """The tolerance of an output that is int8, in steps of its scale."""
    return {
        "max_lsb": max_lsb,
        "reason": (
            "TFLite's own kernels agree to the bit with its reference kernels. XNNPACK rounds a sum half up "
            "or half to even where gemmlowp rounds half away from zero: one step per layer, rarely."
        ),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One .tflite file to make."""

    name: str
    summary: str
    graph: Any
    representative: Callable[[], Iterator[dict[str, Array]]] | None
    weights_int8: bool
    samples: list[dict[str, Array]]
    labels: Array | None
    held_out: tuple[Array, Array] | None
    tolerance: dict[str, Any]


def inverted_residual(x: Any, channels: int, stride: int) -> Any:
    """Depthwise then pointwise convolution, with an add where the shapes allow: a MobileNet's block."""
    y = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
    y = layers.Conv2D(channels, 1, use_bias=False)(y)
    y = layers.BatchNormalization()(y)
    if stride == 1 and x.shape[-1] == channels:
        y = layers.Add()([x, y])
    return layers.ReLU(6.0)(y)


def digits_graph() -> Any:
    """A MobileNet of 8,000 weights for 8x8 grey images."""
    image = tf.keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(image)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = inverted_residual(x, 24, 1)
    x = inverted_residual(x, 24, 1)
    x = inverted_residual(x, 40, 2)
    x = inverted_residual(x, 40, 1)
    x = inverted_residual(x, 64, 2)
    x = layers.AveragePooling2D(2)(x)
    x = layers.Dense(10)(layers.Flatten()(x))
    return tf.keras.Model(image, layers.Softmax(name="probability")(x))


def operators_graph(*, integer: bool) -> Any:
    """Many operators, several outputs, each close to what it proves.

    The integer graph leaves out what TFLite has no int8 kernel for, and SUM: in TensorFlow 2.14.1 its
    reference and its optimised int8 kernel differ by dozens of steps on the same input.
    """
    image = tf.keras.Input(IMAGE_SHAPE[1:], batch_size=1, name="image")
    sequence = tf.keras.Input(SEQUENCE_SHAPE[1:], batch_size=1, name="sequence")
    seen, pooled = vision_branch(image)
    context, scores = sequence_branch(sequence, pooled)
    outputs = {"seen": seen, "pooled": pooled, "context": context, "scores": scores}
    if not integer:
        outputs["numbers"] = arithmetic_branch(sequence, seen, context)
        outputs["rearranged"] = rearranging_branch(seen)
    return tf.keras.Model([image, sequence], outputs)


def vision_branch(image: Any) -> tuple[Any, Any]:
    """Convolutions of every kind, resizes, pads and pools."""
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(image)
    dilated = layers.LeakyReLU(0.1)(layers.Conv2D(16, 3, dilation_rate=2, padding="same")(x))
    slopes = tf.keras.initializers.RandomUniform(0.0, 0.3)
    pointwise = layers.PReLU(shared_axes=[1, 2], alpha_initializer=slopes)(layers.Conv2D(8, 1)(x))
    large = tf.concat(
        [
            layers.Conv2DTranspose(8, 3, strides=2, padding="same")(dilated),
            tf.image.resize(pointwise, (12, 12), method="bilinear"),
            tf.image.resize(pointwise, (12, 12), method="nearest"),
        ],
        axis=-1,
    )
    padded = tf.pad(large, [[0, 0], [1, 1], [2, 0], [0, 0]])
    mirrored = tf.pad(padded, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="REFLECT")
    small = layers.MaxPool2D(2)(mirrored)
    small = layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2)(small)
    small = small * tf.nn.relu6(small + 3.0) / 6.0
    return mirrored[:, ::3, ::3, :], small * excitation(small)


def excitation(x: Any) -> Any:
    """A weight for each channel, as in MobileNet v3: a mean that keeps its dimensions, then convolutions."""
    squeezed = tf.reduce_mean(x, [1, 2], keepdims=True)
    hidden = layers.Conv2D(12, 1, activation="relu")(squeezed)
    return layers.Conv2D(x.shape[-1], 1, activation="sigmoid")(hidden)


def sequence_branch(sequence: Any, pooled: Any) -> tuple[Any, Any]:
    """An LSTM, attention by batched matrix products, reductions and fully-connected layers."""
    states = layers.LSTM(24, return_sequences=True)(sequence)
    scaled = tf.matmul(layers.Dense(24)(states), states, transpose_b=True) * np.float32(24**-0.5)
    context = tf.matmul(tf.nn.softmax(scaled), states)
    first, second = tf.split(tf.transpose(context, [0, 2, 1]), 2, axis=1)
    gated = tf.tanh(first) * tf.sigmoid(second)
    features = tf.concat(
        [
            tf.math.l2_normalize(tf.reduce_mean(pooled, [1, 2]), -1),
            tf.reduce_max(gated, 2),
            tf.reduce_min(gated, 2),
            tf.reduce_mean(gated, 2),
            tf.reshape(gated[:, 1:5, ::2], (1, -1)),
        ],
        axis=-1,
    )
    hidden = layers.Dense(32, activation="relu")(features)
    return context, tf.nn.softmax(tf.minimum(layers.Dense(10)(hidden), 3.0))


def arithmetic_branch(sequence: Any, seen: Any, context: Any) -> Any:
    """Elementwise arithmetic, selection, and what moves numbers about.

    What jumps (floor, order, comparison) is asked of the input itself, where no last bit differs.
    """
    blocks = tf.reduce_sum(tf.nn.depth_to_space(seen, 2), [1, 2])
    rows = tf.gather(context, [5, 0, 3], axis=1)
    spread = tf.math.squared_difference(rows, tf.reduce_mean(rows, 1, keepdims=True))
    powers = tf.concat([tf.exp(rows), tf.math.log(spread + 1.0), tf.math.rsqrt(tf.abs(rows) + 0.5)], 1)
    summed = tf.reduce_sum(tf.sqrt(powers), 1)
    steps = tf.floor(sequence[:, 0, :] * 8.0)
    order = tf.cast(tf.argsort(sequence[:, 1, :], direction="DESCENDING"), tf.float32)
    chosen = tf.where(sequence[:, 2, :] > 0.0, steps, order)
    tiled = tf.tile(tf.stack([blocks, blocks - 1.0], axis=1), [1, 2, 1])
    return tf.concat([summed, steps, order, chosen, tf.reshape(tiled, (1, -1))], -1)


def rearranging_branch(seen: Any) -> Any:
    """What changes shapes, and the elementwise operators that are left: XNNPACK derives each shape for itself."""
    columns = layers.Conv2D(6, 1)(tf.reduce_mean(seen, 2, keepdims=True))
    rows = layers.Dense(6)(tf.reduce_mean(seen, 2))
    apart = layers.Conv2D(6, 1)(tf.nn.space_to_depth(seen, 2))
    averaged = layers.AveragePooling2D(3, strides=2, padding="same")(seen)[:, 1:, 1:, :6]
    together = tf.concat(
        [tf.squeeze(columns, 2), rows, tf.reshape(apart, (1, 9, 6)), tf.reshape(averaged, (1, 4, 6))], 1
    )
    quotient = tf.maximum(-together, tf.square(together)) / (tf.abs(together) + 1.0)
    return tf.reshape(tf.expand_dims(quotient, 1), (1, -1))


def digits() -> tuple[Array, Array]:
    """Images, (count, 8, 8, 1) in 0…1, and labels, shuffled by the seed."""
    bunch = load_digits()
    order = np.random.default_rng(SEED).permutation(len(bunch.target))
    images = (bunch.images[order] / 16.0).astype(np.float32)[..., np.newaxis]
    return images, bunch.target[order].astype(np.int64)


def train(graph: Any, images: Array, labels: Array) -> None:
    """Teach the digits, with images moved by up to one pixel."""
    rng = np.random.default_rng(SEED)
    steps = EPOCHS * len(images) // 64
    rate = tf.keras.optimizers.schedules.CosineDecay(4e-3, steps)
    graph.compile(optimizer=tf.keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy")
    for _ in range(EPOCHS):
        moves = rng.integers(-1, 2, (len(images), 2))
        moved = np.stack([np.roll(one, tuple(by), (0, 1)) for one, by in zip(images, moves, strict=True)])
        order = rng.permutation(len(images))
        graph.fit(moved[order], labels[order], batch_size=64, shuffle=False, verbose=0)


def converted(variant: Variant) -> bytes:
    """The .tflite file of a variant."""
    converter = tf.lite.TFLiteConverter.from_keras_model(variant.graph)
    if variant.weights_int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant.representative is not None:
        converter.representative_dataset = variant.representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def reference_kernels(variant: Variant) -> Any:
    """Choose the kernels whose answers are the expected ones.

    The reference set lacks DEQUANTIZE of per-channel weights, which hybrid models need: they get the built-in
    kernels without XNNPACK, where the hybrid kernels do their sums in integers, exactly.
    """
    kinds = tf.lite.experimental.OpResolverType
    if variant.weights_int8 and variant.representative is None:
        return kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return kinds.BUILTIN_REF


def quantised(value: Array, detail: dict[str, Any]) -> Array:
    """A float input in the type of the model's input."""
    if detail["dtype"] == np.float32:
        return value
    scale, zero = detail["quantization"]
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.round(value / scale + zero), limits.min, limits.max).astype(detail["dtype"])


def input_name(detail: dict[str, Any]) -> str:
    """`image` for the tensor `serving_default_image:0`."""
    return str(detail["name"]).removeprefix("serving_default_").partition(":")[0]


def run(model: bytes, samples: list[dict[str, Array]], kernels: Any) -> tuple[Samples, Samples, list[str]]:
    """Inputs as the model takes them, its outputs, and the names of the operators that it ran."""
    interpreter = tf.lite.Interpreter(model_content=model, experimental_op_resolver_type=kernels, num_threads=1)
    interpreter.allocate_tensors()
    taken: Samples = []
    given: Samples = []
    for sample in samples:
        inputs = [quantised(sample[input_name(detail)], detail) for detail in interpreter.get_input_details()]
        for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        taken.append(inputs)
        given.append([interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()])
    return taken, given, sorted({str(op["op_name"]) for op in interpreter._get_ops_details()})


def worst_difference(left: Samples, right: Samples) -> float:
    """The largest absolute difference between two sets of outputs, in the outputs' own unit."""
    return max(
        float(np.abs(one.astype(np.float64) - two.astype(np.float64)).max())
        for mine, theirs in zip(left, right, strict=True)
        for one, two in zip(mine, theirs, strict=True)
    )


def accuracy(model: bytes, images: Array, labels: Array, kernels: Any) -> float:
    """The share of held-out images that the converted model names rightly."""
    _, outputs, _ = run(model, [{"image": image[np.newaxis]} for image in images], kernels)
    answers = np.array([int(np.argmax(output[0])) for output in outputs])
    return float((answers == labels).mean())


def file_sha256(path: Path) -> str:
    """Lowercase hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_variant(variant: Variant, folder: Path) -> dict[str, Any]:
    """Write NAME.tflite and NAME.npz; answer the entry in models.json."""
    model = converted(variant)
    if len(model) > MODEL_LIMIT_BYTES:
        raise SystemExit(f"{variant.name}: {len(model)} bytes, limit {MODEL_LIMIT_BYTES}")
    kernels = reference_kernels(variant)
    inputs, outputs, operators = run(model, variant.samples, kernels)
    _, shipped, _ = run(model, variant.samples, tf.lite.experimental.OpResolverType.AUTO)
    model_path = folder / f"{variant.name}.tflite"
    samples_path = folder / f"{variant.name}.npz"
    model_path.write_bytes(model)
    arrays = {f"input_{i}": np.stack(column) for i, column in enumerate(zip(*inputs, strict=True))}
    arrays |= {f"output_{i}": np.stack(column) for i, column in enumerate(zip(*outputs, strict=True))}
    np.savez_compressed(samples_path, **arrays)
    entry: dict[str, Any] = {
        "name": variant.name,
        "summary": variant.summary,
        "model": model_path.name,
        "model_sha256": file_sha256(model_path),
        "samples": samples_path.name,
        "samples_sha256": file_sha256(samples_path),
        "sample_count": len(variant.samples),
        "reference_kernels": str(kernels.name),
        "tolerance": variant.tolerance,
        "x86_xnnpack_max_abs_difference": worst_difference(outputs, shipped),
        "operators": operators,
    }
    if variant.labels is not None:
        entry["labels"] = variant.labels.tolist()
    if variant.held_out is not None:
        entry["held_out_accuracy"] = round(accuracy(model, *variant.held_out, kernels), 4)
    return entry


def digits_variants() -> Iterator[Variant]:
    """The trained classifier, twice."""
    images, labels = digits()
    taught, taught_labels = images[HELD_OUT:], labels[HELD_OUT:]
    graph = digits_graph()
    train(graph, taught, taught_labels)
    proof = [{"image": image[np.newaxis]} for image in images[:PROOF_SAMPLES]]

    def representative() -> Iterator[dict[str, Array]]:
        for image in taught[:256]:
            yield {"image": image[np.newaxis]}

    for name, calibration in (("float32", None), ("int8", representative)):
        yield Variant(
            name=f"digits-{name}",
            summary=f"MobileNet-like classifier of 8x8 handwritten digits, {name}",
            graph=graph,
            representative=calibration,
            weights_int8=calibration is not None,
            samples=proof,
            labels=labels[:PROOF_SAMPLES],
            held_out=(images[:HELD_OUT], labels[:HELD_OUT]),
            tolerance=integer_tolerance(1) if calibration else FLOAT_TOLERANCE,
        )


def operator_variants() -> Iterator[Variant]:
    """The graph of many operators, three times."""
    rng = np.random.default_rng(SEED)

    def sample() -> dict[str, Array]:
        return {
            "image": rng.uniform(-1.0, 1.0, IMAGE_SHAPE).astype(np.float32),
            "sequence": rng.uniform(-1.0, 1.0, SEQUENCE_SHAPE).astype(np.float32),
        }

    calibration = [sample() for _ in range(64)]
    proof = [sample() for _ in range(OPERATOR_SAMPLES)]
    for name, tolerance in (
        ("float32", FLOAT_TOLERANCE),
        ("hybrid", HYBRID_TOLERANCE),
        ("int8", integer_tolerance(2)),
    ):
        tf.keras.utils.set_random_seed(SEED)
        yield Variant(
            name=f"operators-{name}",
            summary=f"Many operators with seeded weights, {name}",
            graph=operators_graph(integer=name == "int8"),
            representative=(lambda: iter(calibration)) if name == "int8" else None,
            weights_int8=name != "float32",
            samples=proof,
            labels=None,
            held_out=None,
            tolerance=tolerance,
        )


def main(arguments: list[str]) -> int:
    """Write all files and models.json into the folder."""
    parser = argparse.ArgumentParser(description="Make the models that prove a wheel on the device.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    folder: Path = parser.parse_args(arguments).folder
    tf.keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    entries = [write_variant(variant, folder) for variant in (*digits_variants(), *operator_variants())]
    manifest = {
        "made_by": Path(__file__).name,
        "made_with": {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "tensorflow_commit": str(tf.version.GIT_VERSION),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        "data": f"scikit-learn's digits: {HELD_OUT} held out, the rest taught; samples are held-out ones",
        "models": entries,
    }
    (folder / "models.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
