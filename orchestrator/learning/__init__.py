"""What the engine learns while it serves: the router online, audits of a promise, certificates."""
