#!/usr/bin/env bash
# Judges what `pip check` found: says no where more is unmet than the packages that were left out.
# usage: judge_unmet.sh LEFT_OUT UNMET, files with a package's name, or pip's words, a line
set -euo pipefail
left_out=$1 unmet=$2

[[ -s $unmet ]] || { echo 'pip check failed and did not say why' >&2; exit 1; }
if grep -Eiv "requires ($(paste -sd'|' "$left_out")), which is not installed\.$" "$unmet" >&2; then
  exit 1
fi
