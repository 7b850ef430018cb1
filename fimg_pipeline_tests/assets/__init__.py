"""Tests of the Dagster assets."""
