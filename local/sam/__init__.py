"""The API in AWS's own tool: `sam local`, its containers, and a Postgres that they can reach.

Docker is the developer's; where no daemon runs, root gets a private one for as long as it is
needed. AWS's Lambda image is pulled; where that is impossible, a stand-in is built from Debian.
"""
