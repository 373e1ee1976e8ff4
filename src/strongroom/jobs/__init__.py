"""Jobs: kinds, states, progress, and the port that enqueues them."""
