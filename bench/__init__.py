"""The benchmark: this API beside other stacks, each as real Lambda processes (`make bench`).

contract      the six operations that all contenders serve: their events and their responses
contenders    builds each contender as it would be deployed; `rivals/` has the sources
environment   one process with the real awslambdaric, and the Runtime API that it polls
databases     Postgres with both schemas, PgBouncer with TLS, and servers that are far away
proxy         delays what passes through it, and counts round trips; tests cut and hold with it
servers       Postgres over TCP, PgBouncer and certificates, for tests too
measuring     cold starts, warm requests in turns, their figures and ratios
scenarios     the measurements, in their order
report        the tables with their targets, and the pages that show them
charts        draws the results; it runs in a virtual environment of its own, with matplotlib
"""
