"""Forecasts of what a law has not seen: protocols that seal, bands, scores, the tournament, sensitivity."""
