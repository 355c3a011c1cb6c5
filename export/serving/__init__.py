"""The TensorFlow Serving directory: a bit-packed SavedModel, its signatures, warm-up requests and server settings."""
