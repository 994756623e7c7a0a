"""`python -m tests.flood [ROUNDS]`: each round is ten quiet and ten flooded seconds."""

import sys

from tests.flood.run import main

sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 6))
