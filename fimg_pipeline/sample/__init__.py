"""Small git repositories in FATE's shape, so that every recipe does its real work in miniature."""

from fimg_pipeline.sample.change import commit_change
from fimg_pipeline.sample.errors import SampleError
from fimg_pipeline.sample.generate import SampleSource, create_sample

__all__ = ["SampleError", "SampleSource", "commit_change", "create_sample"]
