"""The benchmark: ours beside other stacks, each as a real Lambda runtime process (`make bench`).

environment   one process with the real awslambdaric, and the Runtime API that it polls
processes     how such a process is started for a contender: packages, variables, events
backends      the databases: Postgres, PgBouncer with TLS before it, a relay that is far away
relay         the relay itself: it delays, and counts round trips
figures       medians, ratios and their spread
measuring     cold starts, and warm requests in turns
scenarios     what is measured, in which order
report        the table and the JSON          charts   the same as SVG
"""
