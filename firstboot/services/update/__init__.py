"""Updates over the air: finding a release, installing it, trying it, and what the owner is told."""
