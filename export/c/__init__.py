"""C99 sources for microcontrollers, from a verified flatbuffer."""
