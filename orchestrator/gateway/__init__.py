"""The gateway.

One endpoint for OpenAI's and Anthropic's clients in front of the whole fleet, with keys, budgets and limits (extra
`gateway`).
"""
