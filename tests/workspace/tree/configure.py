"""Writes the part of .bazelrc that depends on the machine: what a person answers, taken from the environment."""

import os
import subprocess
import sys

NEEDED_BAZEL = "0.15.0"
ROOT = os.path.dirname(os.path.abspath(__file__))


def numbers(version):
    """Give a version as numbers that can be compared."""
    return [int(part) for part in version.split(".")]


def main():
    """Check Bazel and write the file."""
    said = subprocess.check_output(["bazel", "--batch", "--bazelrc=/dev/null", "version"]).decode()
    found = next(line.split()[-1] for line in said.splitlines() if line.startswith("Build label"))
    if numbers(found) < numbers(NEEDED_BAZEL):
        print("Please upgrade your bazel installation to version {} or higher to build this!".format(NEEDED_BAZEL))
        return 1
    names = ("PYTHON_BIN_PATH", "PYTHON_LIB_PATH")
    lines = ["build --action_env {}={}".format(name, os.environ[name]) for name in names]
    lines.append("build --python_path={}".format(os.environ["PYTHON_BIN_PATH"]))
    lines.append("build:opt --copt={}".format(os.environ.get("CC_OPT_FLAGS", "-O2")))
    with open(os.path.join(ROOT, ".tf_configure.bazelrc"), "w") as file:
        file.write("".join(line + "\n" for line in lines))
    with open(os.path.join(ROOT, ".bazelrc"), "a") as file:
        file.write("import %workspace%/.tf_configure.bazelrc\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
