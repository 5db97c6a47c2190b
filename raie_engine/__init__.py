"""The engine: interaction logs and snapshot content in, adapter bytes out."""
