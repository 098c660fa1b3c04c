"""Patterns by which texts offer options and answers pick one."""

from __future__ import annotations

import re

from orchestrator.verifiers.answers.pattern import Pattern

LETTERS = "ABCDEFGHIJ"


# Blanks inside a line only, and not too many: `\s*` after `^`, or twice in a row, takes quadratic time on runs of white
# space.
OPTION_LINE = Pattern(r"^[^\S\n]{0,40}[*\-]{0,2}[^\S\n]?\(?([A-J])[).:]\**[^\S\n]{1,40}(\S[^\n]*)", re.MULTILINE)


SMALL_OPTION_LINE = Pattern(r"^[^\S\n]{0,40}\(?([a-j])[).][^\S\n]{1,40}(\S[^\n]*)", re.MULTILINE)


OPTION_INLINE = Pattern(
    r"(?<![\w)])\(?([A-J])\)[^\S\n]{1,3}([^\n()]{1,80}?)(?=[\s,;]{1,3}(?:or\s)?\(?[A-J]\)\s|\s{0,2}$|[?.]\s|\n)"
)


AT_START = Pattern(
    r"[\s*_\"'“”„«$`>#.…–—-]{0,8}(?:(?:option|choice|letter|answer|statement|die|the|opción|opção|options?|вариант|选项"
    r"|選項|it is|that is|is)\b\**[\s:：]{0,3}){0,3}[*_\"'“`]{0,3}"
    r"(?:[(\[（{]\s?(?P<held>[A-Ja-jａ-ｊＡ-Ｊ])\s?(?:[)\]）}]|\Z)|(?P<upper>[A-JＡ-Ｊ])|(?P<lower>[a-j]))(?P<rest>.*)",
    re.DOTALL | re.IGNORECASE,
)


WORDS_FOLLOW = Pattern(
    r"['’]|\s+(?!because\b|since\b|as\b|and\b|or\b|is\b|with\b|which\b|would\b|was\b|in\b|for\b|by\b|based\b|given\b"
    r"|according\b|due\b|\W)\w"
)


NEGATED = Pattern(
    r"[)\]*_.\s]{0,4}(?:(?:is|was|would be|are|seems|looks)\s+(?:also\s+)?(?:not\b|incorrect|wrong|false"
    r"|a distractor|invalid|ruled out|eliminated|implausible|too\b)"
    r"|(?:,|but|which|and)?\s*(?:but\s+)?(?:it|that|this|which)\s+(?:is|was)\s+(?:also\s+)?(?:not\b|incorrect|wrong"
    r"|false)|can(?:not|['’]t)\b|does(?:n['’]t| not)\b|isn['’]t|would be (?:wrong|incorrect))",
    re.IGNORECASE,
)


COMMITS = Pattern(
    r"(?:(?:\b(?:choose|chose|pick|select|selecting|go with|going with|opt for|answer with|corresponds? to|matches"
    r"|match"
    r"|equivalent to|best (?:answer|option|choice|fit|match|description)[^.\n]{0,60} is|must be|has to be|should be"
    r"|(?:correct|right|best|closest|appropriate|suitable|likely|accurate|final)\s+(?:\w+\s){0,2}?(?:one|option"
    r"|choice|answer|letter)?\s?(?:is|:|would be)"
    r"|(?:option|choice) that [^.\n]{0,80}? is|choice is|option is|would be|wähle|nehme|elijo|escolho|choisis|выбираю"
    r"|правильный ответ|correct|selected option|opción correcta|letra|alternativa|gabarito|antwort|réponse|respuesta"
    r"|correta)"
    r"|选择|选项|选|選項|選択肢|選|答案】|विकल्प|उत्तर|الخيار(?:\sالصحيح)?(?:\sهو)?)\s{0,3}[:：]?\s{0,3}(?:option|choice|letter"
    r"|answer|opción|opção|вариант"
    r"|选项)?\s{0,2}[*_\"']{0,3}[(（]?\s?(?P<a>[A-JＡ-Ｊ])(?![\w'’])(?![^\S\n](?!because|since|as\b|\W)[a-z])[)）]?"
    r"|(?:\b(?:option|choice|answer|letter|so|thus|therefore|hence)|^)[\s,:]{1,3}(?:option\s+"
    r"|choice\s+)?[*_]{0,3}[(]?(?P<b>[A-J])[)]?[*_]{0,3}\s+(?:is|ist|es|est|é)\s+(?:the\s+|therefore\s+|thus\s+"
    r"|clearly\s+|definitely\s+|our\s+|la\s+|a\s+|die\s+)?(?:only\s+|most\s+|best\s+)?(?:right|correct|answer|best"
    r"|true|closest|appropriate|likely|accurate|richtig|correcta|correcte|correta|solution|choice|option))",
    re.IGNORECASE | re.MULTILINE,
)


LINE_PICK = Pattern(
    r"^[^\S\n]{0,20}[*_]{0,3}[(（]?(?P<a>[A-J])(?:[)）][*_]{0,3}|[*_]{0,3}[.:,])(?:[*_]{0,3}[^\S\n]|[*_]{0,3}$)",
    re.MULTILINE,
)


LAST_HELD = Pattern(
    r"(?:(?<![\w^_\\{])[(（]|\b[oO]ption |\b[cC]hoice )(?P<a>[A-J])(?:[)）]|(?<=[nce] [A-J])(?![\w'’]))(?!\s?[=(^\d])"
)


CLOSEST = Pattern(
    r"\b(?:closest|nearest|most similar|best match|not (?:listed|among|exactly)|approximately matches)\b",
    re.IGNORECASE,
)


REJECTED = Pattern(r"\b(?:incorrect|wrong|false|not)\b|✗|❌", re.IGNORECASE)


CALLED_RIGHT = Pattern(
    r"^\W{0,6}([A-J])[).:][^\n]*[-–—:(]\s*(?:correct|right|true|✓|✅)\W*$|^\W{0,6}([A-J])[).:][^\n]*(?:✓|✅)",
    re.IGNORECASE | re.MULTILINE,
)


OPTION_ROW = Pattern(r"(?<![\w)])([A-J])\.\s([^\n]{1,60}?)(?=\s[A-J]\.\s|\s{0,2}$)")


JSON_CHOICE = Pattern(r'"(?:choice|option|letter|selected(?:_option)?|selection)"\s*:\s*"\(?([A-Ja-j])\b')


BESIDE = Pattern(
    r"[^A-Za-z]{0,3}\(?[A-J]\)?\s*(?:,|or|and|/|&|oder|y|ou|и|和|或)\s*(?:or\s+|and\s+)?\(?([A-J])\)?(?![\w'’])"
)


FULL_WIDTH = {ord("Ａ") + i: LETTERS[i] for i in range(10)} | {ord("ａ") + i: LETTERS[i] for i in range(10)}
