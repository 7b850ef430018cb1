"""Where the source comes from: refs, commits, submodules, tree ids, and the files of a package.

A commit is the source, never a mutable folder. ``FATE_DIR`` is only read: what has to be written (fetched commits, the
tree of uncommitted changes) goes to an object store of our own.
"""
