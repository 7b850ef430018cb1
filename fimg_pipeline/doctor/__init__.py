"""What a first user stumbles over, found before a build does: each finding with the line that mends it.

A module for each part of the world. They ask by the same functions as runs, so that they come to the same answers.
Nothing is changed but for an image of two hundred bytes, which shows whether the engine runs programs of another kind.
"""
