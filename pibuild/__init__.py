"""pibuild: LiteRT and TensorFlow wheels for the Raspberry Pi, cross-built in Docker and proven on an emulated Pi."""

__version__ = "0.1.0"
