"""The Docker engine: BuildKit builds, inspecting, tagging, pulling. The only room that talks to it."""
