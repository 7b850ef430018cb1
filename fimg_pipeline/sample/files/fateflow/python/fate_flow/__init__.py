"""FATE Flow: jobs over HTTP."""
