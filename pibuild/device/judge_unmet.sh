#!/usr/bin/env bash
# Fails if `pip check` found an unmet dependency other than the packages that were left out.
# usage: judge_unmet.sh LEFT_OUT UNMET (files: one package name per line; the output of pip check)
set -euo pipefail
left_out=$1 unmet=$2

[[ -s $unmet ]] || { echo 'pip check failed without any output' >&2; exit 1; }
if grep -Eiv "requires ($(paste -sd'|' "$left_out")), which is not installed\.$" "$unmet" >&2; then
  exit 1
fi
