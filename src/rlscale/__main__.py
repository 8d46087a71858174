"""Run the command line as ``python -m rlscale``."""

from rlscale.cli import main

main()
