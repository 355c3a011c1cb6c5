"""Sources: where a network to export comes from, and how it becomes a graph of Keras layers."""
