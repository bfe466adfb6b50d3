#!/usr/bin/env bash
# Packages in pure Python that a wheel imports when it is proven, as pip would leave them: nothing is compiled, and no
# setup.py runs. What is a wheel on PyPI is unpacked; of a source archive recipe.yaml keeps the modules and the egg-info.
# Leaves the part of /opt/pibuild/python that holds them, and what pip will miss because it is left out.
set -euo pipefail

source_dir=/work/src
out_dir=/work/out
site_dir=$out_dir/lib/python$PIBUILD_PYTHON/site-packages

# A source archive of distutils has no egg-info: its PKG-INFO is that file.
mv $source_dir/termcolor/PKG-INFO $source_dir/termcolor/termcolor.egg-info

mkdir -p "$site_dir"
cp -r $source_dir/*/. "$site_dir"
cp /work/recipe/left-out.txt $out_dir
