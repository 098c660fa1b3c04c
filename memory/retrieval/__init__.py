"""From a query to the records it needs: indexes, relevance, ranking, packing under a token budget."""
