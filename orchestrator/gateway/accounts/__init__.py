"""Who asks, what they may spend, and what each request cost."""
