"""Models and GPUs: their profiles, the catalogue of both, and the files they come from."""
