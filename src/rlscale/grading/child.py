"""The process that looks at answers: one JSON line in, one out, within limits that it sets on itself.

Run as ``python -m rlscale.grading.child SECONDS MEBIBYTES``. The first line asks nothing: it is answered once all is
imported.
"""

import json
import logging
import os
import resource
import signal
import sys
from dataclasses import asdict
from pathlib import Path

GRACE = 2.0
"""Times the deadline after which a child ends itself, should its parent be gone."""


def main() -> None:
    """Judge answers until the input ends."""
    deadline, mebibytes = float(sys.argv[1]), int(sys.argv[2])
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    logging.disable(logging.CRITICAL)  # math-verify warns that its own alarm is left out
    with os.fdopen(os.dup(1), "w") as said, Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)  # a parser that prints must not be taken for an answer

        from rlscale.grading.equivalence import judge
        from rlscale.grading.judgement import Judgement

        _limit(resource.RLIMIT_AS, mebibytes * 2**20)
        for line in sys.stdin:
            question = json.loads(line)
            judgement = Judgement("no_verdict", "nothing asked")
            signal.setitimer(signal.ITIMER_REAL, GRACE * deadline)
            try:
                if question is not None:
                    judgement = judge(**question)
            except MemoryError:
                judgement = Judgement("no_verdict", f"needs more than {mebibytes} MiB")
            except RecursionError:
                judgement = Judgement("no_verdict", "nested too deeply")
            signal.setitimer(signal.ITIMER_REAL, 0)
            said.write(json.dumps(asdict(judgement)) + "\n")
            said.flush()
            os.dup2(nowhere.fileno(), 2)  # nobody reads stderr from here on, and a full pipe would stop us


def _limit(what: int, value: int) -> None:
    """Lower a limit of this process for good."""
    most = resource.getrlimit(what)[1]
    least = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(what, (least, least))


if __name__ == "__main__":
    main()
