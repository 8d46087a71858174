#!/usr/bin/env bash
# Snakemake runs this in the new environment, from the folder of the Snakefile. The digest makes it a new environment
# when the lock changes.
set -euo pipefail
sha256sum --check --quiet <<< "3f740d3654f9780269acac5e7f6cddf0657a1d8ada2a20b0ef416f3cb486a23b  envs/core.txt"
pip install -r envs/core.txt
pip install --no-deps -e .
