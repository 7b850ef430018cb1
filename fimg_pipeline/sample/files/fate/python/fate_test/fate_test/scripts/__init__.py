"""The ``fate_test`` command."""
