"""The commands that make a workspace and its first snapshot."""
