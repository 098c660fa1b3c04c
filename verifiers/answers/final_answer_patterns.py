"""Patterns by which answers mark what they state: labels, boxes, headings, conclusions, corrections."""

from __future__ import annotations

import re

from orchestrator.verifiers.answers.pattern import Pattern

THOUGHTS_END = Pattern(
    r"</(?:think|thinking|thought|thoughts|reasoning|scratchpad|reflection)>|\[/THINK\]|◁/think▷"
    r"|<\|channel\|>final<\|message\|>",
    re.IGNORECASE,
)


THOUGHTS_BEGIN = Pattern(
    r"^\s*(?:<(?:think|thinking|thought|thoughts|reasoning|scratchpad)>|\[THINK\]|◁think▷"
    r"|<\|channel\|>analysis<\|message\|>)",
    re.IGNORECASE,
)


TAG = Pattern(
    r"<(?P<tag>answer|final_answer|final-answer|finalanswer|result)>\s*(?P<said>.*?)\s*(?:</(?P=tag)>|\Z)",
    re.IGNORECASE | re.DOTALL,
)


JSON_ANSWER = Pattern(r'"(?:final_?)?answer"\s*:\s*', re.IGNORECASE)


HASHES = Pattern(r"####[^\S\n]{0,20}([^\n]+)")


_IS = (
    r"\**[^\S\n]{0,3}(?::|=|(?:is|was|are|ist|lautet|es|est|é|eh|is therefore|should be|would be|must be|will be)\b"
    r"(?:[^\S\n]{0,3}(?:then|thus|therefore|simply|just|exactly|approximately|about|indeed|clearly|donc|also|portanto"
    r"|por lo tanto|entonces)\b,?)?)"
)


_FINAL = (
    r"final\s+(?:answer|result)|endgültige\s+(?:antwort|ergebnis)|endergebnis|respuesta\s+final|réponse\s+finale"
    r"|resposta\s+final|resultado\s+final"
    r"|résultat\s+final"
)


_USUAL = (
    r"(?:the|my|our|correct|right|best)\s+(?:(?:correct|right|best|final|numerical|overall|most\s+likely|only|short"
    r"|closest)\s+){0,2}"
    r"(?:answer|solution|result|choice|option)(?:\s+(?:to|for|of)\s+(?:the|this|your|part|question)\b[^\n.:]{0,60})?"
    r"|(?:die|richtige|korrekte)\s+(?:richtige\s+|korrekte\s+)?(?:antwort|lösung)|das\s+ergebnis|(?:la"
    r"|el)\s+(?:respuesta|resultado)"
    r"(?:\s+(?:correcta|correcto))?|la\s+(?:bonne\s+)?réponse(?:\s+(?:correcte|exacte))?|le\s+résultat"
    r"|(?:a|o)\s+(?:resposta|resultado)(?:\s+(?:correta|correto|certa))?"
)


SAYS = Pattern(rf"\b(?P<strong>(?:the\s+|my\s+)?(?:{_FINAL}))\b{_IS}|\b(?:{_USUAL}){_IS}", re.IGNORECASE)


LINE_LABEL = Pattern(
    r"(?:^[^\w\n]{0,8}|(?<=[.!?。])[^\S\n]{1,3}\**)(?:short\s+|correct\s+|final\s+)?(?:answer|ans|a|antwort|lösung"
    r"|ergebnis|respuesta|réponse|reponse"
    r"|resposta|solución|resultado|ответ|उत्तर|जवाब|"
    r"الإجابة|الجواب|答|答案|正确答案|最终答案|答え|回答|解答|正解)(?:\s+(?:finale?|correcta))?\**[^\S\n]{0,3}[:：=]\**",
    re.IGNORECASE | re.MULTILINE,
)


OTHER_SCRIPTS = Pattern(
    r"(?:(?:最终|正确|所以|因此|故|最后)?的?(?:答案|结果|結果|正解|答え|回答|解答)(?:は|是|为|為|应该是|应为|就是|[:：=])[:：]?"
    r"|(?:правильный\s+|окончательный\s+)?ответ(?:\s*[:：—–-]|\s+(?:равен|будет|таков)\b:?)"
    r"|(?:सही\s+|अंतिम\s+)?(?:उत्तर|जवाब)\s*(?:है|[:：]|(?=\s[^\n।]{1,60}\s(?:है|हैं)\b))|(?:الإجابة"
    r"|الجواب)(?:\s+(?:النهائية|الصحيحة|النهائي"
    r"|الصحيح))?\s*(?:هي|هو|[:：]))\**",
    re.IGNORECASE,
)


HEADING = Pattern(
    r"^[^\S\n]{0,3}(?:#{1,6}[^\S\n]{0,3}|\*\*)\W{0,3}(?:the\s+)?(?:final\s+|short\s+)?(?:answer|antwort"
    r"|respuesta(?:\s+final)?|réponse(?:\s+finale)?|resposta|ответ|答案|答え|result)"
    r"\W{0,4}[^\S\n]{0,5}\n+[^\S\n]{0,5}(?P<said>[^\n]+)",
    re.IGNORECASE | re.MULTILINE,
)


CONCLUSION = Pattern(
    r"(?:^|[.!?。\n]\s{0,5})(?:so|thus|therefore|hence|consequently|in conclusion|also|deshalb|daher|por lo tanto"
    r"|por tanto|donc|portanto|logo|итак|следовательно|因此|所以|よって|したがって)\b,?\s"
    r"[^\n.]{0,160}?(?:\bis|\bare|\bequals?|\bist|\bes|\best|\bé|=|是|为|は|must be|should be|have|has|makes?|costs?"
    r"|takes?|needs?|earns?|gets?|spends?|pays?)\s(?P<said>[^\n]+)",
    re.IGNORECASE,
)


BOLD_LINE = Pattern(r"\*\*(?P<said>[^*\n]{1,80})\*\*[^\S\n]*(?=\n|\Z)")


ALONE_IN_SIGNS = Pattern(
    r"(?:\$\$|\\\[|\\begin\{equation\*?\}|```\w*\n)\s*(?P<said>[^\n$]{1,200}?)\s*(?:\$\$|\\\]|\\end\{equation\*?\}"
    r"|```)[.\s]*"
)


SENTENCES = Pattern(
    r"[^.!?\n]+(?:(?:[.!?](?!\s|\Z)|(?<=\d)\.(?=\s(?:Jan|Feb|M[äa]r|Apr|Ma[iy]|Jun|Jul|Aug|Sep|O[kc]t|Nov"
    r"|De[zc])))[^.!?\n]*)*[.!?]*"
)


SHORT_VALUE = Pattern(r"[^\s]{1,24}(?:\s[^\s\d]{1,20}){0,3}[.!?]*")


TAKEN_BACK = Pattern(
    r"(?:\b(?:wait|actually,|correction|i made an? (?:mistake|error)|that(?:['’]s| is| was) (?:wrong|incorrect"
    r"|not right|a mistake)|let me (?:re|double|correct|fix|try again)|scratch that|sorry,"
    r"|oops|hmm)"
    r"|\?\s+no\b|(?:no|nein|non|não|нет),\s+(?:it|that|the|wait)|等等|不对|更正|訂正|いや、)",
    re.IGNORECASE,
)


BOX = Pattern(r"\\f?boxed\s?(?=\{)|\\fbox\s?(?=\{)")


BOLD = Pattern(r"\*\*(?P<said>[^*\n]{1,200})\*\*")


NEXT_QUESTION = Pattern(
    r"\n[^\S\n]{0,9}(?:\n|#{1,4}\s|\*\*)[^\w\n]{0,4}(?:(?:next|new|another)\s+)?(?:question|problem|q|user|human"
    r"|frage|pregunta|问题)\s{0,2}\d{0,3}\W{0,3}[:：]",
    re.IGNORECASE,
)


SUMMARY = Pattern(  # of the answers to several questions, behind the one to this
    r"\n[^\S\n]{0,9}(?:now,?\s+|so,?\s+|finally,?\s+)?(?:(?:let['’]s|let us|we can|i will)\s?)?(?:(?:combin\w+"
    r"|summari[sz]\w+|consider\w+|collect\w+|putting)\s(?:\w+\s){0,4}answers?\b|总结|综上)",
    re.IGNORECASE,
)


CORRECTED = Pattern(
    r"\b(?:wait|actually|correction|correcting|mistake|however|no,|sorry|oops|hmm|let me|re-?check|recalculat"
    r"|re-?evaluat|re-?consider|not right|wrong|"
    r"incorrect|revise|double[- ]check|nein|moment|korrektur|perdón|espera|corrección|attend|correction|pardon"
    r"|desculp|corrig|подожд|исправ|ошиб|等等|更正|不对|訂正)",
    re.IGNORECASE,
)


ANCHORS = (  # one of them is in every mark that is made of words
    "answer", "ans:", "result", "solution", "choice", "option", "\na:", "antwort", "ergebnis", "lösung", "respuesta",
    "réponse", "reponse",
    "résultat",
    "resposta", "solución", "ответ", "उत्तर", "जवाब", "إجابة", "الجواب", "答", "结果", "結果", "正解",
)  # fmt: skip
