"""The commands that change what the model is, or what an alias serves."""
