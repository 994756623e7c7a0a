"""`python -m tests.chaos [SECONDS]`: run chaos, for three minutes by default."""

import sys

from tests.chaos.run import main

sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 180.0))
