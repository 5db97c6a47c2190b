"""Metrics of recommendations, and of what is kept over several edits."""
