"""Kuscia: images on its nodes, AppImages in its API server, and the jobs that use them."""
