"""The dashboard: what the fleet does, what it costs, and what would change.

Pages are rendered here (Jinja2 over Starlette's routes) and are JSON at the same address. It reads the tables that are
kept anyway and changes nothing itself: whatever changes something goes through the API, with the permissions and limits
of who is signed in.
"""
