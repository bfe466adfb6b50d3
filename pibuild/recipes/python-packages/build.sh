#!/usr/bin/env bash
# The packages in pure Python that TensorFlow 1.x asks for, as wheels: PyPI's own as they are, and of a package that PyPI
# has only as an archive one for all Pythons, which its own setup.py makes. Nothing is compiled.
# Leaves wheel/*.whl, and the names of what is asked for and compiled, so not here.
set -euo pipefail

wheel_dir=/work/out/wheel
export PYTHONPATH=/work/src/setuptools:/work/src/wheel

mkdir -p $wheel_dir
cp /work/src/wheels/*.whl $wheel_dir
# As pip does it: setuptools, which bring a distutils of their own, are there before a setup.py that does not ask for them.
shopt -s nullglob
for archive in /work/src/archives/*; do
  cd "$archive"
  python3 -W ignore -c '
import setuptools
exec(compile(open("setup.py").read(), "setup.py", "exec"), {"__name__": "__main__", "__file__": "setup.py"})
' --quiet bdist_wheel --universal --dist-dir $wheel_dir
done
if compgen -G "$wheel_dir/*-linux_*.whl"; then
  echo 'a package that was taken for pure Python compiles something' >&2
  exit 1
fi
cp /work/recipe/left-out.txt /work/out
ls $wheel_dir
