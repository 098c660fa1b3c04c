"""What a text says: words, times, facts, near duplicates, signs of injection."""
