"""Stands for flash-attn, which needs a GPU: OpenRLHF imports these names and, without packed samples, calls none."""
