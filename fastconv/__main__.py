"""`python -m fastconv`: the `fastconv` command by another road."""

import sys

from fastconv.cli import main

if __name__ == "__main__":
    sys.exit(main())
