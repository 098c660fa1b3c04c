"""How a sentence stands to what it says: plainly, or denied, conditional, reported, past, planned, or imagined.

By words in English, German, French, Spanish, Portuguese, Russian, Chinese and Japanese; in other languages every
sentence counts as plain. It misses irony, and what stands in the sentence before.
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
        r"|without"
        r"|fail(?:s|ed)? to|refus\w+ to|stopped|quit|cancell?ed|instead of|rather than|anymore|hardly|no"
        r"|isnt|doesnt|didnt|dont|wasnt|wont|cant",
        r"if|unless|would|could|might|may(?= [a-z]+ )|in case|provided|suppos\w+|whether|perhaps|maybe|possibly"
        r"|probably"
        r"|should|hopefully",
        r"said|says|saying|claim\w*|told|tells|thinks?|thought|believ\w+|heard|according to|alleged\w*|apparently"
        r"|reported\w*|rumou?r\w*|supposedly|argu\w+|insist\w*|guess\w*|assum\w+|suspect\w*|expects?|denied|denies",
        r"was|were|used to|had been|had|formerly|previously|until|till|back then|in the past|once|former|originally",
        r"will|['’]ll|going to|plan(?:s|ned|ning)?|intend\w*|hop(?:e|es|ing)|wants? to|would like|about to|scheduled"
        r"|tomorrow|next (?:week|month|year)|soon",
        r"dream\w*|imagin\w+|pretend\w*|novel|fiction\w*|film|movie|fairy tale|jok(?:e|es|ed|ing)|wish\w*|as if",
    ),
    "german": (
        r"nicht|nie|niemals|niemand|nichts|kein\w*|weder|leugne\w*|bestreitet|bestritt|ohne",
        r"wenn|falls|würde\w*|könnte\w*|vielleicht|möglicherweise|wahrscheinlich|sofern",
        r"sagt\w*|meint\w*|behauptet\w*|glaubt\w*|laut|angeblich|gehört|bestreitet|bestritt",
        r"war|waren|hatte\w*|früher\w*|ehemal\w+|bis|damals",
        r"wird|werden|geplant|plant|will|möchte|morgen|bald|vorhat",
        r"traum\w*|träum\w*|roman\w*|film\w*|märchen",
    ),
    "french": (
        r"pas|plus|jamais|rien|personne ne|aucune?|sans|nie|refuse",
        r"si|s['’]il\w*|peut-être|pourrait|serait|aurait|probablement",
        r"dit|disait|prétend|pense|croit|selon|paraît|nie que",
        r"était|étaient|avait|avant|autrefois|jusqu\w*|ancien\w*",
        r"va|vont|prévoit|prévue?s?|voudrait|demain|bientôt|\w{3,}era",
        r"rêv\w+|imagin\w+|roman|film",
    ),
    "spanish": (
        r"no|nunca|jamás|nadie|nada|ningún\w*|ninguna|tampoco|niega|negó|sin",
        r"si|quizás?|tal vez|podría|sería|probablemente",
        r"dice|dijo|afirma|cree|piensa|según|supuestamente|niega|negó",
        r"era|eran|fue|fueron|había|antes|hasta|anteriormente",
        r"planea|va a|quiere|mañana|pronto|previst[oa]s?|\w{3,}rá",
        r"soñ\w+|sueño|novela|película",
    ),
    "portuguese": (
        r"não|nunca|ninguém|nenhum\w*|nada|tampouco|nega|negou|sem",
        r"se|talvez|poderia|seria|provavelmente",
        r"diz|disse|afirma|acha|acredita|segundo|supostamente|nega|negou",
        r"era|eram|foi|foram|tinha|até|antes|antigamente",
        r"vai|planeja|quer|amanhã|em breve|previst[oa]s?|\w{3,}rá",
        r"sonh\w+|romance|filme",
    ),
    "russian": (
        r"не|нет|никогда|никто|ничего|отриц\w+|без",
        r"если|бы|может быть|возможно|вероятно",
        r"сказал\w*|говорит|утвержда\w+|считает|думает|по словам|якобы|слышал\w*|отриц\w+",
        r"был[аои]?|раньше|прежде|бывш\w+|до",
        r"буд[еу]т|планиру\w+|собира\w+|хочет|завтра|скоро",
        r"приснил\w+|во сне|сни\w+|представ\w+|роман\w*|фильм\w*",
    ),
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
_MARKS["unspaced"] = tuple(re.compile(words) for words in _UNSPACED)
_CYRILLIC, _EAST_ASIAN = re.compile("[\u0400-\u04ff]"), re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
_YES_OR_NO = re.compile(
    r"^\W*(?:is|are|am|was|were|do|does|did|has|have|had|can|could|will|would|should|may|ist|sind|hat|haben"
    r"|kann|est-ce"
    r"|es|está|tiene|é|tem)\b|吗|嗎|ですか|ますか|\bли\b",
    re.IGNORECASE,
)
_NO_DENIAL = re.compile(r"\b(?:not only|no doubt|nothing but|not just|no problem|no wonder)\b", re.IGNORECASE)


def stances_of(sentence: str) -> frozenset[str]:
    """Those of `STANCES` that a sentence, or a question, takes; none for a plain statement of what is."""
    marks = _MARKS[_language(sentence)]
    bare = _NO_DENIAL.sub(" ", sentence)
    return frozenset(name for name, mark in zip(STANCES, marks, strict=True) if mark.search(bare))


def _language(sentence: str) -> str:
    if _EAST_ASIAN.search(sentence):
        return "unspaced"
    if _CYRILLIC.search(sentence):
        return "russian"
    found = language_of(words_in(sentence), STOP_WORDS)
    return found if found in _MARKS else "english"


def asks_yes_or_no(question: str) -> bool:
    """Whether "no" answers a question: then a denial may be what is asked for."""
    return _YES_OR_NO.search(question) is not None
