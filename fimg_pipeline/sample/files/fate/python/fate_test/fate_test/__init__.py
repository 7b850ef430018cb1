"""Test suites: lists of jobs in files named ``*testsuite.json``."""
