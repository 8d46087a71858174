#!/usr/bin/env bash
# flash-attn has no wheel: it is compiled against the torch that is installed by now (nvcc is needed, and half an hour).
set -euo pipefail
pip install --no-build-isolation --no-deps flash-attn==2.8.3
