"""Least squares of laws: exact, deterministic, for one table or for thousands of replicates at once."""
