"""How a router learns from graded outcomes: training, exploration, replay, evaluation."""
