"""`python -m tests.flood [ROUNDS]`: each round is ten quiet and ten flooded seconds."""

import asyncio
import sys


from tests.flood.run import SETTINGS, run

from tests.running import running

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
rate = 100.0
print(f"{rounds} rounds of 10 s without and 10 s with {rate:g} junk requests a second", flush=True)
with running(SETTINGS) as api:
    print(asyncio.run(run(api.url, rate=rate, seconds=10, rounds=rounds)))
