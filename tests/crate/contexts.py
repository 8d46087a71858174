"""The JSON-LD contexts that a crate names, put where the validator looks before it asks the network.

`python contexts.py FOLDER CACHE`: FOLDER holds the package rocrate 0.14, the last that ships the context of RO-Crate
1.1; CACHE is what `rocrate-validator --cache-path` is given.
"""

import json
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from urllib3 import HTTPResponse

RO_CRATE = "https://w3id.org/ro/crate/1.1/context"
WORKFLOW_RUN = "https://w3id.org/ro/terms/workflow-run/context"

TERMS = (
    *("ParameterConnection", "ContainerImage", "DockerImage", "SIFImage", "connection", "sourceParameter"),
    *("targetParameter", "md5", "sha1", "sha256", "sha512", "environment", "registry", "tag", "containerImage"),
    "resourceUsage",
)
"""What that context says: each of these is the term of that name (version 0.5 of the profiles)."""


class Shelf(HTTPAdapter):
    """Answers requests from texts at hand, by URL."""

    def __init__(self, texts: dict[str, str]) -> None:
        super().__init__()
        self.texts = texts

    def send(self, request: PreparedRequest, *_arguments: Any, **_options: Any) -> Response:
        body = BytesIO(self.texts[str(request.url)].encode())
        headers = {"Content-Type": "application/ld+json"}
        answer = HTTPResponse(body, headers, status=200, preload_content=False, request_url=request.url)
        return self.build_response(request, answer)


def fill(package: Path, cache: Path) -> None:
    """Store both contexts in an HTTP cache of requests-cache."""
    text = (package / "rocrate/data/ro-crate.jsonld").read_text(encoding="utf-8")
    if json.loads(text)["@id"] != RO_CRATE:
        raise SystemExit(f"{package}: this rocrate ships another context than {RO_CRATE}")
    terms = {term: f"https://w3id.org/ro/terms/workflow-run#{term}" for term in TERMS}
    texts = {RO_CRATE: text, WORKFLOW_RUN: json.dumps({"@context": terms})}
    with CachedSession(cache_name=str(cache), backend="sqlite", expire_after=-1) as session:
        session.mount("https://", Shelf(texts))
        for url in texts:
            session.get(url).raise_for_status()


if __name__ == "__main__":
    fill(Path(sys.argv[1]), Path(sys.argv[2]))
