"""The commands that keep a registry well: checks, tidying, backups, the audit log, ownership, MLflow."""
