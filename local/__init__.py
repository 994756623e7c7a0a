"""The API on this machine: what AWS would do with template.yaml, without Docker and without AWS.

It must not know tasks: routes, identity, environment and time-outs come from the template, and
handlers are other processes that are reached only through Lambda's Runtime API.
"""
