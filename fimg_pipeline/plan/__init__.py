"""Deciding what to build: settings + catalog + source + what the engine has → a plan. Pure: reads nothing itself."""
