"""Results of evaluations, and of agents under evaluation."""
