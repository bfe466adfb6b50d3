"""The wheel of a tree that has TensorFlow's shape and nothing of its size."""

from setuptools import find_packages, setup
from setuptools.dist import Distribution

_VERSION = '0.1.0'

REQUIRED_PACKAGES = [
    'numpy >= 1.13.3',
]


class BinaryDistribution(Distribution):
    """A wheel that holds machine code, whoever compiled it."""

    def has_ext_modules(self):
        """Say so."""
        return True


setup(
    name="tensorflow",
    version=_VERSION,
    description="Proves how wheels for the Pi are made",
    packages=find_packages(),
    package_data={"": ["*.so"]},
    install_requires=REQUIRED_PACKAGES,
    distclass=BinaryDistribution,
    zip_safe=False,
)
