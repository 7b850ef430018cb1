"""Carrying images elsewhere: offline bundles. Reads images through ``engine/``; never builds or names one."""
