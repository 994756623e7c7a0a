"""The local API: it serves template.yaml on this machine, without Docker and without AWS.

It must not know tasks: routes, identity, environment and time-outs come from the template, and
handlers are other processes that are reached only through Lambda's Runtime API.
"""
