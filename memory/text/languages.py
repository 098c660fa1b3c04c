"""In which language a text of Latin letters is written, as far as its stemmer and its empty words go.

By function words alone: microseconds, no model. Texts in doubt are taken as English, whose stems every text has.
Other scripts have one stemmer each and need no guess.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

LOOKED_AT = 60  # words
MIN_SHARE = 0.18  # of a text's words that are function words of its language
# Words as they are compared: without marks, in lower case; without those that are also English words in use.
_FUNCTION_WORDS = {
    "german": "kein keine keinen der das ein eine einen einem einer und ist sind nicht ich du er sie es wir ihr "
    "mein meine meinen dein mit von zu zum zur im am auf fur wo wer wann warum wie welche welcher welches hat haben "
    "wird werden dass auch aber bei nach aus uber noch kann ja nein mir mich dir dich sich um wenn oder sein seine "
    "war",
    "french": "jamais rien le la les des une est sont et je tu il elle nous vous mon ma mes ton votre notre dans "
    "sur avec pour par pas ne que qui ou quand comment pourquoi quel quelle quels du au aux ce cette ces avez etes "
    "suis ai etait mais chez aussi leur lui se sans tout bien",
    "spanish": "nunca ni el los las una es son y yo ella nosotros mi mis tu su sus con para por que quien donde "
    "cuando como cual cuanto del al pero muy esta este estan estoy tiene tengo hay lo le se sin ya fue era mas "
    "porque desde hasta ser",
    "portuguese": "o os um uma e sao eu ele ela nos meu minha meus seu sua com para por nao que quem onde quando "
    "como qual quanto do dos das na nos em mas muito este esta tem tenho foi ser mais voce isso isto ao aos pelo "
    "pela",
    "italian": "il lo gli le una e sono io lui lei noi mio mia miei tuo suo con per non che chi dove quando come "
    "quale quanto del della dei nel nella ma molto questo questa ha ho era piu anche al alla di da sul sulla si ci",
    "dutch": "het een en zijn ik jij hij zij wij mijn jouw met voor niet dat wie waar wanneer waarom hoe welke van "
    "te op aan maar ook heeft heb wordt bij naar uit over nog kan ja nee dit deze er was",
    "swedish": "och ar jag du han hon vi min mitt mina din med for inte att som vem var nar varfor hur vilken av "
    "till pa men ocksa har hade fran ett en det om kan ska",
    "danish": "og er jeg du han hun vi min mit mine din med for ikke at som hvem hvor hvornar hvorfor hvordan af "
    "til pa men ogsa har fra et en det om kan skal",
    "norwegian": "og er jeg du han hun vi min mitt mine din med for ikke at som hvem hvor nar hvorfor hvordan av "
    "til pa men ogsa har fra et en det om kan skal ikkje eg",
    "finnish": "ja on ei mina sina han me te minun sinun joka mika kuka missa milloin miksi miten kun mutta myos "
    "oli ovat olen se ne etta tai jos",
    "polish": "i jest sa nie ja ty on ona my moj moja moje twoj z dla ze kto gdzie kiedy dlaczego jak jaki ktory w "
    "na do od ale tez ma mam byl sie po co to czy",
    "czech": "a je jsou ne ja ty on ona my muj moje tvuj s pro ze kdo kde kdy proc jak jaky ktery v na do od ale "
    "take ma mam byl se po co to",
    "romanian": "si este sunt nu eu tu el ea noi meu mea cu pentru ca cine unde cand cum care din de la pe dar are "
    "am fost se un o in al ale",
    "hungarian": "es van nem en te o mi az egy hogy ki hol mikor miert hogyan melyik de is volt vannak meg ez mar csak",
    "turkish": "ve bir bu ben sen biz benim senin ile icin degil ne kim nerede zaman neden nasil hangi var yok mi "
    "de da ama cok gibi daha",
    "indonesian": "dan adalah tidak saya kamu dia kami kita dengan untuk dari yang siapa mana kapan mengapa "
    "bagaimana di ke pada ini itu ada akan sudah juga tapi nya",
}
EMPTY_WORDS = {language: frozenset(words.split()) for language, words in _FUNCTION_WORDS.items()}
_ALSO_ENGLISH = frozenset("a an as at de do er for han has her him i in is it la man me men my no nor of on or "
"se so the "
    "to us was we war will over van am dare mine min hot din te per are also par son pour sur kan ton tout bien "
    "her om "
    "even al na ma re un ex co el die den".split())  # fmt: skip
_SPOKEN: dict[str, tuple[str, ...]] = {}
for _language, _words in EMPTY_WORDS.items():
    for _word in _words - _ALSO_ENGLISH:
        _SPOKEN[_word] = (*_SPOKEN.get(_word, ()), _language)


def language_of(words: Sequence[str], english: frozenset[str]) -> str | None:
    """The name of the Snowball stemmer for a text's `words` (folded); `None` for English and where it is not clear.

    `english` are English function words, which speak against every other language.
    """
    head = words[:LOOKED_AT]
    spoken = [_SPOKEN[word] for word in head if word in _SPOKEN]
    if not spoken or len(spoken) < MIN_SHARE * len(head):
        return None
    votes = Counter(language for languages in spoken for language in languages)
    language, hits = votes.most_common(1)[0]
    if hits <= sum(1 for word in head if word in english and word not in EMPTY_WORDS[language]):
        return None
    return language if hits >= 2 or len(head) <= 5 else None
