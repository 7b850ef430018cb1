"""How the values of settings are read: text to a checked value, or :class:`ValueError` saying what it must be.

Values end up in paths, image names and argument lists, so these grammars are narrow on purpose.
"""
