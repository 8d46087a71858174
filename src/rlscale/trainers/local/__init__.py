"""GRPO in torch on one CPU thread, for models of thousands of parameters."""
