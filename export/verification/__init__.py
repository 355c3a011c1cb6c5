"""`bopkit verify`: whether two artifacts are the same network."""
