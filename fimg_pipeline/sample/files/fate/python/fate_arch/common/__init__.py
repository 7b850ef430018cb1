"""Where the project lies, how it is configured, which versions it has."""
