"""Trained networks: those that come with bopkit, as packed bits and floats in the folders beside this file."""

from bopkit.pretrained.pull import PulledModel, pull_model
from bopkit.pretrained.shipped import PretrainedModels, list_pretrained

__all__ = ["PretrainedModels", "PulledModel", "list_pretrained", "pull_model"]
