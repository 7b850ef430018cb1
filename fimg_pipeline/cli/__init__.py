"""The ``fimg`` command."""
