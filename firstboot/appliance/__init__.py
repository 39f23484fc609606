"""The shared vocabulary of the build host and the appliance.

Settings, state, paths, the one subprocess door, errors and the agent's request set. Standard
library and tomli-w only, so that every other package may import it.
"""
