"""The active-set engine: the elastic family with a smooth loss of one prediction."""
