"""What serving engines tell of themselves, and which of several replicas should be asked."""
