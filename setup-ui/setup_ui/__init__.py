"""The pages on the home network: the wizard, later the dashboard; no root, no policy."""
