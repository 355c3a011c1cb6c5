"""The network on its way to an export: its layers, its inputs and outputs, and the rewrites that keep its function."""
