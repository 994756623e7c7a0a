"""What deploying needs at a desk or in CI beside SAM: secrets, and a look at what runs.

It knows AWS and samconfig.toml; nothing that is deployed imports it.
"""
