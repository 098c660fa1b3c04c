"""Configuration: YAML 1.2, every mistake with its place and a suggestion, no key in the file."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from orchestrator import ConfigError, Orchestrator
from orchestrator.config.models import load_config, parse_config
from orchestrator.config.secrets import secret
from orchestrator.config.yaml_loader import load_located
from orchestrator.fleet.build import fleet_from_config
from orchestrator.verification.from_config import checks_from_config

GOOD = """\
version: 1
models:
  calc: {provider: calculator}
  fast:
    provider: compatible
    base_url: http://127.0.0.1:9/v1
    input_usd_per_mtok: 0.1
    output_usd_per_mtok: 0.4
    skill: 0.8
memory: null
budget: {usd: 0.01, seconds: 20}
quality: 0.9
"""


def mistakes(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "orchestrator.yaml")
    return str(caught.value)


def test_a_good_file_builds_the_fleet_it_names(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.yaml"
    path.write_text(GOOD)
    orchestrator = Orchestrator.from_config(path)
    assert list(orchestrator.backends) == ["calc", "fast"]
    assert orchestrator.backends["fast"].profile.output_usd_per_mtok == 0.4
    assert orchestrator.budget.usd == 0.01
    assert orchestrator.answer_sync("6 * 7").text == "42"


def test_every_mistake_is_reported_at_once_with_its_place_and_a_suggestion() -> None:
    said = mistakes(
        "models:\n  a:\n    provider: gorq\n    skil: 0.5\n  b: {provider: openai, input_usd_per_mtok: -1}\nqualty: "
        "0.9\n"
    )
    assert "orchestrator.yaml:3:15: unknown provider 'gorq'. Did you mean 'groq'?" in said
    assert "orchestrator.yaml:4:5: unknown field 'skil'. Did you mean 'skill'?" in said
    assert "orchestrator.yaml:5:45: models.b.input_usd_per_mtok" in said
    assert "orchestrator.yaml:6:1: unknown field 'qualty'. Did you mean 'quality'?" in said
    assert "4 mistakes" in said


def test_what_a_mistake_might_have_meant_is_few_and_near() -> None:
    said = mistakes("models: {a: {provider: openai, temprature: 0.2}, b: {provider: openai, foo_bar: 1}}")
    assert "Did you mean 'temperature'?" in said
    line = next(line for line in said.splitlines() if "unknown field 'foo_bar'" in line)
    assert "more: docs/configuration.md" in line
    assert len(line) < 250


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ("temperature: 3", "temperature"),
        ("timeout_s: 0", "timeout_s"),
        ("reasoning_effort: hgih", "Did you mean 'high'?"),
        ("extra_body: {max_tokens: 100000}", "max_output_tokens of the model"),
        ("extra_body: {generationConfig: {candidateCount: 8}}", "set for each call anew"),
        ("extra_body: {n: 5}", "'n'"),
        ("headers: {Host: example.org}", "cannot be stated"),
        ('headers: {x-a: "b\\r\\nevil: 1"}', "no header that can be sent"),
        ('headers: {"x a": "b"}', "no header that can be sent"),
    ],
)
def test_settings_of_calls_that_cannot_be(fields: str, says: str) -> None:
    said = mistakes(f"models:\n  a: {{provider: openai, {fields}}}\n")
    assert says in said
    assert "orchestrator.yaml:2:" in said


def test_a_header_that_refers_to_nothing_is_told() -> None:
    config = parse_config(
        "models: {a: {provider: vllm, base_url: 'http://127.0.0.1:9/v1', headers: {x-k: env:NOT_SET_HERE}}}"
    )
    with pytest.raises(ConfigError, match="NOT_SET_HERE"):
        fleet_from_config(config)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty or not a mapping"),
        ("- a\n- b\n", "not a mapping"),
        ("models: {}\n", "models"),
        ("quality: 0.5\n", "'models' is missing"),
        ("models: {a: {provider: calculator}}\nmodels: {}\n", "second time (first on line 1)"),
        ("models:\n\ta: 1\n", ":2:1:"),
        ("models: {a: {provider: calculator}, b: }{\n", ":1:"),
        ("models: {a: {provider: calculator}}\nquality: .nan\n", "quality"),
        ("models: {a: {provider: calculator}}\nbudget: {usd: .inf}\n", "budget.usd"),
        ("models: {a: {provider: calculator}}\nbudget: {usd: -1}\n", "budget.usd"),
        (
            "models: {a: {provider: calculator}}\nstrategy: best_of_m\n",
            ":2:11: unknown strategy 'best_of_m'. Did you mean 'best_of_n'?\n",
        ),
        ("models: {a: {provider: calculator}}\nquality: high\n", "2:10: quality: input should be a valid number"),
        ("models: {a: {provider: calculator}}\ntools: {x: {http: 'https://a', mehod: GET}}\n", "mean 'method'?"),
        ("models: {a: {provider: calculator}}\nfallbacks: [3]\nmax_tokens: -1\n", "\nMend these 2 mistakes"),
        ("models: {? [x, y] : 1}\n", "plain text"),
        ("models: {auto: {provider: calculator}}\n", ":1:10: a gateway's clients mean something else by 'auto'"),
        ("models: {'auto:cheap': {provider: calculator}}\n", "something else by 'auto:cheap'"),
        ("models: {'': {provider: calculator}}\n", "printable text of 1 to 256 characters"),
        ('models: {"a\\e[31m": {provider: calculator}}\n', "printable text"),
        ("models: {a: {provider: calculator}}\nbudget:\n", "`name: value`, not nothing"),
        ("models: {a: {provider: calculator}}\nonline: true\n", "`name: value`, not true"),
        ("models: {}\n", "models is empty: it needs at least 1"),
        ("a: &a [x]\nb: [" + ", ".join(["*a"] * 60_000) + "]\n", "too large"),
        ("[" * 2_000 + "]" * 2_000, ":1:66: nested deeper than 64 levels"),
        ("models: " + "{a: " * 70 + "1" + "}" * 70, "nested deeper than 64 levels"),
        ("[" * 70, ":1:66: nested deeper than 64 levels"),
        ("- " * 2_000 + "x", "nested deeper than 64 levels"),
    ],
)
def test_malformed_files(text: str, says: str) -> None:
    assert says in mistakes(text)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("NO", "NO"),
        ("on", "on"),
        ("012", 12),
        ("0o14", 12),
        ("1e3", 1000.0),
        ("true", True),
        ("~", None),
        ("'1'", "1"),
        ("1_000", "1_000"),
    ],
)
def test_scalars_follow_yaml_1_2_not_1_1(written: str, value: object) -> None:
    assert load_located(f"x: {written}").value == {"x": value}


@pytest.mark.parametrize("content", [b"\xff\xfe\x00models", b"models: \x00"])
def test_files_that_are_no_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        load_config(tmp_path / "c.yaml")


def test_missing_files_and_folders_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file. Check the path; orchestrator init writes one"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_keys_are_references(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret")
    (tmp_path / "key").write_text("from-file\n")
    assert secret("env:MY_KEY", None) == "s3cret"
    assert secret(f"file:{tmp_path / 'key'}", None) == "from-file"
    assert secret(None, "MY_KEY") == "s3cret"
    with pytest.raises(ConfigError, match="MISSING_KEY is not set"):
        secret("env:MISSING_KEY", None)
    with pytest.raises(ConfigError, match="never the key itself") as caught:
        secret("sk-123456", None)
    assert "sk-123456" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("{provider: simulated}", "needs `skill`"),
        ("{provider: compatible}", "needs `base_url`"),
        ("{provider: recorded}", "needs `folder`"),
        ("{provider: recorded, folder: /nowhere, task: gsm, model: x}", "not found"),
        ("{provider: groq}", "GROQ_API_KEY"),
    ],
)
def test_models_that_cannot_be_built(model: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=says):
        Orchestrator.from_config(parse_config(f"models: {{m: {model}}}\nmemory: null\n"))


def test_an_empty_fleet_and_an_unknown_strategy_are_refused() -> None:
    with pytest.raises(ConfigError, match="fleet is empty"):
        Orchestrator({})
    config = parse_config("models: {a: {provider: calculator}}\nmemory: null\n")
    with pytest.raises(ConfigError, match="unknown strategy 'magic'"):
        Orchestrator.from_config(config, strategy="magic")


def test_hosted_models_without_stated_prices_get_list_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("genai_prices")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    text = (
        "models:\n  listed: {provider: openai, model: gpt-4o-mini}\n  half: {provider: openai, model: gpt-4o-mini, "
        "input_usd_per_mtok: 9}\n"
        "  unheard: {provider: openai, model: no-such-model}\n  mine: {provider: openai, model: gpt-4o-mini, base_url: "
        "'http://127.0.0.1:9/v1'}\n"
    )
    profiles = {name: backend.profile for name, backend in fleet_from_config(parse_config(text)).backends.items()}
    listed = profiles["listed"]
    assert listed.input_usd_per_mtok is not None
    assert listed.output_usd_per_mtok is not None
    assert 0 < listed.input_usd_per_mtok < listed.output_usd_per_mtok < 10
    assert listed.cached_usd_per_mtok is not None
    assert listed.cached_usd_per_mtok < listed.input_usd_per_mtok
    assert (profiles["half"].input_usd_per_mtok, profiles["half"].output_usd_per_mtok) == (
        9,
        listed.output_usd_per_mtok,
    )
    assert profiles["unheard"].cost_usd(10) is None
    assert profiles["mine"].cost_usd(10) is None  # somebody else's server: its prices are not the provider's


def test_checks_of_every_answer_are_built_and_their_mistakes_told(tmp_path: Path) -> None:
    text = """
models:
  m: {provider: simulated, skill: 0.7, input_usd_per_mtok: 1, output_usd_per_mtok: 2}
checks:
  regex: "[0-9]"
  length: {max_words: 50}
  personal_data: true
  safety: {forbidden: [the secret harbour]}
  language: query
  judge: {model: m, criteria: {true: Is it true?}}
"""
    config = parse_config(text)
    fleet = fleet_from_config(config)
    assert config.checks is not None
    checks = checks_from_config(config.checks, fleet.backends)
    assert [check.name for check in checks] == ["regex", "length", "personal_data", "safety", "language", "judge"]
    assert checks[-1].price_usd("q", "a") > 0  # type: ignore[attr-defined]
    verdict = asyncio.run(checks[-1].verify("What is 2 + 2?", "4"))
    assert verdict.cost_usd > 0
    for wrong, says in (
        ("judge: {model: other}", "'other' is not in this fleet"),
        ("language: German", "two letters"),
        ("length: {min_words: 9, max_words: 3}", "no answer has"),
    ):
        broken = parse_config("models: {m: {provider: simulated, skill: 0.7}}\nchecks: {" + wrong + "}")
        assert broken.checks is not None
        with pytest.raises(ConfigError, match=says):
            checks_from_config(broken.checks, fleet.backends)
    for wrong, says in (
        ('regex: "("', r":2:17: not a regular expression"),
        ("tests: {tests: []}", r":2:17: name at least one test"),
        ("json: {shema: {type: string}}", r"json has no setting 'shema'. Did you mean 'schema'"),
        ("jsn: {type: string}", r"unknown field 'jsn'. Did you mean 'json'"),
        ("numeric: [4]", "input should be"),
        ("judge: small", r":2:17: checks.judge holds names with values, `name: value`, not 'small'"),
    ):
        with pytest.raises(ConfigError, match=says):
            parse_config("models: {m: {provider: simulated, skill: 0.7}}\nchecks: {" + wrong + "}")
    alone = parse_config(
        "models: {m: {provider: simulated, skill: 0.7}}\n"
        "checks: {length: 3, safety: true, personal_data: true, json: {type: string}}"
    )
    assert alone.checks is not None
    assert len(checks_from_config(alone.checks, fleet.backends)) == 4
    with pytest.raises(ConfigError, match=r"unknown field 'max_word'. Did you mean 'max_words'"):
        parse_config("models: {m: {provider: simulated, skill: 0.7}}\nchecks: {length: {max_word: 3}}")


def test_a_key_from_a_command_is_its_output_and_no_shell_runs(tmp_path: Path) -> None:
    assert secret(f"command:{sys.executable} -c 'print(41 + 1)'", None) == "42"
    marker = tmp_path / "touched"
    with pytest.raises(ConfigError, match="gave no key"):
        secret(f"command:{sys.executable} -c '' ; touch {marker}", None)
    assert not marker.exists()
    with pytest.raises(ConfigError, match="cannot be run"):
        secret("command:/no/such/program", None)
    with pytest.raises(ConfigError, match="never the key itself"):
        secret("sk-1234567890", None)


def test_replicas_and_a_base_url_exclude_each_other_and_pools_are_checked() -> None:
    both = "models:\n  m: {provider: vllm, base_url: 'http://a/v1', replicas: [{base_url: 'http://b/v1'}]}\n"
    with pytest.raises(ConfigError, match="exclude each other"):
        fleet_from_config(parse_config(both))
    with pytest.raises(ConfigError, match="Did you mean 'prefill'"):
        parse_config("models:\n  m: {provider: vllm, replicas: [{base_url: 'http://b/v1', pool: prefil}]}\n")
    with pytest.raises(ConfigError, match=r"openai\.azure\.com"):
        fleet_from_config(parse_config("models:\n  m: {provider: azure, key: 'env:PATH'}\n"))
    with pytest.raises(ConfigError, match="Did you mean 'anthropic'"):
        parse_config("models:\n  m: {provider: antropic}\n")


@pytest.mark.parametrize(
    ("line", "is_shown"),
    [
        ("{provider: openai, key: sk-abcdefgh, modle: x}", False),
        ("{provider: openai, key: 'sk-abc defgh', modle: x}", False),
        ("{provider: openai, headers: {authorization: Bearer-abcdefgh}, modle: x}", False),
        ('{provider: openai, "key": "sk-abcdefgh", modle: x}', False),
        ("{provider: openai, key: env:OPENAI_API_KEY, modle: x}", True),
        ("{provider: openai, key: 'file:openai.key', modle: x}", True),
        ("{provider: openai, max_output_tokens: 4096, modle: x}", True),
    ],
)
def test_a_key_in_the_file_is_not_shown_in_its_messages(line: str, is_shown: bool) -> None:
    told = mistakes(f"models:\n  a: {line}\n")
    assert "unknown field 'modle'" in told
    assert (line in told) is is_shown
    assert "abcdefgh" not in told
    assert "defgh" not in told
    shown, caret = told.splitlines()[-3:-1]
    assert shown[caret.index("^") :].startswith("modle")


def test_a_mistake_in_one_of_several_forms_is_told_once_and_as_it_was_meant() -> None:
    told = mistakes("models: {a: {provider: calculator}}\nquality: {max_los: 0.1, vs: a}\n")
    assert told.count("quality") == 1  # in the line that is shown
    assert "unknown field 'max_los'. Did you mean 'max_loss'?" in told
    assert "missing" not in told
    assert "PromiseConfig" not in told


@pytest.mark.parametrize(
    ("model", "able"),
    [
        ("{provider: llamacpp, model: x}", {"json"}),
        (
            "{provider: vllm, model: x, replicas: [{base_url: 'http://a:8000/v1'}, {base_url: 'http://b:8000/v1'}]}",
            {"json"},
        ),
        ("{provider: openai, model: gpt-5-mini}", {"json", "tools", "vision"}),
        ("{provider: openai, model: gpt-5-mini, base_url: 'http://a:8000/v1'}", set()),
        ("{provider: compatible, model: x, base_url: 'http://a:8000/v1'}", set()),
        ("{provider: compatible, model: x, base_url: 'http://a:8000/v1', capabilities: [json]}", {"json"}),
        ("{provider: openai, model: gpt-5-mini, capabilities: []}", set()),
    ],
)
def test_what_is_known_of_a_model_holds_in_a_file_as_in_python(
    monkeypatch: pytest.MonkeyPatch, model: str, able: set[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    profile = fleet_from_config(parse_config(f"models:\n  a: {model}\n")).backends["a"].profile
    assert profile.capabilities - {"n", "logprobs"} == able


def test_the_placeholder_of_init_is_no_model(tmp_path: Path) -> None:
    from orchestrator.fleet.build import fleet_from_config

    path = tmp_path / "c.yaml"
    path.write_text("models: {ollama: {provider: ollama, model: MODEL}}\n")
    with pytest.raises(ConfigError, match=r"models\.ollama: MODEL stands for a model's name"):
        fleet_from_config(load_config(path))
