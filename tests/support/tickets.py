"""Invented messages to a shop, with the desk that each is for; in English and German, some of them unclear."""

from __future__ import annotations

import random

from orchestrator.students.training import LabelledText

PROMPT = "Which desk is this message for: billing, shipping or account?\n{text}"
LABELS = ("billing", "shipping", "account")
_OPENINGS = ("Hello, ", "Hi there, ", "Dear team, ", "", "Please help: ", "Guten Tag, ", "Moin, ")
_SAID = {
    "billing": (
        "the invoice {n} charges me twice for the {thing}",
        "I was billed {n} euros too much on my credit card",
        "please refund the payment for the {thing}",
        "why does my receipt show a tax of {n} percent",
        "die Rechnung {n} ist falsch, bitte erstatten Sie den Betrag",
    ),
    "shipping": (
        "my parcel {n} with the {thing} has not arrived yet",
        "the courier left the package at the wrong address",
        "when will the {thing} be delivered to my door",
        "tracking says that the shipment {n} is lost",
        "das Paket {n} ist immer noch nicht angekommen",
    ),
    "account": (
        "I cannot log in since the password reset {n} failed",
        "please change the email address of my profile",
        "two factor codes never reach my phone {n}",
        "how do I delete my user account with the {thing} newsletter",
        "ich habe mein Passwort vergessen und komme nicht in mein Konto",
    ),
}
_UNCLEAR = ("it is about the {thing} again", "the {thing} of last week, number {n}", "could somebody call me about {n}")
_THINGS = ("lamp", "blue kettle", "bookshelf", "bicycle", "headphones", "teapot", "garden hose", "keyboard")
_ENDINGS = ("", ".", "!", " Thanks.", " Regards, Ana", " Many thanks for a quick answer.")


def ticket(rng: random.Random, label: str | None = None) -> tuple[str, str, bool]:
    """(text, label, whether the label can be told from it)."""
    label = label or rng.choice(LABELS)
    is_clear = rng.random() > 0.08
    said = rng.choice(_SAID[label] if is_clear else _UNCLEAR)
    text = said.format(n=rng.randint(2, 9_999), thing=rng.choice(_THINGS))
    return rng.choice(_OPENINGS) + text + rng.choice(_ENDINGS), label, is_clear


def tickets(n: int, seed: int = 0) -> list[LabelledText]:
    """Different texts with their labels; the label is gold, too."""
    rng = random.Random(seed)
    found: dict[str, LabelledText] = {}
    while len(found) < n:
        text, label, _ = ticket(rng)
        found.setdefault(text, LabelledText(text, label, teacher="strong", gold=label))
    return list(found.values())
