"""The learned mixture of scores: a model, what a log counts, and what a user had before."""
