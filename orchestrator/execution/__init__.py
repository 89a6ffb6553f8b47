"""Does what was decided: in threads that may hang, with descriptors and journals."""
