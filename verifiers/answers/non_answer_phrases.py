"""How ten languages refuse, do not know, ask back and invite to say so; what errors and templates look like."""

from __future__ import annotations

import re

from orchestrator.verifiers.answers.pattern import Pattern

REFUSAL = Pattern(
    r"(?:\b(?:i|we)(?:['’]m| am| are|['’]re)? ?(?:really |very |so )?(?:sorry|afraid"
    r"|apologi[sz]e)?[,.;:]?\s?(?:but )?(?:that )?(?:unfortunately,? )?(?:i |we )?(?:currently |simply |really "
    r"|also )?"
    r"(?:can(?:no|['’]?)t|can not|won['’]t|won['’]t be able|will not|couldn['’]t|am (?:not able|unable)"
    r"|['’]m (?:not able|unable)"
    r"|are (?:not able|unable)|must decline|decline|don['’]t have the (?:ability|capability|tools?|function\w*)"
    r"|do not have (?:the |any )?(?:ability|capability|tools?|function\w*)|lack the (?:ability|capability|tools?"
    r"|function\w*))"
    r"(?:\s+(?:to|directly|currently|really|accurately|effectively|immediately|actually|help|assist|answer|respond|do"
    r"|fulfil\w*|comply|provide|give|offer|perform|process|complete|support|engage|discuss|share|find|tell|access"
    r"|retrieve|generate|create|compute|calculate|determine|check|look|get|make|write|produce|solve|execute|predict"
    r"|book|order|recommend|translate|estimate|say|that|this|you|on|with|in|for|your|the)\b|[.!,])"
    r"|\bunable to (?:help|assist|answer|fulfil|provide|perform|complete|process|comply)|\b(?:as an ai"
    r"|as a language model|against my (?:guidelines|policy|policies|programming))"
    r"|\bi can only\b|\bi must (?:respectfully )?decline|\bi['’]?m not (?:comfortable|programmed|designed|allowed"
    r"|equipped)"
    r"|\b(?:das|dabei|dazu|damit|leider|hierbei|diese\w?\s\w+)\s+kann ich\b[^.!?\n]{0,60}\bnichts?\b|\bi (?:refuse"
    r"|decline)\b|\bno me es posible\b|\bje ne suis pas en mesure\b|\bnão me é possível\b"
    r"|ответить (?:на это )?не могу|помочь не (?:могу|смогу)|\bich kann (?:(?:dir|ihnen|dabei|damit|das|dies\w*"
    r"|leider|die|frage|hier)\b,?\s?){0,5}nicht\b"
    r"|\b(?:tut mir leid|entschuldigung),?\s?(?:aber )?(?:ich|das|dabei)\b.{0,40}\bnicht\b"
    r"|\bno puedo (?:ayudar|responder|contestar|asistir|proporcionar|cumplir|hacer|dar|ofrecer|realizar)"
    r"|\blo siento,? (?:pero )?no\b"
    r"|\bje ne (?:peux|suis) (?:pas|malheureusement pas)\b|\bdésolée?,? (?:mais )?je ne\b|\bnão (?:posso"
    r"|consigo) (?:te |lhe |o |a )?(?:ajudar|responder|fornecer|atender|fazer|dar|auxiliar)|\b(?:desculpe|lamento"
    r"|sinto muito),? (?:mas )?não\b"
    r"|не могу (?:вам |тебе |с этим |на это |это )?(?:помочь|ответить|выполнить|предоставить|сделать|дать)"
    r"|\bизвините,? (?:но )?я не"
    r"|(?:抱歉|对不起|很遗憾|對不起)[,，]?.{0,8}(?:无法|不能|没办法|無法)|我(?:无法|不能|没办法|無法)(?:回答|帮助|帮|提供|协助|完成|满足|回覆)"
    r"|(?:申し訳|すみません|ごめんなさい).{0,20}(?:でき|いたしかね|お答え)|(?:お答え|回答|お手伝い|対応)(?:することは|は|する事は)?でき(?:ません|ない|かねます)"
    r"|(?:क्षमा करें|माफ़ कीजिए|माफ़ करें|खेद है).{0,40}नहीं|(?:मदद|सहायता|उत्तर|जवाब)\s.{0,20}नहीं (?:कर|दे)\s?सकत"
    r"|(?:آسف|عذر[اًا]+|أعتذر|المعذرة).{0,20}(?:لا|ليس|لن)|لا (?:أستطيع|يمكنني|أقدر)\s?(?:مساعدت|الإجاب|أن|المساعد"
    r"|تقديم|تلبي))",
    re.IGNORECASE,
)


UNKNOWING = Pattern(
    r"(?:\b(?:i|we) (?:really |honestly |simply |just )?(?:do not|don['’]t|can(?:no|['’])t|did not|didn['’]t"
    r"|couldn['’]t) (?:really |actually )?(?:know|say|tell|recall|remember|be (?:sure|certain))\b(?! (?:that|how much"
    r"|me|if (?:this|that) is))|\bi have no (?:idea|clue|information|data|knowledge|record|access)\b|^\W*no idea\b"
    r"|\b(?:it|this|that|the (?:answer|value|result|correct \w+|exact \w+))(?:['’]s| is)? (?:currently "
    r"|still )?(?:not known|unknown|unclear|undeterminable|indeterminable)\b"
    r"|\bnone of the (?:given |provided |above |listed |answer |available )?(?:options|choices|answers|functions"
    r"|tools|notes|sources|statements|alternatives)\b[^.]{0,60}"
    r"|\b(?:does not|doesn['’]t|do not|don['’]t) match any (?:of )?(?:the )?|\bno (?:correct|right|suitable|matching"
    r"|valid) (?:answer|option|choice)\b|\bnot (?:listed|among|one of|in|included|present|available|provided"
    r"|given) (?:in |among )?(?:the |any of the )?(?:given |provided |listed |answer )?(?:options?|choices?"
    r"|answers)\b"
    r"|\bi (?:currently |also |still |unfortunately )?(?:do not|don['’]t) (?:currently |actually )?have (?:direct |a "
    r"|any )?(?:access|real[- ]time|that|this|any|enough|the|sufficient|specific|information|up-to-date|current|tool"
    r"|function|way)\b|\bi(?:['’]m| am) not (?:sure|certain)\b(?:(?= (?:if|whether|how|what|about))|[.!]?$)"
    r"|\b(?:could not|couldn['’]t|was not able to|wasn['’]t able to|were not able to) (?:find|determine|locate"
    r"|identify)\b|\bje ne connais pas\b"
    r"|\b(?:weiß|weiss) (?:ich |es |das |leider )*nicht\b|\bkeine ahnung\b"
    r"|\bist (?:mir )?(?:leider )?(?:nicht bekannt|unbekannt)\b|\bno (?:lo )?sé\b|\b(?:desconozco|lo ignoro"
    r"|lo desconozco)\b|\bno tengo (?:ni )?idea\b|\bno tengo (?:acceso|esa información|información)"
    r"|\bje (?:ne )?sais pas\b|\baucune idée\b|\bje (?:l['’])?ignore\b|\bje n['’]ai (?:pas|aucune) "
    r"|\b(?:eu )?não sei\b|\bnão faço ideia\b|\bdesconheço\b|\bnão tenho (?:informaç|acesso|ideia)|\bне знаю\b"
    r"|\bнеизвестно\b|\bпонятия не имею\b|\bу меня нет (?:информации|данных|доступа)"
    r"|不知道|不清楚|我不确定|无从得知|不得而知|わかりません|分かりません|存じません|知りません|不明です|नहीं पता|नहीं जानता|नहीं जानती|पता नहीं|मालूम नहीं"
    r"|لا أعرف|لا أعلم|لا أدري|غير معروف|ليس لدي (?:معلومات|أي|فكرة))",
    re.IGNORECASE,
)


INSUFFICIENT = Pattern(
    r"(?:\b(?:passage|context|text|document|article|paragraph|source|question)s? (?:do(?:es)? not"
    r"|do(?:es)?n['’]t) (?:say|mention|state|specify|contain|provide|tell|give|include)\b|\b(?:not enough"
    r"|insufficient|no|without (?:more|further|additional)|lacks?|lacking|missing|incomplete"
    r"|not provided|(?:does not|doesn['’]t|do not|don['’]t|not) (?:provide|give|contain|have|include|specify"
    r"|mention)(?: us| me)?(?: with)?(?: any| enough| sufficient| the)?)\s+(?:\w+\s){0,2}?(?:information|context|data"
    r"|details?|evidence|knowledge)\b"
    r"|(?<!you )\b(?:need|require)s?\s+(?:more|additional|further|to know)\s+(?:\w+\s)?(?:information|context|data"
    r"|details?)|\b(?:problem|question|information) is (?:incomplete|insufficient|unclear|ambiguous|flawed"
    r"|underspecified)"
    r"|\bcan(?:no|['’])t (?:be )?(?:accurately |definitively |directly |exactly |uniquely |further )?(?:determined?"
    r"|answered?|calculated?|computed?|solved?|inferred|concluded?|provide (?:an|a|the)|give (?:an|a|the)|choose"
    r"|select|answer|identify)\b|\bimpossible to (?:say|tell|know|determine|answer|calculate|compute)"
    r"|\bnot possible to (?:say|tell|know|determine|answer|calculate|compute|provide)"
    r"|\b(?:nicht genügend|nicht genug|unzureichende|zu wenig|keine ausreichenden?) (?:informationen|angaben|daten"
    r"|kontext)|\bkann (?:\w+\s){0,3}nicht (?:bestimmt|beantwortet|ermittelt|berechnet) werden"
    r"|\blässt sich (?:\w+\s){0,3}nicht (?:bestimmen|beantworten|sagen|ermitteln)"
    r"|\b(?:no hay|no tengo|no dispongo de) (?:suficiente|bastante)s? (?:información|datos|contexto)|\b(?:información"
    r"|datos) insuficientes?|\bno se puede (?:determinar|saber|responder|calcular)"
    r"|\b(?:pas assez|pas suffisamment|insuffisamment) d['’ ]?(?:e )?(?:informations?|données|éléments|contexte)"
    r"|\b(?:informations?|données) insuffisantes?|\b(?:impossible de|on ne peut pas|ne peut pas être) (?:dire|savoir"
    r"|déterminer|répondre|déterminée?|calculée?)"
    r"|\b(?:não há|não tenho|sem) (?:informaç(?:ões|ão)|dados|contexto)(?: suficientes?)?|\b(?:informações|dados"
    r"|informação) insuficientes?|\bnão (?:é possível|se pode|dá para) (?:determinar|saber|responder|calcular)"
    r"|\bнедостаточно (?:информации|данных|сведений|контекста)|\b(?:невозможно|нельзя) (?:определить|ответить|сказать"
    r"|вычислить)"
    r"|(?:信息|資訊|資料|资料|数据|條件|条件)(?:不足|不够|不夠|缺失)|没有足够的?(?:信息|数据|资料)|(?:无法|不能|無法)(?:确定|判断|得知|回答|计算|確定)"
    r"|情報が(?:不足|足り|十分で)|(?:判断|特定|決定|回答)(?:することは|は)?でき(?:ません|ない)|पर्याप्त (?:जानकारी|डेटा|सूचना) (?:नहीं|उपलब्ध नहीं)"
    r"|निर्धारित नहीं|(?:لا توجد|ليست هناك|لا تتوفر|لا يوجد) (?:معلومات|بيانات)|معلومات غير كافية|لا يمكن (?:تحديد"
    r"|معرفة|الإجابة|حساب))",
    re.IGNORECASE,
)


ALONE_UNKNOWN = Pattern(
    r"\W*(?:unknown(?:\s+without\b.*|\s+(?:as|since|because|due)\b.*)?|n\s?/\s?a|not (?:known|available|applicable"
    r"|listed|specified|given|provided|stated|mentioned|sure|certain|found)|none|null|nil|nan|undefined|undetermined"
    r"|indeterminate|unclear|unanswerable|no answer|i pass|pass|\?+|-+|unbekannt|k\.?\s?a\.?|"
    r"desconocid[oa]|no disponible|inconnu|non disponible|desconhecid[oa]|não disponível|неизвестно|нет данных|未知的?"
    r"|不明|无|不详|अज्ञात|غير معروف|مجهول)\W*",
    re.IGNORECASE,
)


PLACEHOLDER = Pattern(
    r"(?:\.{2,}|…|\?{1,5}|_{2,}|\(?x{3,}\)?|\([xX]\)|<br\s?/?>|[\[(<{]{0,2}(?:insert|enter|your|put|final"
    r"|the)\b.{0,30}\b"
    r"(?:answer|number|value|letter|here|result)s?\b.{0,10}|[<\[{]{1,2}(?:answer|value|number|result|response|name"
    r"|placeholder)[\w -]{0,20}[>\]}]{1,2}"
    r"|tbd|to ?do|lorem ipsum.{0,200})[.!]?",
    re.IGNORECASE | re.DOTALL,
)


UNFILLED = Pattern(
    r"^[^\w\n]{0,6}(?:(?:the |my |final |short )*answer|antwort|respuesta|réponse|resposta|ответ|答案|答え)\W{0,4}"
    r"(?:\s+is\s{0,3}[:：]?|[:：])\s{0,3}(?:_{2,}|\.{3,}|…)?[*\s.]{0,6}$",
    re.IGNORECASE,
)


OFFERS_OWN = Pattern(
    r"\s*(?:i['’]?(?:m|ll|d)\b(?! (?:guess|say))|i (?:am|can|could|would be|will|do)\b|let me|feel|happy|here)",
    re.IGNORECASE,
)
ASKS_OF_ERRORS = Pattern(r"\b(?:errors?|exceptions?|http|status|prints?|outputs?|message|the term)\b", re.IGNORECASE)
SHORT_VALUE = Pattern(r"[*$€£]{0,3}-?\d[\d.,:/]*\s?\S{0,3}[*.!]{0,4}")
SPECIAL_TOKENS = Pattern(r"<\|[\w ]{1,30}\|>|</?s>|<eos(?:_token)?>|<(?:start|end)_of_turn>", re.IGNORECASE)
BUT = Pattern(r"[,;]?\s(?:but|however|though|aber|pero|mais|mas|но)\b,?|[，,]但", re.IGNORECASE)


PLAIN_VALUE = Pattern(r"[\s*$€£(-]{0,6}[\d.,:/%-]{1,40}[)*.\s]{0,4}")


ERROR = Pattern(
    r"\W*(?:(?:an? )?(?:internal |unexpected |upstream |server |api |network |parsing |request |connection |runtime "
    r"|http |fatal |unknown |openai |proxy |gateway |backend )*(?:error|exception)s?\b\s?(?:\d{3}\b|code\b|[:：—-]"
    r"|occurred|has occurred|while|processing|during|in (?:processing|the)|\(|from|\W*$)"
    r"|(?:http/?\d?\.?\d? )?(?:40[0-9]|41\d|42\d|429|50[0-9]|52\d)\b[\s:,.-]{1,4}(?:bad|unauthorized|forbidden"
    r"|not found|too many|internal|gateway|service|request|server|proxy|error|timeout|payload|\{)|bad gateway"
    r"|gateway time-?out|service (?:temporarily )?unavailable|too many requests|rate limit|internal server error"
    r"|request timed? ?out|connection (?:refused|reset|error|aborted|timed out)|upstream (?:connect|request"
    r"|unavailable)"
    r"|invalid (?:json|request|argument|parameter|payload|response)\b|bad request|traceback \(most recent"
    r"|<!doctype html|<html|no healthy upstream|(?:the )?(?:model|server|service) is (?:currently "
    r"|temporarily )?(?:overloaded|unavailable|down|busy)|you exceeded your current quota|insufficient_quota"
    r"|invalid api key|context[_ ]length[_ ]exceeded|\{\s*[\"'](?:error|detail)[\"']\s*:(?!\s*(?:null|false|\"\"))"
    r"|\{\s*[\"']type[\"']\s*:\s*[\"']error"
    r"|(?:litellm|openai|anthropic|httpx|requests|google)\.[\w.]{1,60}(?:error|exception)\b|\[error\]"
    r"|cuda out of memory"
    r"|there was an error\b|an error (?:has )?occurred|something went wrong\b)",
    re.IGNORECASE,
)


ASKS_BACK = Pattern(
    r"(?:\b(?:could|can|would|may|might) (?:you|i)\b|\bplease (?:\w+\s)?(?:provide|specify|tell|share|clarify|give"
    r"|confirm|let me know|upload|paste|enter|supply)|\b(?:do|did|are) you (?:mean|want|need|have|like|referring"
    r"|looking|asking|interested)|\bwhich (?:one|\w+ (?:do|would|are) you)|\bwhat (?:is|are|do|would|kind|type"
    r"|would) (?:the |your |you )"
    r"|\blet me know\b|\bhow (?:many|much|would|can|do) (?:\w+\s){0,3}(?:you|i)\b|\bi (?:need|require|would need"
    r"|['’]d need|will need|['’]ll need) (?:the |some |a |to know|more|additional|you to|your|a few|further)"
    r"|\b(?:missing|needed|required) (?:parameter|information|detail|argument)"
    r"|\b(?:könnten|können|kannst|könntest|würden|möchten|möchtest|meinst|meinen) (?:sie|du)\b|\bbitte (?:geben"
    r"|nennen|teilen|präzisier|gib|nenn)|\b(?:podría|puede|puedes|podrías|quieres|desea|a qué te)\b"
    r"|\bpor favor,? (?:proporcion|indi|especifi|acl|inform|forne|espec)|\b(?:pouvez|pourriez|peux|pourrais|voulez"
    r"|souhaitez)[- ](?:vous|tu)\b|\bveuillez\b"
    r"|\b(?:você )?(?:poderia|pode|gostaria|quer)\b|\b(?:не могли бы|можете|уточните|пожалуйста,? (?:укажите|уточните"
    r"|предоставьте)|какой именно|что вы имеете)|请(?:问|提供|告诉|说明|明确|补充|具体)|(?:能否|可以|可否)(?:请|告诉|提供|说明|具体)|您(?:想|要|是指"
    r"|指的)|(?:教えて|お知らせ|ご提供|明確に|具体的に).{0,10}(?:ください|いただけ|もらえ)|(?:でしょうか|ですか)[?？]|कृपया (?:बताएं|बताइए|स्पष्ट|प्रदान)"
    r"|क्या आप|(?:هل يمكنك|يرجى|من فضلك|هل تقصد|هل تريد))",
    re.IGNORECASE,
)


ASKS_FOR_TEXT = Pattern(
    r"\b(?:translat\w+|rewrite|rephrase|paraphrase|proofread|repeat|quote|draft|compose|say in|in (?:french|german"
    r"|spanish|english|italian|chinese|japanese|russian|arabic|hindi|portuguese)\b.{0,3}$|how (?:do|would) (?:you"
    r"|i) say|write (?:a|an|the|me|down)|what (?:did|does|do|would|should) .{1,60} (?:say|reply|answer|respond)"
    r"|complete the|fill in|reply to|respond to|output|print\w*|übersetz\w+|schreib\w*|wiederhol\w*|traduc\w*"
    r"|escrib\w*|repit\w*|tradui\w*|traduis\w*|écri\w*|répét\w*|traduz\w*|escrev\w*|перевед\w*|напиш\w*|повтор\w*)\b"
    r"|翻译|翻譯|写|重复|訳|書いて|繰り返|अनुवाद|लिख|ترجم|اكتب",
    re.IGNORECASE,
)


NO_OPTION = Pattern(
    r"\b(?:not (?:listed|among|one of|an option|included|provided|given)|none of the (?:\w+\s)?(?:options|choices"
    r"|answers)|(?:question|problem) is (?:incorrect|incomplete|flawed))\b",
    re.IGNORECASE,
)


INVITES = Pattern(
    r"\b(?:if|when|in case|should|unless|otherwise|or)\b[^.?!\n]{0,80}\b(?:(?:do not|don['’]t|not) know|unsure"
    r"|not sure|unknown|uncertain|cannot (?:be )?(?:determined?|answer|tell|find)|can['’]t (?:be )?(?:determined?"
    r"|answer|tell|find)|not (?:enough|sufficient)|insufficient|no answer|unanswerable|not (?:in|stated|mentioned"
    r"|given|found)|isn['’]t (?:in|stated|mentioned|given)|n/?a|none)\b"
    r"|\b(?:say|answer|reply|respond|write|return|output)\b[^.?!\n]{0,30}[\"'“‘`](?:i (?:do not|don['’]t) know"
    r"|unknown|n/?a|not enough|none|unanswerable|no answer|unsure|idk)|\b(?:say so|admit it|be honest) if\b"
    r"|\bif any\b|\bmay abstain\b|\bis (?:it|there) (?:possible|enough|any|known)\b|\bcan (?:it|this|we|you"
    r"|one) (?:be )?(?:determined?|tell|know|say)\b|\bdo you know\b"
    r"|\b(?:wenn|falls)\b[^.?!\n]{0,60}\b(?:nicht (?:weißt|wissen|weiß|bekannt|sicher)|unbekannt|unklar)"
    r"|\bsi\b[^.?!\n]{0,60}\b(?:no (?:lo )?sab\w+|no est\w+ segur\w+|ne (?:le )?sa\w+ pas|n['’]es pas sûre?"
    r"|desconoc\w+)|\bse\b[^.?!\n]{0,60}\b(?:não (?:sou)?b\w+|não sab\w+|não tiver certeza)"
    r"|\bесли\b[^.?!\n]{0,60}\b(?:не знаешь|не знаете|неизвестно|не уверен)|如果[^。？\n]{0,30}(?:不知道|不确定|不清楚|无法)|(?:分から"
    r"|わから|知ら)な(?:い|ければ)|यदि[^।?\n]{0,60}(?:नहीं|पता न)|إذا[^.؟\n]{0,60}(?:لا تعرف|لم تعرف|لا تعلم|لم تكن)",
    re.IGNORECASE,
)


REQUESTS = Pattern(
    r"\bplease\b|\blet me know\b|\bi(?:['’]?ll| will| would|['’]d)? (?:need|require)\b|\bonce you\b|\bif you (?:can "
    r"|could )?(?:provide|tell|share|specify|give|have|let)\b|请|\bbitte\b|\bpor favor\b|\bveuillez\b|ください|कृपया|يرجى"
    r"|пожалуйста|уточните",
    re.IGNORECASE,
)


NEEDS = Pattern(  # before anything can be answered
    r"(?<!if you )\b(?:could|can|would) you (?:please |kindly )?(?:tell|provide|specify|share|clarify|give|confirm)\b"
    r"|\bplease (?:provide|specify|tell|share|clarify|give|supply|answer|let me know (?:the|your|which|what)"
    r"|let me know\W*$)\b|\b(?:i|we)(?:['’]?ll| will| would|['’]d)? need\b(?! not)(?! to (?:find|use|calculate"
    r"|consider|compute|solve|subtract|add|divide|multiply))|\bneed to know\b"
    r"|\b(?:once|if) you (?:can |could )?(?:provide|share|give|let me know|specify|tell)\b|\bbefore (?:we"
    r"|i) (?:can )?(?:proceed|do|start|continue)\b|\bare you ready\b",
    re.IGNORECASE,
)


CONDITIONAL = Pattern(
    r"^\W*(?:however,? |otherwise,? |and )?if you(?:['’]re| are| have| need| want| would|['’]d)\b",
    re.IGNORECASE,
)


OFFERS = Pattern(
    r"\bi can (?:only )?(?:help|assist|try|certainly|explain|search|provide you)\b|\bi can suggest\b|\bi['’]?ll ask\b"
    r"|\bwe can use\b|\bnot for \w+ing\b|\bfeel free\b|\b(?:you (?:can|could|may|might|should|would)|i (?:recommend"
    r"|suggest)|i['’]d (?:recommend|suggest|be happy)|i would (?:recommend|suggest)|try) (?:also |that you |easily "
    r"|typically |need |want |like |to |wish )*(?:check\w*|consult\w*|visit\w*|search\w*|us(?:e|ing)|refer\w*|find"
    r"|look\w*|contact\w*|try\w*)\b|\bmight be helpful\b"
    r"|\b(?:available|provided|given|listed|my) (?:\w+\s){0,2}(?:tools?|functions?|api|code|capabilities|abilities)\b"
    r"|\b(?:the|this|that|a|any|specific|only) (?:\w+ ){0,2}(?:functions?|tools?|apis?) (?:i|that|to|for|which|you"
    r"|in)\b|\b(?:tool|function)s? (?:provided|available|listed|you|is|are|only|can|does|do|in|that)\b"
    r"|\bmy (?:capabilities|knowledge|abilities|training|tools)\b|\b(?:limited to|specialized (?:tools|knowledge))\b"
    r"|\bany (?:other|further)\b|\banything else\b|\bsomething else\b|\bif you (?:need|have|want|would like"
    r"|['’]d like|are interested)\b|\bhappy to help\b|\bby default\b|\botherwise, i\b|\b(?:these|the) questions\b"
    r"|\bonly provides?\b",
    re.IGNORECASE,
)


OFFERS_MORE = Pattern(
    r"\b(?:any (?:other|further)|anything else|how you would like|place the order|to proceed)\b",
    re.IGNORECASE,
)


QUOTED = Pattern(
    r"(?<!\w)(?:\"[^\"\n]{2,200}\"|'[^'\n]{2,200}'(?!\w)|“[^”\n]{2,200}”|‘[^’\n]{2,200}’|«[^»\n]{2,200}»"
    r"|「[^」\n]{2,200}」)"
)


FIGURES = Pattern(r"\d|[\"“«][^\"”»]{3,}[\"”»]")


SENTENCE_END = Pattern(r"(?<=[.!?])\s+|(?<=[。？！؟।])\s*|\n+|\\n")


CODE_QUESTION = Pattern(r"^[^\S\n]{0,40}(?:def|assert|class|return|import)\b|```", re.MULTILINE)


CODE_TEXT = Pattern(
    r"^[^\S\n]*```(?!json|\s*\{|[^\S\n]*$)|^\s*(?:def|class|import|from|async def|function|const|let|var|public"
    r"|#include|SELECT|<\?php)\b",
    re.MULTILINE,
)


EVEN_SO = Pattern(
    r"\b(?:but|however|still|nevertheless|that said|though|yet|probably|perhaps|likely|approximately|roughly"
    r"|my (?:best )?guess|best guess|estimate|estimated|i (?:would|['’]d) (?:say|guess)|i think|i believe|as of"
    r"|here (?:is|are)|aber|vermutlich|wahrscheinlich|pero|probablemente|mais|sans doute|mas|provavelmente|но"
    r"|вероятно|但|不过|大概|しかし|ただし)\b|但|不过|大概|しかし|ただし",
    re.IGNORECASE,
)
