"""Recommendations for every history of a file, or every user of a log, written to a file."""
