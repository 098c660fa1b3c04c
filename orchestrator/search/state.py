"""What a strategy sees: the candidates so far, how much each is believed, and what may still be asked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache

from orchestrator.config import defaults
from orchestrator.jsontypes import JsonObject
from orchestrator.search.actions import Action, Draft, ModelAction
from orchestrator.search.belief import Belief, VoteState, replay, to_belief, weigh
from orchestrator.search.call_groups import group_calls, text_votes
from orchestrator.search.lengths import length_factor
from orchestrator.search.revisions import CRITERIA, CRITIQUE, DEBATE, KNOWN, OPINION, TRUSTED, Revised, RevisionOdds
from orchestrator.search.vote_model import VoteModel
from orchestrator.types import Candidate
from orchestrator.types.lazy import lazy
from orchestrator.verifiers import Ensemble, NonAnswer, Reading, Verdict, group_answers, read_answer

MAX_KEPT_CHARS = 8_000
SAYS_NOTHING: frozenset[NonAnswer] = frozenset(
    ("empty", "error", "filtered")
)  # non-answers that are of no use to any reader
UNKNOWN_PRICE_USD = 0.01  # taken where no price is known


@dataclass(frozen=True, slots=True)
class Choice:
    """A model that may be asked: P(correct) in [0, 1], expected price in USD (`None`: unknown) and seconds.

    Of the price, `prompt_usd` is for reading the prompt (`reread_usd` when it was read shortly before), which a model
    that `gives_several` answers to one call does once; the rest is for `output_tokens` (0: unknown), as they are
    expected before any draft.
    """

    model: str
    p_success: float
    cost_usd: float | None
    latency_s: float
    prompt_usd: float = 0.0
    reread_usd: float | None = None
    gives_several: bool = False
    output_tokens: float = 0.0


@dataclass(frozen=True)
class SearchState:
    """Immutable; the loop makes a new one after every result.

    `choices` are the models that have not been asked for a draft, cheapest first; `fleet` are all that may be asked
    (empty: those).

    `running` is what was begun and has not ended, `begun` everything so far; `seconds_left` the time until the deadline
    (`None`: there is none). `tools` are those that drafts may call. A right answer is worth `value_usd`, a second less
    to wait `usd_per_second`. A lone guess must reach `lone_quality`, too. `criteria` are what a critique judges by.

    It has more methods than other classes: what strategies, which are pure, can ask about a search.
    """

    question: str
    choices: tuple[Choice, ...]
    priors: dict[str, float]
    candidates: tuple[Candidate, ...] = ()
    quality: float = defaults.QUALITY
    lone_quality: float = 0.0
    value_usd: float = defaults.VALUE_USD
    usd_per_second: float = 0.0
    vote_model: VoteModel = field(default_factory=VoteModel)
    ensemble: Ensemble = field(default_factory=Ensemble)
    revisions: Mapping[str, RevisionOdds] = field(default_factory=dict)
    criteria: tuple[str, ...] = ()
    chosen: str | None = None
    may_abstain: bool = False
    fleet: tuple[Choice, ...] = ()
    running: tuple[ModelAction, ...] = ()
    begun: tuple[ModelAction, ...] = ()
    seconds_left: float | None = None
    tools: tuple[JsonObject, ...] = ()

    def changed(self, **changes: object) -> SearchState:
        """The state with other fields, as `dataclasses.replace` makes it, in a tenth of its time.

        What was worked out of the candidates is kept where only the course of the search changes: a search makes five
        states for each draft, and asks each of them the same.
        """
        new = object.__new__(SearchState)
        held = self.__dict__
        if changes.keys() <= _COURSE:
            new.__dict__.update(held)
            new.__dict__.pop("length_factor", None)  # the one that looks at choices
        else:
            new.__dict__.update({name: held[name] for name in _FIELDS})
        new.__dict__.update(changes)
        return new

    @lazy
    def readings(self) -> tuple[Reading, ...]:
        """What each candidate says, and whether it is an answer at all."""
        return tuple(
            reading_of(candidate.text, self.question, candidate.completion.finish_reason, self.may_abstain)
            for candidate in self.candidates
        )

    @property
    def enough(self) -> float:
        """The confidence at which nothing more needs to be asked, in [0, 1]."""
        return self.quality if self.candidates and not self.is_lone_guess else max(self.quality, self.lone_quality)

    @property
    def is_lone_guess(self) -> bool:
        """Whether nothing but the router speaks for the only candidate: its model states no P(correct) of its own."""
        return len(self.candidates) == 1 and self.candidates[0].completion.confidence is None

    def non_answer(self, index: int) -> NonAnswer | None:
        """Of which kind candidate `index` is that is no answer.

        `None` for an answer, and for what a check of the caller's passed.
        """
        candidate = self.candidates[index]
        if candidate.calls or any(verdict.decisive and verdict.passed for verdict in candidate.verdicts):
            return None
        kind = self.readings[index].non_answer
        return None if self.tools and kind not in SAYS_NOTHING else kind  # that no tool fits is an answer there

    def is_of_use(self, index: int) -> bool:
        """Whether a reader has something from candidate `index`.

        An answer, or what a model said instead (that it does not know, a question back).
        """
        kind = self.non_answer(index)
        return kind is None or (kind not in SAYS_NOTHING and bool(self.candidates[index].text.strip()))

    @lazy
    def keys(self) -> tuple[str, ...]:
        """The group of each candidate: equal keys are equivalent answers, as a verifier found or by what they say.

        Running text is like its copies only (`text#...`); what is no answer is like nothing (`none#...`).
        """
        return self._grouping[0]

    @lazy
    def _grouping(self) -> tuple[tuple[str, ...], frozenset[frozenset[str]]]:
        """The keys, and the pairs of them of which is unknown whether they are the same."""
        if self.tools:
            return self._grouping_by_calls
        read = [index for index in range(len(self.candidates)) if self.non_answer(index) is None]
        groups = group_answers([self.readings[index] for index in read], self.question)
        found = {index: key for index, key in zip(read, groups.keys, strict=True) if key is not None}
        keys: list[str] = []
        for index, candidate in enumerate(self.candidates):
            behaves = next((verdict.group for verdict in candidate.verdicts if verdict.group is not None), None)
            alone = f"none#{index}" if self.non_answer(index) is not None else f"text#passed{index}"
            keys.append(behaves or found.get(index, alone))
        return tuple(keys), groups.doubts

    @property
    def _grouping_by_calls(self) -> tuple[tuple[str, ...], frozenset[frozenset[str]]]:
        proposed = [
            None if self.non_answer(index) is not None else candidate.calls
            for index, candidate in enumerate(self.candidates)
        ]
        groups = group_calls(proposed, self.tools)
        return tuple(key or f"none#{index}" for index, key in enumerate(groups.keys)), groups.doubts

    @lazy
    def set_aside(self) -> frozenset[str]:
        """Groups that may be the same as one that more speaks for: they neither count for it nor against it."""
        doubts = self._grouping[1]
        if not doubts:
            return frozenset()
        support: dict[str, tuple[int, float]] = {}  # votes, then how often those who cast them are right
        for index, p in self.standing.values():
            votes, total = support.get(self.keys[index], (0, 0.0))
            support[self.keys[index]] = votes + 1, total + p
        kept: list[str] = []
        for key in sorted(support, key=lambda key: support[key], reverse=True):
            if not any(frozenset((key, other)) in doubts for other in kept):
                kept.append(key)
        return frozenset(support) - frozenset(kept)

    @lazy
    def comparable(self) -> bool:
        """Whether agreement means anything.

        Some answer is short enough to be given twice in the same form, or there is none yet.
        """
        given = [key for key in self.keys if not key.startswith("none#")]
        return not given or any(not key.startswith("text#") for key in given)

    @property
    def drafts(self) -> tuple[Draft, ...]:
        """All drafts that were begun."""
        return tuple(action for action in self.begun if isinstance(action, Draft))

    def drawn(self, model: str) -> int:
        """How many answers `model` was asked for, revisions aside."""
        return sum(draft.several for draft in self.drafts if draft.model == model)

    @lazy
    def standing(self) -> Mapping[int, tuple[int, float]]:
        """For each draft, who speaks for it, itself or the revision that independent checks prefer, and P(that one is
        right) before any vote.

        What a model says in the light of others' answers speaks for it without a check: it may change its mind.
        """
        found: dict[int, tuple[int, float]] = {}
        line: dict[int, int] = {}
        for index, candidate in enumerate(self.candidates):
            before = candidate.revises
            if (
                before is None and candidate.made_of
            ):  # who makes one answer of several changes its own mind, if it drafted one of them
                before = next((i for i in candidate.made_of if self.candidates[i].model == candidate.model), None)
            if before is None:
                line[index] = index
                found[index] = index, self.prior(candidate)
                continue
            root = line[index] = line[before]
            speaker, p = found[root]
            if candidate.made_of or _is_preferred(candidate, self.candidates[speaker]):
                p = 0.0 if self.candidates[speaker].ruled_out else p
                found[root] = index, self.odds(self.candidates[before], in_debate=bool(candidate.made_of)).after(p)
        return found

    @property
    def votes(self) -> tuple[tuple[str | None, float], ...]:
        """(group, P(correct)) of every draft or what speaks for it, unless ruled out.

        The group of what is no answer is `None`.
        """
        return tuple((key, p) for key, p, _, _ in self.voices)

    @lazy
    def voices(self) -> tuple[tuple[str | None, float, float, str], ...]:
        """(group, P(correct), how much it counts in (0, 1], who says so): what one model says again counts less.

        What may or may not be the same as a group that more speaks for has no voice (`set_aside`). Voices that a debate
        won over do not count: a group has no more votes than it had before.
        """
        before = Counter(self.keys[root] for root in self.standing)
        given: Counter[str] = Counter()
        heard: Counter[tuple[str, str]] = Counter()
        cast: list[tuple[str | None, float, float, str]] = []
        for index, p in self.standing.values():
            key = self.keys[index]
            if (
                key in self.set_aside
                or self.candidates[index].ruled_out
                or (self.candidates[index].made_of and given[key] >= max(before[key], 1))
            ):
                continue
            given[key] += 1
            model, way = self.candidates[index].model, self.candidates[index].way
            again, otherwise = heard[model, way], sum(n for (name, _), n in heard.items() if name == model)
            heard[model, way] += 1
            cast.append(
                (
                    None if key.startswith("none#") else key,
                    p,
                    self.vote_model.repeat if again else self.vote_model.other_way if otherwise else 1.0,
                    model,
                )
            )
        return tuple(cast)

    def prior(self, candidate: Candidate) -> float:
        """P(correct) of a candidate before anything is compared: its own, else its model's."""
        own = candidate.completion.confidence
        return own if own is not None else self.priors.get(candidate.model, 0.5)

    def odds(self, candidate: Candidate, *, in_debate: bool = False) -> RevisionOdds:
        """What a revision of this candidate by its feedback is likely to do."""
        if in_debate:
            return self.revisions.get("debate", DEBATE)
        kind, is_trusted = feedback_of(candidate)
        like = TRUSTED if is_trusted else OPINION
        if kind == CRITIQUE and self.criteria and not self.comparable:
            like = CRITERIA
        return self.revisions.get(kind, KNOWN.get(kind, like))

    @lazy
    def likelihood_ratio(self) -> dict[str, float]:
        """Per group, the strongest support that one of its members has from verifiers."""
        ratios: dict[str, float] = {}
        for key, candidate in zip(self.keys, self.candidates, strict=True):
            ratios[key] = max(ratios.get(key, 0.0), self.ensemble.ratio(candidate.verdicts))
        return ratios

    @lazy
    def vote_state(self) -> VoteState:
        """The votes so far, weighed."""
        powers, voters = [power for _, _, power, _ in self.voices], [voter for *_, voter in self.voices]
        return weigh(replay(self.votes, self.vote_model, powers, voters), self.likelihood_ratio)

    @lazy
    def belief(self) -> Belief:
        """How much each group of equivalent answers is believed."""
        if not self.candidates:
            return Belief()
        if self.comparable:
            return to_belief(self.vote_state)
        p = dict(self.standing.values())
        shares: dict[str, float] = {}
        for index, (key, candidate) in enumerate(zip(self.keys, self.candidates, strict=True)):
            if candidate.ruled_out or key.startswith("none#"):
                shares.setdefault(key, 0.0)
                continue
            own = p.get(index, 0.0) if candidate.revises is not None else self.prior(candidate)
            if candidate.made_of:  # at least as good as the best that it was made of
                own = max(own, self.prior(candidate), *(shares[self.keys[i]] for i in candidate.made_of))
            odds = own / max(1 - own, 1e-9) * self.likelihood_ratio[key]
            shares[key] = max(odds / (1 + odds), shares.get(key, 0.0))
        return Belief(shares, 1 - max(shares.values()))

    @lazy
    def leader(self) -> int | None:
        """Index of the best candidate.

        In the leading group, one that no verifier faults, put in full form, from the model most often right. What is no
        answer leads only where nothing else is there.
        """
        usable = [i for i, candidate in enumerate(self.candidates) if not candidate.ruled_out]
        if len(usable) < 2:
            return usable[0] if usable else None
        usable = [i for i in usable if self.non_answer(i) is None] or [i for i in usable if self.is_of_use(i)] or usable
        lead = max(self.p_right(i) for i in usable)
        members = [i for i in usable if self.p_right(i) == lead]
        if self.tools and not any(self.candidates[i].calls for i in members):
            said = text_votes({i: self.candidates[i] for i in members}, self.readings, self.question)
            members = [i for i in members if said[i] == max(said.values())]
        return max(members, key=self._rank)

    def _rank(self, index: int) -> tuple[float, ...]:
        candidate = self.candidates[index]
        return _score(candidate), bool(candidate.made_of), self.readings[index].in_full, self.prior(candidate), -index

    @property
    def first_model(self) -> str | None:
        """The routed model if it may still be asked, else the cheapest."""
        names = [choice.model for choice in self.choices]
        return self.chosen if self.chosen in names else next(iter(names), None)

    @property
    def best_model(self) -> str | None:
        """The model that is most often right on such a query, among all that may be asked; of equals the cheapest."""
        everyone = self.fleet or self.choices
        return max(everyone, key=lambda choice: choice.p_success).model if everyone else None

    def choice(self, model: str) -> Choice:
        """What is known of a model in this search."""
        return next(choice for choice in (*self.fleet, *self.choices) if choice.model == model)

    def price_usd(self, model: str) -> float:
        """What one call costs, waiting included, by how long the drafts so far are.

        An unknown price is taken as high.
        """
        choice = self.choice(model)
        waiting = self.usd_per_second * choice.latency_s
        if choice.cost_usd is None:
            return UNKNOWN_PRICE_USD + waiting
        prompt_usd = min(choice.prompt_usd, choice.cost_usd)
        return prompt_usd + (choice.cost_usd - prompt_usd) * self.length_factor + waiting

    @lazy
    def length_factor(self) -> float:
        """How many times its usual length the next draft is expected to have."""
        usual = {choice.model: choice.output_tokens for choice in (*self.fleet, *self.choices)}
        ratios = [
            math.log(candidate.completion.usage.output_tokens / usual[candidate.model])
            for candidate in self.candidates
            if candidate.revises is None
            and not candidate.made_of
            and candidate.completion.usage.output_tokens > 0
            and usual.get(candidate.model, 0.0) > 0
        ]
        return length_factor(ratios, self.vote_model.length_sharing)

    def p_right(self, index: int) -> float:
        """The belief in candidate `index`; 0 when it is ruled out."""
        return 0.0 if self.candidates[index].ruled_out else self.belief.groups.get(self.keys[index], 0.0)

    @property
    def confidence(self) -> float:
        """P(correct) of the leading candidate."""
        if self.leader is None:
            return 0.0
        believed = self.p_right(self.leader)
        return self.vote_model.stated(believed, len(self.votes)) if self.comparable else believed

    def after_beginning(self, action: ModelAction) -> SearchState:
        """The state once `action` was begun: a model is drafted from once without being drawn again on purpose."""
        left = tuple(choice for choice in self.choices if not isinstance(action, Draft) or choice.model != action.model)
        return self.changed(begun=(*self.begun, action), choices=left)

    def with_candidates(self, *candidates: Candidate) -> SearchState:
        """The state with further candidates."""
        return self.changed(candidates=(*self.candidates, *candidates)) if candidates else self

    def with_verdict(self, index: int, verdict: Verdict) -> SearchState:
        """The state after one more verdict on candidate `index`."""
        judged = replace(self.candidates[index], verdicts=(*self.candidates[index].verdicts, verdict))
        return self.changed(candidates=(*self.candidates[:index], judged, *self.candidates[index + 1 :]))


_FIELDS = tuple(each.name for each in fields(SearchState))
_COURSE = frozenset(("running", "begun", "seconds_left", "choices", "fleet"))  # says nothing of the candidates


Strategy = Callable[[SearchState], Sequence[Action]]


def reading_of(text: str, question: str, finish_reason: str = "stop", may_abstain: bool = False) -> Reading:
    """What an answer says. Every state of a search asks for all candidates again, so short ones are kept."""
    return (_read_once if len(text) + len(question) <= MAX_KEPT_CHARS else _read)(
        text, question, finish_reason, may_abstain
    )


def _read(text: str, question: str, finish_reason: str, may_abstain: bool) -> Reading:
    return read_answer(text, question, finish_reason=finish_reason, may_abstain=may_abstain)


_read_once = lru_cache(maxsize=4_096)(_read)


def group_key(text: str, question: str) -> str | None:
    """What an answer is compared by: equal keys are equivalent answers.

    `None` for running text, which is like no other, and for what is no answer.
    """
    (key,) = group_answers([reading_of(text, question)], question).keys
    return None if key is None or key.startswith("text#") else key


def faults(candidate: Candidate, *, trusted: bool) -> str:
    """What verifiers found wrong and can be acted on: decisive ones only if `trusted`, else also the others'."""
    return "; ".join(
        v.feedback for v in candidate.verdicts if v.passed is False and v.feedback and (v.decisive or not trusted)
    )


def feedback_of(candidate: Candidate) -> tuple[str, bool]:
    """Whose feedback a revision of this candidate would act on (a verifier's name), and whether it is decisive."""
    found = [v for v in candidate.verdicts if v.passed is False and v.feedback]
    decisive = next((v.verifier for v in found if v.decisive), None)
    return (decisive, True) if decisive is not None else (found[0].verifier if found else CRITIQUE, False)


def revisions_in(state: SearchState, is_right: Callable[[str], bool]) -> list[Revised]:
    """What the revisions of a finished (or replayed) search did, once it is known which texts are right.

    What `fit_revisions` learns from.
    """
    found = []
    for candidate in state.candidates:
        if candidate.revises is not None:
            before = state.candidates[candidate.revises]
            kind, is_trusted = ("debate", False) if candidate.made_of else feedback_of(before)
            found.append(Revised(kind, is_right(before.text), is_right(candidate.text), is_trusted))
    return found


def _is_preferred(revision: Candidate, draft: Candidate) -> bool:
    """Whether checks that did not write the critique prefer the revision."""
    return not revision.ruled_out and (draft.ruled_out or _score(revision) > _score(draft))


def _score(candidate: Candidate) -> float:
    scores = [
        verdict.score for verdict in candidate.verdicts if verdict.score is not None and verdict.verifier != CRITIQUE
    ]
    return sum(scores) / len(scores) if scores else 0.5
