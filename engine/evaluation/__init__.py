"""From checkpoints and faces to an accuracy that can be published: `test.evaluate` and what it is made of."""
