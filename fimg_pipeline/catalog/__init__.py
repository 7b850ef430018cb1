"""What the pipeline knows about FATE, as frozen data: images, packages, recipes, external bases, platforms.

Nothing here decides, reads a file or talks to anything; deciding is :mod:`fimg_pipeline.plan`.
"""
