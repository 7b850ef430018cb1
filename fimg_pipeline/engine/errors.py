"""What an engine does not do."""

from __future__ import annotations

from fimg_pipeline.errors import FimgError, TransientError


class EngineError(FimgError):
    """The Docker engine or its client is missing, too old, or refused."""


class EngineUnreachableError(EngineError, TransientError):
    """No engine answers; may pass when one is started."""


class ImageGoneError(EngineError):
    """The engine has no image of that name or id; somebody may have removed it meanwhile."""
