"""Decoders of the built ladders: architecture, generation, checkpoints, and how base models are made."""
