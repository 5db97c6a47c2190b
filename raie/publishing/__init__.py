"""What others get of a registry: MLflow its pages, consumers their events."""
