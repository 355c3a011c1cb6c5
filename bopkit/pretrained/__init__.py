"""Trained networks: those that come with bopkit, as packed bits and floats in `shipped-networks`."""

from bopkit.pretrained.pull import PulledModel, pull_model
from bopkit.pretrained.shipped import PretrainedModels, list_pretrained

__all__ = ["PretrainedModels", "PulledModel", "list_pretrained", "pull_model"]
