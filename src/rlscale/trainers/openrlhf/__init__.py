"""The trainer that runs OpenRLHF's GRPO on a cluster, unmodified: a command line in, checkpoints and its log out."""
