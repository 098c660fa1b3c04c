"""What a query looks like to the router, as numbers."""
