"""Trained networks: those that come with bopkit, as bits and floats in `shipped-networks`, and those of others."""

from bopkit.pretrained.listing import PretrainedModels, list_pretrained
from bopkit.pretrained.named import is_pulled, load_model, model_path, read_card
from bopkit.pretrained.pull import PulledModel, pull_model

__all__ = [
    "PretrainedModels",
    "PulledModel",
    "is_pulled",
    "list_pretrained",
    "load_model",
    "model_path",
    "pull_model",
    "read_card",
]
