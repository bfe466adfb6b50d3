#!/usr/bin/env bash
# Packages in pure Python that a wheel imports when it is proven, as pip would leave them: nothing is compiled, and no
# setup.py runs. What is a wheel on PyPI is unpacked; of a source archive recipe.yaml keeps the modules and the egg-info.
# Leaves the part of /opt/pibuild/python that holds them, and what pip will miss because it is left out.
set -euo pipefail

source_dir=/work/src
out_dir=/work/out
site_dir=$out_dir/lib/python$PIBUILD_PYTHON/site-packages

# A source archive of distutils has no egg-info: its PKG-INFO is that file.
for info in "$source_dir"/*/PKG-INFO; do
  package=$(basename "$(dirname "$info")")
  mv "$info" "$(dirname "$info")/$package.egg-info"
done

mkdir -p "$site_dir"
cp -r $source_dir/*/. "$site_dir"
# Some archives have their modules in a folder.
if [[ -e $site_dir/src ]]; then
  mv "$site_dir"/src/* "$site_dir"
  rmdir "$site_dir/src"
fi
cp /work/recipe/left-out.txt $out_dir
