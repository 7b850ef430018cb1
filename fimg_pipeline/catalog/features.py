"""The ``Build_*`` switches of the build document, as the letters its tables use."""

from __future__ import annotations

from enum import Enum


class Feature(Enum):
    """One switch; its value is the name of the environment variable."""

    BASIC = "Build_Basic"
    OP = "Build_OP"
    FUM = "Build_FUM"
    NN = "Build_NN"
    SPARK = "Build_Spark"
    IPCL = "Build_IPCL"
    GPU = "Build_GPU"
    LLM = "Build_LLM"

    @property
    def variable(self) -> str:
        return self.value
