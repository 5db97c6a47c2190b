"""The commands that say who may promote what: policies, approvals, signatures and keys."""
