"""The models at hand: built from the configuration, found on this machine, measured, and their memory."""
