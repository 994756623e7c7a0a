"""One secret out of AWS Secrets Manager, by one signed request of the standard library alone.

Importing boto3 would take about as long as all the rest of a cold start (docs/operations.md has
the measurement). This package knows AWS and nothing of what a secret is for.
"""

from secrets_manager._client import SecretRefusedError, SecretUnavailableError, get_secret

__all__ = ["SecretRefusedError", "SecretUnavailableError", "get_secret"]
