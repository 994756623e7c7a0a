"""`python -m tests.neon.faults [SECONDS]`: print the table; exit with 1 if a promise was broken."""

import sys

from tests.neon.faults.run import main

sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 120.0))
