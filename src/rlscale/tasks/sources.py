"""Where a problem file comes from: a path, or a file of a data set on the Hugging Face Hub at a pinned commit.

Fetched files are kept in the hub's cache; with HF_HUB_OFFLINE=1 nothing else is looked at.
"""

import hashlib
from pathlib import Path

from rlscale.errors import UserError, first_line
from rlscale.task_spec import hub_address


def local_file(source: str) -> Path:
    """Return the file of a path or of a hub's address, fetched if it must be.

    Raises:
        UserError: the file cannot be had, or it has other bytes than the address says.
    """
    address = hub_address(source)
    if address is None:
        return Path(source)
    path = _fetched(source, **{name: address[name] for name in ("repo", "revision", "file")})
    if address["sha256"]:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != address["sha256"]:
            raise UserError(f"{source}: the file has other bytes than the address says: its SHA-256 is {found}")
    return path


def _fetched(source: str, repo: str, revision: str, file: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo, file, repo_type="dataset", revision=revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(f"{source} cannot be fetched: {first_line(error)}") from error
