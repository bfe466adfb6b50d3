"""The files of the Python API."""

TENSORFLOW_API_INIT_FILES_V1 = [
    # BEGIN GENERATED FILES
    "__init__.py",
    "math/__init__.py",
    # END GENERATED FILES
]
