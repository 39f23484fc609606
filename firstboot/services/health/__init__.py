"""Health checks: each measures one thing and says what it saw."""
