"""The verbs, a file each (or one for those that share what they do). `verbs.py` says which is which."""
