"""Setup and edits of a model: plan, train, measure, decide."""
