"""FATE's source code as Docker images, offline bundles and Kuscia registrations: a Dagster project."""
