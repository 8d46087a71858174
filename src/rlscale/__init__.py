"""Measure the scaling law of reinforcement-learning post-training, reproducibly."""
