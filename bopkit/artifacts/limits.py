"""Bounds on what a model file of a stranger may hold, and what to do about a damaged one."""

MAX_CONFIG_BYTES = 16 << 20
"""Largest config and largest card; those of a ResNet-152 are below 1 MiB."""

MAX_TENSOR_BYTES = 4 << 30
"""All tensors of one file together; Binary AlexNet with an optimizer state takes 0.7 GiB."""

DAMAGED = "The file is damaged, cut short or not a whole model: copy it again, or save it again with `model.save`."
