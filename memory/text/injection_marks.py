"""Remembered text is somebody's words, never an order.

What looks like instructions to a model is marked where it is quoted.

Phrases are known in English, German, French, Spanish, Portuguese, Russian, Chinese and Japanese; in other languages
only the marks of chat formats. They are found through look-alike letters, digits for letters, invisible characters and
Unicode's tags. A mark helps a model to keep quotation and task apart; it is no proof of safety, and nothing is left out
because of it.
"""

from __future__ import annotations

import re
import unicodedata

MAX_CHARS = 4_000
_ORDERS = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b[^.\n]{0,40}"
    r"\b(?:previous|prior|above|earlier|all|any|your|these|the)\b[^.\n]{0,30}"
    r"\b(?:instructions?|rules?|prompts?|guidelines|constraints|orders|context)\b"
    r"|\b(?:system|developer)\s*(?:prompt|message|instructions?)\b"
    r"|\byou (?:are now|must now|will now|have to obey)\b|\bfrom now on,? you\b|\bact as (?:if|an?|the)\b|\bpretend "
    r"(?:to be|that you)\b"
    r"|\b(?:reveal|print|repeat|leak|show)\b[^.\n]{0,30}\b(?:your|the)\b[^.\n]{0,20}"
    r"\b(?:prompt|instructions|rules|secrets?|keys?|passwords?)\b"
    r"|\bdo not (?:tell|inform|mention)\b[^.\n]{0,20}\b(?:user|anyone|human)\b"
    r"|<\|?(?:im_start|im_end|system|assistant|tool_call|function_call)\b|\[/?INST\]|^\s*(?:system|assistant|tool)\s*:"
    # German
    r"|\b(?:ignorier\w*|missacht\w*|vergiss|vergessen sie|uberschreib\w*|umgeh\w*)\b[^.\n]{0,50}"
    r"\b(?:anweisung\w*|regeln?|vorgaben?|befehle?|instruktion\w*|prompts?|kontext)\b"
    r"|\b(?:du bist|sie sind) (?:jetzt|nun|ab jetzt)\b|\bab jetzt (?:bist|musst|antwort\w*)\b|\btu so,? als\b"
    r"|\b(?:verrat\w*|zeig\w*|gib)\b[^.\n]{0,30}\b(?:prompt|anweisungen|geheim\w*|passwort|passworter|schlussel)\b"
    # French
    r"|\b(?:ignore[rz]?|oublie[rz]?|neglige[rz]?|contourne[rz]?)\b[^.\n]{0,50}"
    r"\b(?:instructions?|regles?|consignes?|directives?|ordres?)\b"
    r"|\b(?:tu es|vous etes) (?:maintenant|desormais)\b|\ba partir de maintenant\b|\b(?:fais|faites) semblant\b"
    r"|\b(?:revele[rz]?|montre[rz]?|affiche[rz]?)\b[^.\n]{0,30}\b(?:prompt|consignes|instructions|secrets?|mots? de "
    r"passe|cles?)\b"
    # Spanish and Portuguese
    r"|\b(?:ignor[ae]n?|ignorar|olvid[ae]n?|olvidar|esque[cç]a\w*|desconsider[ae]\w*|omit[ae]n?)\b[^.\n]{0,50}"
    r"\b(?:instrucciones|instrucoes|reglas?|regras?|ordenes|ordens|indicaciones|directrices|diretrizes)\b"
    r"|\b(?:ahora eres|agora voce e|voce agora e|a partir de (?:ahora|agora))\b|\b(?:finge|finja) (?:ser|que)\b"
    r"|\b(?:revela|revele|muestra|muestre|mostra|mostre)\b[^.\n]{0,30}"
    r"\b(?:prompt|instrucciones|instrucoes|secretos?|segredos?|contrasenas?|senhas?|claves?)\b",
    re.IGNORECASE | re.MULTILINE,
)
_OTHER_SCRIPTS = re.compile(
    # Russian
    r"(?:игнорир|проигнорир|забуд|не обращай внимания)[^.\n]{0,50}(?:инструкц|правил|указани|команд|приказ)"
    r"|(?:теперь ты|ты теперь|отныне ты|с этого момента ты|притворись|представь, что ты)"
    r"|(?:раскрой|покажи|выведи)[^.\n]{0,30}(?:промпт|инструкц|секрет|парол|ключ)"
    # Chinese, both ways of writing
    r"|(?:忽略|无视|無視|忘记|忘記|忘掉|不要理会|不要理會)[^。\n]{0,20}(?:指令|指示|规则|規則|提示|命令|说明|說明|要求)"
    r"|(?:从现在起|從現在起|从现在开始|從現在開始|你现在是|你現在是|假装你|假裝你)|(?:系统|系統)(?:提示|指令|消息|訊息)"
    r"|(?:透露|显示|顯示|泄露|洩露|输出|輸出)[^。\n]{0,15}(?:提示词|提示詞|指令|密码|密碼|密钥|密鑰)"
    # Japanese
    r"|(?:指示|命令|ルール|規則|プロンプト|指令)[^。\n]{0,15}(?:無視|忘れ|無効)|(?:無視して|忘れて)[^。\n]{0,20}(?:指示|命令|ルール)"
    r"|(?:あなたは今|今からあなたは|これからあなたは|システムプロンプト)"
)
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
_TAGS = re.compile("[\U000e0020-\U000e007e]")
# Cyrillic and Greek letters that look like Latin ones (Unicode's confusables, those of small letters and capitals in
# use).
_LOOKALIKES = str.maketrans(
    "абвгдеікмнорстухѕјһӏԁԛԝαβεικνορτυχωАВЕКМНОРСТХІЅЈΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "a6brdeikmhopctyxsjhldqwabeiknoptuxwABEKMHOPCTXISJABEZHIKMNOPTYX",
)
_LEET = str.maketrans("013457@$!|", "oieastasil")


def _plain(text: str) -> str:
    """Without what hides letters: invisible characters, tags, look-alikes, marks on letters."""
    text = _TAGS.sub(lambda match: chr(ord(match.group()) - 0xE0000), text)
    text = unicodedata.normalize("NFKD", _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)))
    return "".join(c for c in text if not unicodedata.combining(c))


def looks_like_instructions(text: str) -> bool:
    """Whether the first or last 4,000 characters hold a phrase by which people try to command a model, or hidden text
    of any kind.
    """
    parts = (text,) if len(text) <= MAX_CHARS else (text[:MAX_CHARS], text[-MAX_CHARS:])
    return any(_is_order(part) for part in parts)


def _is_order(text: str) -> bool:
    lowered = text.lower()
    if text.isascii():
        return _has_order(lowered, text)
    if _TAGS.search(text):
        return True  # nobody writes in tags but to hide
    if _OTHER_SCRIPTS.search(unicodedata.normalize("NFKC", lowered)):
        return True
    plain = _plain(text)
    return _has_order(plain.lower(), plain) or _has_order(
        plain.translate(_LOOKALIKES).lower(), plain.translate(_LOOKALIKES)
    )


def _has_order(lowered: str, text: str) -> bool:
    if any(telltale in lowered for telltale in _TELLTALES) and _ORDERS.search(text):
        return True
    read = lowered.translate(_LEET)
    return read != lowered and any(telltale in read for telltale in _SURE) and bool(_ORDERS.search(read))


# Each alternative above needs one of these: most texts hold none, and looking for plain words is fast.
_SURE = (
    *(
        "ignor",
        "disregard",
        "forget",
        "override",
        "bypass",
        "system",
        "developer",
        "pretend",
        "reveal",
        "oubli",
        "olvid",
        "vergiss",
        "missacht",
    ),
    *(
        "esquec",
        "esqueç",
        "desconsider",
        "omit",
        "neglige",
        "contourne",
        "umgeh",
        "uberschreib",
        "verrat",
        "revel",
        "passwor",
        "geheim",
    ),
)
_TELLTALES = (
    *_SURE,
    *(
        "you are now",
        "you must now",
        "you will now",
        "to obey",
        "from now on",
        "act as",
        "print",
        "repeat",
        "leak",
        "show",
        "do not",
        "<",
        "inst]",
    ),
    *(
        "assistant",
        "tool",
        "du bist",
        "sie sind",
        "vergessen",
        "ab jetzt",
        "tu so",
        "zeig",
        "gib",
        "tu es",
        "vous etes",
        "a partir de",
        "semblant",
    ),
    *("montre", "affiche", "ahora eres", "agora", "fing", "finj", "muestr", "mostr"),
)
