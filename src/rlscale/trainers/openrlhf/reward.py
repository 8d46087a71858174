"""The file that OpenRLHF's ``--reward.remote_url`` names; it is loaded from its path, outside its package."""

from rlscale.trainers.openrlhf.referee import reward_func

__all__ = ["reward_func"]
