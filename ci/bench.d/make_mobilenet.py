"""Make the two MobileNets of the benchmark: 224x224x3, width 0.25, 1,000 classes, float32 and full-integer int8.

Only their shapes matter for speed, so they are not trained: each weight is one of four values, which lets xz bring a
file to a tenth. No batch normalisation (the converter folds it away anyhow) and no softmax (a thousand nearly
equal probabilities would all be zero in int8, and then two wheels could not differ).

    pip install tensorflow-cpu==2.14.1 keras==2.14.0 numpy==1.26.4
    python ci/bench.d/make_mobilenet.py

writes models/mobilenet-{float32,int8}.tflite.xz beside this script; the same bytes every time on one machine.
"""

import lzma
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
import tensorflow as tf

layers = tf.keras.layers

SEED = 20171
SIDE = 224
CLASSES = 1000
# Pointwise channels and depthwise stride of the 13 blocks of MobileNet v1, before the width is applied.
BLOCKS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *[(512, 1)] * 5,
    *((1024, 2), (1024, 1)),
)
WIDTH = 0.25


def mobilenet() -> Any:  # noqa: ANN401 - TensorFlow is untyped
    """Build MobileNet v1 without batch normalisation and softmax."""
    image = tf.keras.Input((SIDE, SIDE, 3), batch_size=1, name="image")
    x = layers.ReLU(6.0)(layers.Conv2D(int(32 * WIDTH), 3, strides=2, padding="same")(image))
    for channels, stride in BLOCKS:
        x = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, strides=stride, padding="same")(x))
        x = layers.ReLU(6.0)(layers.Conv2D(int(channels * WIDTH), 1)(x))
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    return tf.keras.Model(image, layers.Reshape((CLASSES,))(layers.Conv2D(CLASSES, 1)(x)))


def seed_weights(model: Any) -> None:  # noqa: ANN401
    """Set each kernel to four values, so large that activations stay between 0 and 6, and the biases to small ones."""
    random = np.random.default_rng(SEED)
    for layer in model.layers:
        shapes = [weight.shape for weight in layer.get_weights()]
        if not shapes:
            continue
        kernel, bias = shapes
        depthwise = isinstance(layer, layers.DepthwiseConv2D)
        fan_in = int(np.prod(kernel[:2])) * (1 if depthwise else kernel[2])
        step = np.float32(2.0 ** np.round(np.log2(1.3 / np.sqrt(fan_in))))
        values = np.array([-1.25, -0.75, 0.75, 1.25], np.float32) * step
        layer.set_weights([random.choice(values, kernel), random.choice(np.float32([0.0, 0.125]), bias)])


def converted(model: Any, *, integer: bool) -> bytes:  # noqa: ANN401
    """Return the .tflite file, float32 or int8."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if integer:
        random = np.random.default_rng(SEED)
        images = [random.uniform(-1.0, 1.0, (1, SIDE, SIDE, 3)).astype(np.float32) for _ in range(8)]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def main() -> None:
    """Write both files."""
    folder = Path(__file__).resolve().parent / "models"
    folder.mkdir(exist_ok=True)
    model = mobilenet()
    seed_weights(model)
    for name, integer in (("float32", False), ("int8", True)):
        packed = lzma.compress(converted(model, integer=integer), preset=9 | lzma.PRESET_EXTREME)
        (folder / f"mobilenet-{name}.tflite.xz").write_bytes(packed)


if __name__ == "__main__":
    main()
