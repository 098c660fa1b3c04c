"""Clients that are not ours, each in a program of its own, against a gateway in front of a scripted model (`make
clients`).
"""
