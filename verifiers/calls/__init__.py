"""Checks on tool calls: do they fit their tools' schemas, and the conversation that they were made in?"""
