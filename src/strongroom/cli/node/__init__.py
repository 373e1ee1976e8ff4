"""Commands of the node itself: create it, serve it, look at it, back it up, let a further one in."""
