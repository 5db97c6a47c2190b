"""MLflow's view of the registry: what is published there, and how it is kept as the registry has it."""
