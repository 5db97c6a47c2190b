"""Proof for auditors: what served when and why, what a snapshot consists of, and statements that anybody can verify."""
