"""The commands that look at a model and change nothing."""
