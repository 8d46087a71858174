#!/usr/bin/env bash
# Snakemake runs this in the new environment, from the folder of the Snakefile. The digest makes it a new environment
# when the lock changes.
set -euo pipefail
sha256sum --check --quiet <<< "c423a1ecb8b02ad8cab6e9b4b18a025c6fdd04c46b6984bef91ddad508d3ed70  envs/core.txt"
pip install -r envs/core.txt
pip install --no-deps -e .
