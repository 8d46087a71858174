"""Published base models: fetched from the Hugging Face Hub at a pinned commit, weights and texts only, no code.

Files stay in the hub's cache and are linked into the study: models are stored once, and a node without a network finds
what another has fetched (HF_HUB_OFFLINE=1).
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from rlscale.errors import UserError, first_line
from rlscale.files import read_json, remove_folder, write_json
from rlscale.provenance import IDENTITY, weights_digest

WANTED = ("*.safetensors", "*.safetensors.index.json", "*.json", "merges.txt", "*.jinja")
REQUIRED = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")


def fetch_base(base_id: str, repo: str, revision: str | None, output: Path) -> None:
    """Make ``output`` a checkpoint of step 0 from a hub's repository.

    Raises:
        UserError: no commit is pinned, the repository cannot be had, it lacks a file, or it wants its own code to run.
    """
    if revision is None:
        raise UserError(f"{base_id}: the ladder pins no commit of {repo}: state the 40 digits of one as its revision")
    snapshot = _fetched(base_id, repo, revision)
    missing = [name for name in (*REQUIRED, *_weight_files(snapshot)) if not (snapshot / name).is_file()]
    if missing:
        raise UserError(f"{base_id}: {repo} at {revision} has no {', '.join(missing)}")
    for name in ("config.json", "tokenizer_config.json"):
        if read_json(snapshot / name).get("auto_map"):
            raise UserError(f"{base_id}: {repo} wants its own code to run ({name}: auto_map), which is never done here")
    remove_folder(output)
    output.mkdir(parents=True)
    for file in sorted(snapshot.iterdir()):
        _link(file.resolve(), output / file.name)
    digest = weights_digest(output)
    identity = {"base": base_id, "step": 0, "repo": repo, "revision": revision, "weights_sha256": digest}
    write_json(output / IDENTITY, identity)  # last: without it the checkpoint is none


def _weight_files(snapshot: Path) -> list[str]:
    index = snapshot / "model.safetensors.index.json"
    if not index.is_file():
        return ["model.safetensors"]
    return sorted(set(read_json(index)["weight_map"].values()))


def _fetched(base_id: str, repo: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    with suppress(LocalEntryNotFoundError):  # a commit never changes: what the cache has need not be asked for
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(WANTED), local_files_only=True))
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(WANTED)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(f"{base_id}: {repo} at {revision} cannot be fetched: {first_line(error)}") from error


def _link(source: Path, target: Path) -> None:
    """Link a file, or copy it where it lies on another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
