#!/usr/bin/env bash
# Snakemake runs this in the new environment, from the folder of the Snakefile. The digest makes it a new environment
# when the lock changes.
set -euo pipefail
sha256sum --check --quiet <<< "6c4cd26a8e63c946593ab35308447e2e933f16f81f813ebad0f458aed909fcdd  envs/eval.txt"
pip install -r envs/eval.txt
pip install --no-deps -e .
