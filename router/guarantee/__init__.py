"""Promised quality: certificates, and the monitor that withdraws them."""
