"""What deploying needs beside SAM: secrets, checks before a change, and a look at what runs.

It knows AWS and samconfig.toml. Nothing that is deployed imports it.
"""
