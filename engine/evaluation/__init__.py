"""From checkpoints and faces to an accuracy that can be published: `testing.evaluate` and what it is made of."""
