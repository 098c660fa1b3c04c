"""How a sentence stands to what it says: plainly, or denied, conditional, reported, past, planned, or imagined.

By words in English, German, French, Spanish, Portuguese, Russian, Chinese and Japanese; denial in twelve more; in other
languages every sentence counts as plain. It misses irony, and what stands in the sentence before.
"""

from __future__ import annotations

import re

from orchestrator.memory.text.languages import language_of
from orchestrator.memory.text.words import STOP_WORDS, words_in

DENIED, CONDITIONAL, REPORTED = "denied", "conditional", "reported"
PAST, PLANNED, IMAGINED = "past", "planned", "imagined"
STANCES = (DENIED, CONDITIONAL, REPORTED, PAST, PLANNED, IMAGINED)
_WORDS: dict[str, tuple[str, ...]] = {  # by language, in the order of STANCES
    "english": (
        r"not|never|no longer|no one|nobody|none|nothing|nowhere|neither|nor|cannot|\w+n['’]t|den(?:y|ies|ied)"
        r"|fail(?:s|ed)? to|refus\w+ to|stopped|quit|cancell?ed|instead of|rather than|anymore|hardly|no|untrue|false"
        r"|myth|wrong|far from|contrary to|doubts?|doubted|unlikely|impossible|lies?|lacks?|lacked|except|in theory"
        r"|(?:every|any)(?:body|one|where) but|all but"
        r"|isnt|doesnt|didnt|dont|wasnt|wont|cant",
        r"if|unless|would|could|might|may(?= [a-z]+ )|in case|provided|suppos\w+|whether|perhaps|maybe|possibly"
        r"|probably"
        r"|should|hopefully",
        r"said|says|saying|claim\w*|told|tells|thinks?|thought|believ\w+|heard|according to|alleged\w*|apparently"
        r"|reported\w*|rumou?r\w*|supposedly|argu\w+|insist\w*|guess\w*|assum\w+|suspect\w*|expects?|denied|denies",
        r"was|were|used to|had been|had|lived|ex-?\w+|left|ended|formerly|previously|until|till|back then|in "
        r"the past|once|former|originally",
        r"will|['’]ll|going to|plan(?:s|ned|ning)?|intend\w*|hop(?:e|es|ing)|wants? to|would like|about to|scheduled"
        r"|tomorrow|next (?:week|month|year)|soon",
        r"dream\w*|imagin\w+|pretend\w*|novel|fiction\w*|film|movie|fairy tale|jok(?:e|es|ed|ing)|wish\w*|as if",
    ),
    "german": (
        r"nicht|nie|niemals|niemand|nichts|kein\w*|weder|leugne\w*|bestreitet|bestritt|falsch|bezweif\w+|unwahr",
        r"wenn|falls|würde\w*|könnte\w*|vielleicht|möglicherweise|wahrscheinlich|sofern",
        r"sagt\w*|meint\w*|behauptet\w*|glaubt\w*|laut|angeblich|gehört|bestreitet|bestritt",
        r"war|waren|hatte\w*|früher\w*|ehemal\w+|bis|damals",
        r"wird|werden|geplant|plant|will|möchte|morgen|bald|vorhat",
        r"traum\w*|träum\w*|roman\w*|film\w*|märchen",
    ),
    "french": (
        r"pas|plus|jamais|rien|personne ne|aucune?|nie|refuse|faux|doute",
        r"si|s['’]il\w*|peut-être|pourrait|serait|aurait|probablement",
        r"dit|disait|prétend|pense|croit|selon|paraît|nie que",
        r"était|étaient|avait|avant|autrefois|jusqu\w*|ancien\w*",
        r"va|vont|prévoit|prévue?s?|voudrait|demain|bientôt|\w{3,}era",
        r"rêv\w+|imagin\w+|roman|film",
    ),
    "spanish": (
        r"no|nunca|jamás|nadie|nada|ningún\w*|ninguna|tampoco|niega|negó|fals[oa]|dud[ao]",
        r"si|quizás?|tal vez|podría|sería|probablemente",
        r"dicen?|dijo|dijeron|afirma|cree|piensa|según|supuestamente|niega|negó",
        r"era|eran|fue|fueron|había|antes|hasta|anteriormente",
        r"planea|va a|quiere|mañana|pronto|previst[oa]s?|\w{3,}rá",
        r"soñ\w+|sueño|novela|película",
    ),
    "portuguese": (
        r"não|nunca|ninguém|nenhum\w*|nada|tampouco|nega|negou|fals[oa]|duvid[ao]",
        r"se|talvez|poderia|seria|provavelmente",
        r"diz|dizem|disse|disseram|afirma|acha|acredita|segundo|supostamente|nega|negou",
        r"era|eram|foi|foram|tinha|até|antes|antigamente",
        r"vai|planeja|quer|amanhã|em breve|previst[oa]s?|\w{3,}rá",
        r"sonh\w+|romance|filme",
    ),
    "russian": (
        r"не|нет|никогда|никто|ничего|отриц\w+|неправда|ложь|сомнева\w+",
        r"если|бы|может быть|возможно|вероятно",
        r"сказал\w*|говорит|утвержда\w+|считает|думает|по словам|якобы|слышал\w*|отриц\w+",
        r"был[аои]?|раньше|прежде|бывш\w+|до",
        r"буд[еу]т|планиру\w+|собира\w+|хочет|завтра|скоро",
        r"приснил\w+|во сне|сни\w+|представ\w+|роман\w*|фильм\w*",
    ),
}
# Of these languages only denial is known.
_DENIALS = {
    "italian": r"non|mai|nessun\w*|niente|nulla|né|falso",
    "dutch": r"niet|geen|nooit|niemand|niets|nergens",
    "swedish": r"inte|ej|aldrig|ingen|inget",
    "danish": r"ikke|aldrig|ingen|intet",
    "norwegian": r"ikke|aldri|ingen|ikkje",
    "polish": r"nie|nigdy|nikt|nic|żad\w+",
    "czech": r"ne\w*|nikdy|nikdo|nic",
    "romanian": r"nu|niciodată|nimeni|nimic",
    "hungarian": r"nem|nincs|soha|senki|semmi",
    "finnish": r"ei|en|et|emme|ette|eivät|koskaan",
    "turkish": r"değil|yok|hiç|asla|\w+(?:mıyor|miyor|muyor|müyor|maz|mez)\w*",
    "indonesian": r"tidak|bukan|belum|jangan|tak",
}
_UNSPACED = (  # Chinese and Japanese
    r"不|没|沒|无法|無法|未|别|別|否认|ない|ません|なかった|否定",
    r"如果|要是|假如|可能|也许|或许|もし|たら|れば|かもしれ|でしょう|だろう",
    r"说|說|认为|認為|据|據|听说|と言|によると|そうです|と思|否认",
    r"曾|以前|过去|直到|之前|原来|でした|だった|かつて|まで",
    r"将|將|会在|會在|计划|打算|准备|明天|予定|つもり|来週|明日",
    r"梦|夢|想象|小说|电影|小説|映画",
)
_MARKS = {
    language: tuple(re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE) for words in listed)
    for language, listed in _WORDS.items()
}
_MARKS |= {name: (re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE),) for name, words in _DENIALS.items()}
_MARKS["unspaced"] = tuple(re.compile(words) for words in _UNSPACED)
_CYRILLIC, _EAST_ASIAN = re.compile("[\u0400-\u04ff]"), re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
_YES_OR_NO = re.compile(
    r"^\W*(?:is|are|am|was|were|do|does|did|has|have|had|can|could|will|would|should|may|ist|sind|hat|haben"
    r"|kann|est-ce"
    r"|es|está|tiene|é|tem)\b|吗|嗎|ですか|ますか|\bли\b",
    re.IGNORECASE,
)
_ASKS_WHAT = re.compile(
    r"\b(?:who|whom|whose|what|when|where|which|how)\b|何|誰|だれ|どこ|いつ|なぜ|什么|谁|哪|怎么|多少",
    re.IGNORECASE,
)
_NO_DENIAL = re.compile(r"\b(?:not only|no doubt|nothing but|not just|no problem|no wonder)\b", re.IGNORECASE)


def stances_of(sentence: str, beside: str = "") -> frozenset[str]:
    """Those of `STANCES` that a sentence, or a question, takes; none for a plain statement of what is.

    `beside` is more text of the same language, where the sentence is too short to tell it.
    """
    marks = _MARKS[_language(f"{sentence} {beside}")]
    bare = _NO_DENIAL.sub(" ", sentence)
    return frozenset(name for name, mark in zip(STANCES, marks, strict=False) if mark.search(bare))


def _language(text: str) -> str:
    if _EAST_ASIAN.search(text):
        return "unspaced"
    if _CYRILLIC.search(text):
        return "russian"
    found = language_of(words_in(text), STOP_WORDS)
    return found if found in _MARKS else "english"


def asks_yes_or_no(question: str) -> bool:
    """Whether "no" answers a question: then a denial may be what is asked for."""
    return _YES_OR_NO.search(question) is not None and _ASKS_WHAT.search(question) is None
