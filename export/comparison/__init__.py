"""`bopkit compare`: networks against full-precision twins of the same shape."""
