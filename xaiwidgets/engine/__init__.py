"""Many passes at once: measured batch sizes, perturbations in one reused buffer, and the driver of methods."""
