#!/usr/bin/env bash
# Snakemake runs this in the new environment, from the folder of the Snakefile. The digest makes it a new environment
# when the lock changes.
set -euo pipefail
sha256sum --check --quiet <<< "de5f00dde85177a036286ae9937b1cba6def0e01df87aaba7fca63ade35ed6e1  envs/eval.txt"
pip install -r envs/eval.txt
pip install --no-deps -e .
