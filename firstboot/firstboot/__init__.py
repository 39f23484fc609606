"""When it is done: the ordered first-boot steps, the recurring jobs, the agent, hearthctl."""
