"""What can go wrong while the sample is made or changed."""

from __future__ import annotations

from fimg_pipeline.errors import FimgError


class SampleError(FimgError):
    """The sample could not be made, or a change could not be committed to it."""
