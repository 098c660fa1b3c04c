"""Units of measure and of money: their names, dimensions and factors.

SI brochure, 9th edition; NIST Special Publication 811, appendix B.

A unit is a product of base units with a factor. Money has a dimension per currency, because one currency is not
another; per cent is a number of hundredths that is kept apart from plain numbers, because 5 % and 5 are not the same
unless per cent were asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from orchestrator.verifiers.answers.pattern import Pattern

Dimension = tuple[tuple[str, int], ...]
MAX_FACTORS = 6


@dataclass(frozen=True, slots=True)
class Unit:
    """`factor` base units (SI where there are some) and, for temperatures, the `offset` at which it begins.

    `dimension` maps base units to exponents.
    """

    dimension: Dimension
    factor: Fraction
    offset: Fraction = Fraction(0)

    @property
    def is_money(self) -> bool:
        """Whether it is a currency."""
        return len(self.dimension) == 1 and self.dimension[0][0].startswith("money:") and self.dimension[0][1] == 1

    @property
    def is_percent(self) -> bool:
        """Whether it is a share of a hundred."""
        return self.dimension == PERCENT

    def in_base(self, value: Fraction) -> Fraction:
        """`value` of this unit in base units: kelvins for degrees, bits for bytes."""
        return (value + self.offset) * self.factor


PERCENT: Dimension = (("percent", 1),)
_PREFIXES = {"n": -9, "µ": -6, "μ": -6, "u": -6, "m": -3, "c": -2, "d": -1, "h": 2, "k": 3, "M": 6, "G": 9, "T": 12}
_LONG_PREFIXES = {
    "nano": -9,
    "micro": -6,
    "milli": -3,
    "centi": -2,
    "deci": -1,
    "hecto": 2,
    "kilo": 3,
    "mega": 6,
    "giga": 9,
    "tera": 12,
}
# Symbols that take prefixes (case counts), then base units with exponents and the factor.
_SYMBOLS: dict[str, tuple[str, str]] = {
    "m": ("1", "m"), "g": ("1/1000", "kg"), "s": ("1", "s"), "A": ("1", "A"), "K": ("1", "K"), "mol": ("1", "mol"),
    "cd": ("1", "cd"),
    "Hz": ("1", "s-1"), "N": ("1", "kg m s-2"), "Pa": ("1", "kg m-1 s-2"), "J": ("1", "kg m2 s-2"),
    "W": ("1", "kg m2 s-3"), "C": ("1", "A s"),
    "V": ("1", "kg m2 s-3 A-1"), "F": ("1", "kg-1 m-2 s4 A2"), "Ω": ("1", "kg m2 s-3 A-2"), "T": ("1", "kg s-2 A-1"),
    "H": ("1", "kg m2 s-2 A-2"), "Wb": ("1", "kg m2 s-2 A-1"), "L": ("1/1000", "m3"), "l": ("1/1000", "m3"),
    "eV": ("1.602176634e-19", "kg m2 s-2"),
    "cal": ("4.184", "kg m2 s-2"), "Wh": ("3600", "kg m2 s-2"), "bit": ("1", "bit"), "B": ("8", "bit"),
    "bar": ("100000", "kg m-1 s-2"),
}  # fmt: skip
# Words and symbols without prefixes; words are looked up in lower case. Factor, base units, names.
_NAMED: tuple[tuple[str, str, str], ...] = (
    ("1", "m", "meter meters metern metre metres metro metros mètre mètres метр метра метров मीटर متر メートル 米"),
    ("1/1000", "kg", "gram grams gramm gramo gramos gramme grammes grama gramas грамм грамма граммов ग्राम グラム 克"),
    ("1", "kg", "kilo kilos kilograms 公斤 千克 キログラム किलोग्राम килограмм килограмма килограммов"),
    ("1000", "m", "千米 公里 キロメートル किलोमीटर километр километра километров км كيلومتر"),
    ("1/100", "m", "厘米 см センチメートル"),
    ("1000", "kg", "t ton tons tonne tonnes tonnen tonelada toneladas тонна тонны тонн 吨"),
    ("0.45359237", "kg", "lb lbs"),
    ("0.028349523125", "kg", "oz ounce ounces"),
    ("0.3048", "m", "ft foot feet"),
    ("0.0254", "m", "in inch inches zoll"),
    ("0.9144", "m", "yd yard yards"),
    ("1609.344", "m", "mi mile miles meile meilen milla millas"),
    ("1852", "m", "nmi"),
    ("9460730472580800", "m", "ly lightyear lightyears light-year light-years"),
    ("1", "s", "sec secs second seconds sekunde sekunden segundo segundos seconde secondes секунда секунды секунд 秒 "
               "सेकंड"),
    ("60", "s", "min mins minute minutes minuten minuto minutos минута минуты минут мин 分钟 分 मिनट دقيقة"),
    ("3600", "s", "h hr hrs hour hours stunde stunden hora horas heure heures час часа часов ч "
     "小时 小時 時間 घंटे घंटा ساعة"),
    ("86400", "s", "day days tag tage tagen día días dia dias jour jours день дня дней 天 日間 दिन يوم"),
    ("604800", "s", "week weeks woche wochen semana semanas semaine semaines неделя недели недель 周 週間 सप्ताह"),
    ("1", "month", "month months monat monate mes meses mois месяц месяца месяцев 个月 ヶ月 महीने"),
    ("12", "month", "year years yr yrs jahr jahre jahren año años ano anos ans année années год года лет 年 साल سنة"),
    ("5/18", "m s-1", "kmh kph"),
    ("0.44704", "m s-1", "mph"),
    ("463/900", "m s-1", "knot knots"),
    ("1", "m s-1", "mps"),
    ("10000", "m2", "ha hectare hectares hektar"),
    ("4046.8564224", "m2", "acre acres"),
    ("0.09290304", "m2", "sqft"),
    ("0.003785411784", "m3", "gal gallon gallons"),
    ("0.000946352946", "m3", "qt quart quarts"),
    ("0.000473176473", "m3", "pt pint pints"),
    ("0.0002365882365", "m3", "cup cups"),
    ("0.001", "m3", "liter liters litre litres litro litros литр литра литров 升 リットル लीटर"),
    ("101325", "kg m-1 s-2", "atm atmosphere atmospheres"),
    ("6894.757293168", "kg m-1 s-2", "psi"),
    ("133.322387415", "kg m-1 s-2", "mmhg torr"),
    ("745.69987158227", "kg m2 s-3", "hp horsepower"),
    ("4184", "kg m2 s-2", "kcal"),
    ("1055.05585262", "kg m2 s-2", "btu"),
    ("4.184", "kg m2 s-2", "calorie calories"),
    ("1", "kg m2 s-2", "joule joules"), ("1", "kg m2 s-3", "watt watts"), ("1", "kg m s-2", "newton newtons"),
    ("1", "s-1", "hertz"),
    ("1", "kg m-1 s-2", "pascal pascals"), ("1", "kg m2 s-3 A-1", "volt volts"), ("1", "A", "ampere amperes amp amps"),
    ("1", "kg m2 s-3 A-2", "ohm ohms"), ("1", "A s", "coulomb coulombs"), ("1", "K", "kelvin kelvins"),
    ("1", "mol", "mole moles"),
    ("1", "kg s-2 A-1", "tesla"), ("1", "kg-1 m-2 s4 A2", "farad farads"),
    ("8", "bit", "byte bytes"), ("1", "bit", "bits"), ("8192", "bit", "kib"), ("8388608", "bit", "mib"),
    ("8589934592", "bit", "gib"),
    ("1", "degree", "° deg degree degrees grad grado grados degré degrés graus градус градуса градусов 度"),
    ("1/60", "degree", "arcmin arcminute arcminutes"), ("1/3600", "degree", "arcsec arcsecond arcseconds"),
    ("57.295779513082320877", "degree", "rad radian radians"),
    ("1/60", "s-1", "rpm"), ("1", "M", "molar"),
    ("1", "percent", "% percent percents prozent porcentaje percentage pct 百分比 パーセント प्रतिशत процент процента "
                     "процентов"),
    ("1", "dB", "db decibel decibels"),
    ("1", "money:USD", "$ usd us$ dollar dollars dólar dólares dolares доллар доллара долларов 美元 ドル डॉलर دولار bucks"),
    ("1/100", "money:USD", "¢ cent cents"),
    ("1", "money:EUR", "€ eur euro euros евро 欧元 ユーロ यूरो يورو"),
    ("1", "money:GBP", "£ gbp quid 英镑 ポンド"),
    ("1", "money:JPY", "¥ jpy yen 円 日元"),
    ("1", "money:CNY", "cny rmb yuan renminbi 元 人民币 元人民币"),
    ("1", "money:INR", "₹ inr rs rs. rupee rupees रुपये रुपए रुपया"),
    ("1", "money:RUB", "₽ rub rouble roubles ruble rubles рубль рубля рублей руб"),
    ("1", "money:KRW", "₩ krw won"), ("1", "money:BRL", "r$ brl real reais"), ("1", "money:CHF", "chf franken"),
    ("1", "money:CAD", "c$ ca$ cad"), ("1", "money:AUD", "a$ au$ aud"), ("1", "money:MXN", "mxn"),
    ("1", "money:TRY", "₺"),
    ("1", "money:ILS", "₪ ils"), ("1", "money:UAH", "₴ uah"), ("1", "money:VND", "₫ vnd"), ("1", "money:SEK", "sek"),
    ("1", "money:PLN", "pln zł"),
    ("1", "money:BTC", "₿ btc bitcoin bitcoins"),
)  # fmt: skip
_LONG_NAMED = (  # that take long prefixes: kilometer
    "meter meters metern metre metres gram grams second seconds liter liters litre litres watt watts joule joules volt "
    "volts newton newtons hertz pascal pascals byte bytes bit bits mole moles metros metro mètres mètre gramm "
    "gramos grammes ampere amperes ohm ohms "
).split()
_TEMPERATURES = dict.fromkeys(
    ("°c", "c", "℃", "celsius", "°celsius", "degc", "degrees celsius", "degree celsius", "grad celsius", "摄氏度"), "C"
) | dict.fromkeys(
    ("f", "°f", "℉", "fahrenheit", "°fahrenheit", "degf", "degrees fahrenheit", "degree fahrenheit", "华氏度"), "F"
)
_SCALES = {
    "C": Unit((("K", 1),), Fraction(1), Fraction("273.15")),
    "F": Unit((("K", 1),), Fraction(5, 9), Fraction("459.67")),
}
_CURRENCY_BEFORE = Pattern(
    r"(?P<money>(?:US|CA|AU|[CAR])?\$|[€£¥₹₽₩₺₪₴₫₿]|(?:USD|EUR|GBP|JPY|CNY|INR|RUB|CHF|CAD|AUD|BRL|MXN|KRW|SEK|PLN"
    r"|BTC|Rs\.?)(?=\s?[-+\d]))\s?"
)
_PART = Pattern(
    r"\s?(?P<op>[*/·⋅×]|(?:per|pro|por|par)\b\s?|\s)?\s?(?P<square>square |sq\.? ?|cubic |quadrat|平方|立方)?"
    r"(?P<unit>°\s?[CF](?![a-z])|℃|℉|[%°¢€£₹₽₩$¥]|degrees? (?:celsius|fahrenheit)\b|[^\W\d_¹²³⁴]+[.]?(?:\([a-z]+\))?)"
    r"(?:\s?(?:\^|\*\*)\s?[{(]?(?P<power>-?\d)[})]?|(?P<super>⁻?[¹²³⁴])|(?P<bare>(?<=m)[23](?!\d))|\s(?P<post>squared"
    r"|cubed)\b)?",
    re.IGNORECASE,
)
_OFTEN_WORDS = frozenset(("in", "mi", "won", "real", "bit", "min", "mes"))  # which name no unit in a question
_NO_INCH = Pattern(r"in\.?\s+\w", re.IGNORECASE)  # "18 in total"
_FROM_SUPERSCRIPT = str.maketrans("⁻¹²³⁴", "-1234")
_SQUARES = {"square": 2, "sq": 2, "quadrat": 2, "平方": 2, "cubic": 3, "立方": 3}


def find_currency(text: str, start: int) -> tuple[Unit, int] | None:
    """The currency that is written in front of an amount at `start` (`$5`, `USD 5`), and where it ends."""
    found = _CURRENCY_BEFORE.match(text, start)
    unit = _lookup(found["money"]) if found else None
    return (unit, found.end()) if found and unit else None


def find_unit(text: str, start: int) -> tuple[Unit, int] | None:
    """The longest unit that `text` has at `start` (behind a number), and where it ends.

    `km/h`, `m^2`, `square feet`, `meters per second`, `%`, `€`.
    """
    end, total, at = start, None, start
    for index in range(MAX_FACTORS):
        part = _PART.match(text, at)
        if part is None or (index > 0 and part["op"] is None and text[at : at + 1].isalpha()):
            break
        op = (part["op"] or "").strip()
        unit = (
            None
            if _NO_INCH.match(text, part.start("unit"))
            else _lookup(part["unit"]) or _lookup(part["unit"].rstrip("."))
        )
        if unit is None or (index == 0 and op):
            break
        power = _power_of(part)
        if index and (not op and not _is_symbol(part["unit"])):
            break  # "5 hours day": a word behind a unit is another noun
        total = _combined(total, _raised(unit, power), is_divided=op not in ("", "*", "·", "⋅", "×"))
        at = part.end()
        end = at - 1 if text[at - 1] == "." and part.end("unit") == at else at  # the sentence's, if not the unit's own
    return (total, end) if total is not None else None


def find_units_named(text: str) -> frozenset[Unit]:
    """All units that a question speaks of, by their names and signs."""
    found = set()
    for word in re.findall(r"[^\W\d_]+|[%€£¥₹$¢°₽]", text):
        if word.casefold() in _OFTEN_WORDS:
            continue
        if len(word) > 1 or not word.isascii() or word in "%$":
            unit = _lookup(word)
            if unit is not None:
                found.add(unit)
    return frozenset(found)


def _power_of(part: re.Match[str]) -> int:
    if part["square"]:
        return _SQUARES[part["square"].strip().strip(".").casefold()]
    if part["post"]:
        return 2 if part["post"].lower() == "squared" else 3
    written = part["power"] or (part["super"] or "").translate(_FROM_SUPERSCRIPT) or part["bare"]
    return int(written) if written else 1


def _is_symbol(word: str) -> bool:
    return len(word) <= 3


def _raised(unit: Unit, power: int) -> Unit:
    if power == 1:
        return unit
    return Unit(tuple((base, exponent * power) for base, exponent in unit.dimension), unit.factor**power)


def _combined(total: Unit | None, unit: Unit, *, is_divided: bool) -> Unit:
    if total is None:
        return unit
    sign = -1 if is_divided else 1
    exponents = dict(total.dimension)
    for base, exponent in unit.dimension:
        exponents[base] = exponents.get(base, 0) + sign * exponent
    return Unit(tuple(sorted((b, e) for b, e in exponents.items() if e)), total.factor * unit.factor**sign)


@lru_cache(maxsize=2_048)
def _lookup(name: str) -> Unit | None:
    lowered = re.sub(r"\s+", " ", name.casefold())
    if (scale := _TEMPERATURES.get(lowered.replace("° ", "°"))) is not None:
        return _SCALES[scale]
    if (unit := _symbols().get(name)) is not None:
        return unit
    return _names().get(lowered)


@lru_cache(maxsize=1)
def _symbols() -> dict[str, Unit]:
    found = {}
    for symbol, (factor, bases) in _SYMBOLS.items():
        unit = _unit(factor, bases)
        found[symbol] = unit
        for prefix, power in _PREFIXES.items():
            if prefix + symbol not in _SYMBOLS:
                found.setdefault(prefix + symbol, Unit(unit.dimension, unit.factor * Fraction(10) ** power))
    for symbol, power in (("Mb", 6), ("Gb", 9), ("Tb", 12), ("Mbit", 6), ("Gbit", 9)):  # not bytes
        found[symbol] = Unit((("bit", 1),), Fraction(10) ** power)
    for name in (
        "C",
        "F",
        "min",
        "ft",
        "Pt",
        "pt",
    ):  # what they stand for in answers is a temperature, a word or another unit
        found.pop(name, None)
    return found


@lru_cache(maxsize=1)
def _names() -> dict[str, Unit]:
    found = {name.casefold(): _unit(factor, bases) for factor, bases, names in _NAMED for name in names.split()}
    for prefix, power in _LONG_PREFIXES.items():
        for name in _LONG_NAMED:
            base = found.get(name.casefold())
            if base is not None:
                found[prefix + name.casefold()] = Unit(base.dimension, base.factor * Fraction(10) ** power)
    for name in (
        "kg",
        "km",
        "cm",
        "mm",
        "ml",
        "mhz",
        "khz",
        "ghz",
        "kwh",
        "mb",
        "gb",
        "tb",
        "kb",
    ):  # written in whatever case
        symbol = {
            "kwh": "kWh",
            "mb": "MB",
            "gb": "GB",
            "tb": "TB",
            "kb": "kB",
            "mhz": "MHz",
            "khz": "kHz",
            "ghz": "GHz",
            "ml": "mL",
        }.get(name, name)
        found.setdefault(name, _symbols()[symbol])
    return found


def _unit(factor: str, bases: str) -> Unit:
    exponents = []
    for base in bases.split():
        found = re.fullmatch(r"(.*?)(-?\d+)?", base)
        assert found is not None
        exponents.append((found[1], int(found[2] or 1)))
    return Unit(tuple(sorted(exponents)), Fraction(factor))
