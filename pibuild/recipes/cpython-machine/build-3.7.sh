#!/usr/bin/env bash
# CPython 3.7 for the machine. The difference to build.sh: the name of the target's _sysconfigdata has the ABI's letter
# `m`, which Python 3.8 removed.
set -euo pipefail

bash /work/recipe/build.sh
sed -i 's/_sysconfigdata__linux/_sysconfigdata_m_linux/' /work/out/bin/cross-python
