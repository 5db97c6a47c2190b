"""How an alias moves: policies, checks, approvals, evaluations, keys and signatures."""
