"""The command line, ``rlscale`` or ``python -m rlscale``; a job of the workflow runs in a fork where it can."""

import sys

from rlscale.forkserver import run_in_fork


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["stage"]:
        code = run_in_fork(sys.argv)
        if code is not None:
            sys.exit(code)
    from rlscale.cli import main as run

    run()


if __name__ == "__main__":
    main()
