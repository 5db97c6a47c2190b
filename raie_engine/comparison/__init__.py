"""A comparison of strategies over consecutive edits of one log: who takes part, what they get, what came of it."""
