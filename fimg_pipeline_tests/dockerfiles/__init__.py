"""Tests of the recipes, without an engine."""
