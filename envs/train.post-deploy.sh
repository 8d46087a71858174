#!/usr/bin/env bash
# Snakemake runs this in the new environment, from the folder of the Snakefile. The digest makes it a new environment
# when the lock changes.
set -euo pipefail
sha256sum --check --quiet <<< "51126888faa1cecc7ae516858629fcc3316eb33c971c5db189db4f3228ca19f5  envs/train.txt"
pip install -r envs/train.txt
pip install --no-deps -e .
# flash-attn has no wheel: it is compiled against the torch that is installed by now (nvcc is needed, and half an hour).
pip install --no-build-isolation --no-deps flash-attn==2.8.3
