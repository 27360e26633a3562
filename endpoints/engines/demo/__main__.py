"""`python -m endpoints.engines.demo`."""

import sys

from endpoints.engines.demo.cli import main

if __name__ == "__main__":
    sys.exit(main())
