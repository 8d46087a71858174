"""The environment of these tests holds all that its packages ask for, but for what only a GPU or nobody here needs."""

import re
import subprocess
import sys

BREAKS_AN_IMPORT = {"torchaudio", "torchcodec", "torchvision"}  # transformers takes another way to Qwen2 with them
FOR_GPUS = {"bitsandbytes", "flash-attn", "pynvml"}
NOT_IMPORTED = {"isort", "loralib", "optimum", "torchmetrics", "transformers-stream-generator", "wandb", "wheel"}


def test_only_what_is_left_out_on_purpose_is_missing() -> None:
    said = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False).stdout
    missing = set(re.findall(r"requires (\S+), which is not installed", said))
    assert missing == BREAKS_AN_IMPORT | FOR_GPUS | NOT_IMPORTED
