"""Dagster assets: thin shells over plan and engine, a module per kind.

No logic lives here that the command line would need too.
"""
