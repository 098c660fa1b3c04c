"""The dashboard in a real browser (Debian's chromium, driven by playwright), over a gateway with simulated traffic.

Screenshots of every page are left in build/screenshots.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends.testing.fleet_server import FleetApp, running_server
from orchestrator.demo.dashboard import QUESTIONS, FilledGateway, filled_gateway
from orchestrator.demo.problems import generate_problems
from orchestrator.demo.simulated_fleet import simulated_fleet
from orchestrator.gateway.http.connection_limits import GuardedProtocol
from orchestrator.storage.account_types import NewKey
from tests.support.gateway import served

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
SHOTS = Path("build/screenshots")
PAGES = {
    "operator": ("", "live", "traces", "quality", "router", "models", "pipelines", "keys", "distillation", "audit"),
    "member": ("", "playground", "memory", "keys"),
}


@dataclass
class Browser:
    """One browser over the filled gateway."""

    url: str
    filled: FilledGateway
    driver: Any
    asked: str
    complaints: list[str] = field(default_factory=list)

    @contextmanager
    def page(self, role: str | None = "operator", **options: Any) -> Iterator[Any]:
        """A page in a profile of its own, signed in; afterwards nothing may have gone wrong in it."""
        self.complaints.clear()
        context = self.driver.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(15_000)
        page = context.new_page()
        elsewhere: list[str] = []
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda r: elsewhere.append(r.url) if not r.url.startswith((self.url, "data:")) else None)
        if role is not None:
            page.goto(f"{self.url}/ui/sign-in")
            page.fill("#key", self.key(role))
            page.press("#key", "Enter")
            page.wait_for_url(f"{self.url}/ui/")
        yield page
        context.close()
        assert elsewhere == []
        assert self.complaints == []

    def key(self, role: str) -> str:
        return self.filled.operator_key if role == "operator" else self.filled.member_key


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    problems = generate_problems(QUESTIONS * 2, seed=11)
    with running_server(FleetApp(simulated_fleet(problems))) as fleet:
        filled = filled_gateway(tmp_path_factory.mktemp("filled"), fleet, problems)
        with (
            served(filled.gateway, lifespan="on", http=GuardedProtocol) as url,
            playwright.sync_playwright() as player,
        ):
            driver = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            yield Browser(url, filled, driver, problems[QUESTIONS].question)
            driver.close()


def test_signing_in_and_roles(browser: Browser) -> None:
    with browser.page(None) as page:
        page.goto(f"{browser.url}/")
        assert page.url.startswith(f"{browser.url}/ui/sign-in")
        page.fill("#key", browser.filled.member_key)
        page.click("main button")
        page.wait_for_url(f"{browser.url}/ui/")
        assert page.inner_text("header .tag") == "member"
        shown = page.locator("nav.pages a").all_inner_texts()
        assert "Playground" in shown
        assert "Audit log" not in shown
        page.click("text=Sign out")
        page.wait_for_url(f"{browser.url}/ui/sign-in")
    with browser.page("operator") as page:
        assert "Audit log" in page.locator("nav.pages a").all_inner_texts()


def test_everything_says_that_it_is_simulated(browser: Browser) -> None:
    with browser.page() as page:
        assert page.inner_text(".simulated") == "simulated fleet"


def test_from_a_cost_spike_to_its_trace(browser: Browser) -> None:
    with browser.page() as page:
        bars = page.locator('svg[aria-label="Money spent each day by model"] a')
        labels = [bars.nth(n).get_attribute("aria-label") or "" for n in range(bars.count())]
        spent = [float(label.rpartition("$")[2]) for label in labels]
        bars.nth(spent.index(max(spent))).click()
        page.wait_for_selector("h1:has-text('Traces')")
        assert "order=cost" in page.url
        column = 1 + page.locator("thead th").all_inner_texts().index("Cost")
        cells = page.locator(f"tbody tr td:nth-child({column})").all_inner_texts()
        costs = [float(text.lstrip("$")) for text in cells]
        assert costs == sorted(costs, reverse=True)
        page.locator("tbody tr a").first.click()
        page.wait_for_selector("h1:has-text('Trace')")
        for heading in ("Route", "Search", "Steps", "Question"):
            assert page.locator(f"h2:text-is('{heading}')").count() == 1
        page.click("text=Replay the search")
        page.wait_for_selector("text=decides the same at every step")


def test_two_traces_side_by_side(browser: Browser) -> None:
    with browser.page() as page:
        page.goto(f"{browser.url}/ui/traces?escalated=1")
        ids = [page.locator("tbody tr a").nth(n).get_attribute("href").rpartition("/")[2] for n in range(2)]
        page.goto(f"{browser.url}/ui/traces/{ids[0]}")
        page.fill("[name=b]", ids[1])
        page.click("text=Compare")
        page.wait_for_selector("h1:has-text('side by side')")
        assert page.locator("section[aria-label^='Trace ']").count() == 2
        page.screenshot(path=SHOTS / "compare.png", full_page=True)


def test_the_playground_shows_the_search_as_it_thinks(browser: Browser) -> None:
    with browser.page("member") as page:
        page.goto(f"{browser.url}/ui/playground")
        page.fill("#question", browser.asked)
        page.select_option("[data-which=b] [name=model]", "sim-small")
        page.click("text=Ask both")
        for which in "ab":
            page.wait_for_selector(f"[data-which={which}] .told a")
        assert "drafted" in page.inner_text("[data-which=a] .events")
        assert "[simulated]" in page.inner_text("[data-which=a] .stream")
        assert "sim-small" in page.inner_text("[data-which=b] .told")
        assert '"model": "sim-small"' in page.text_content("[data-which=b] .python").replace('model="', '"model": "')
        page.click("text=Keep this comparison")
        page.wait_for_selector("text=The comparison is kept.")
        assert "[simulated]" in page.inner_text("[data-which=a] .stream")
        page.screenshot(path=SHOTS / "playground-asked.png", full_page=True)
        page.click("button:text-is('Delete')")
        page.wait_for_selector("text=The comparison is deleted.")


def test_an_answer_that_is_refused_says_why(browser: Browser) -> None:
    with browser.page("member") as page:
        page.goto(f"{browser.url}/ui/playground")
        page.fill("#question", "Anything")
        page.check("#only")
        page.fill("[data-which=a] [name=max_cost_usd]", "0")
        page.click("text=Ask both")
        page.wait_for_selector("[data-which=a] .told:has-text('budget')")
    browser.complaints.clear()  # the browser notes a refused request


def test_forgetting_gives_a_receipt(browser: Browser) -> None:
    with browser.page("member") as page:
        page.goto(f"{browser.url}/ui/memory")
        page.fill("[name=q]", "Who keeps the lighthouse?")
        page.click("main form >> text=Show")
        page.wait_for_selector("text=Odalys")
        page.click("tr:has-text('Odalys') a")
        page.wait_for_selector("text=History")
        assert "Silas" in page.inner_text("main ol")
        page.once("dialog", lambda dialog: dialog.dismiss())
        page.click("text=Forget this record")
        assert page.locator("text=History").count() == 1
        page.once("dialog", lambda dialog: dialog.accept())
        page.click("text=Forget this record")
        page.wait_for_selector("h2:text-is('Receipt')")
        page.goto(f"{browser.url}/ui/memory")
        assert "Odalys" not in page.inner_text("main")


def test_a_key_is_rotated_and_shown_once(browser: Browser) -> None:
    accounts = browser.filled.gateway.services.accounts
    key, old = accounts.add_key(NewKey("rotated one", accounts.orgs()[0].id))
    with browser.page() as page:
        page.goto(f"{browser.url}/ui/keys")
        row = page.locator(f"tr:has-text('{key.name}')")
        row.locator("summary").click()
        row.locator("button:text-is('Rotate')").click()
        secret = page.inner_text("#secret")
        assert secret.startswith("orc-")
        assert secret != old
        page.goto(f"{browser.url}/ui/keys")
        assert secret not in page.content()
    with browser.page(None) as page:
        page.goto(f"{browser.url}/ui/sign-in")
        page.fill("#key", secret)
        page.press("#key", "Enter")
        page.wait_for_url(f"{browser.url}/ui/")


def test_the_threshold_slider_replays_traffic(browser: Browser) -> None:
    with browser.page() as page:
        page.goto(f"{browser.url}/ui/router")
        now = page.inner_text("[data-of=usd]")
        assert page.inner_text("[data-change=usd]") == "as now"
        page.focus("#threshold")
        page.press("#threshold", "Home")
        assert page.inner_text("#stated") == "0.50"
        assert float(page.inner_text("[data-of=usd]").lstrip("$")) < float(now.lstrip("$"))
        assert page.inner_text("[data-change=usd]").startswith("-")
        assert "sim-small" in page.inner_text("#shares")


def test_requests_appear_as_they_end(browser: Browser) -> None:
    import httpx

    with browser.page() as page:
        page.goto(f"{browser.url}/ui/live")
        page.wait_for_selector("text=up to date")
        answer = httpx.post(
            f"{browser.url}/v1/chat/completions",
            json={"model": "auto", "messages": [{"role": "user", "content": browser.asked}]},
            headers={"authorization": f"Bearer {browser.filled.member_key}"},
            trust_env=False,
            timeout=30,
        )
        page.wait_for_selector(f"a[href$='{answer.headers['x-orchestrator-trace-id']}']")


def test_the_keyboard_is_enough(browser: Browser) -> None:
    with browser.page(None) as page:
        page.goto(f"{browser.url}/ui/sign-in")
        page.keyboard.type(browser.filled.operator_key)  # the field has the focus
        page.keyboard.press("Enter")
        page.wait_for_url(f"{browser.url}/ui/")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        for _ in range(40):
            page.keyboard.press("Tab")
            focused = page.evaluate("document.activeElement.getAttribute('href') || ''")
            if "order=cost" in focused:
                break
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
        page.keyboard.press("Enter")
        page.wait_for_selector("h1:has-text('Traces')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("role", ["operator", "member"])
def test_pages_are_accessible_and_fit(browser: Browser, role: str, width: int, scheme: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    with browser.page(role, color_scheme=scheme, viewport={"width": width, "height": 900}) as page:
        paths = [f"/ui/{name}" for name in PAGES[role]]
        page.goto(f"{browser.url}/ui/traces?escalated=1")
        paths += [page.locator("tbody tr a").first.get_attribute("href"), "/docs", "/ui/memory?q=lighthouse"]
        for path in paths:
            response = page.goto(browser.url + path)
            if response.status == 403 and role == "operator":
                browser.complaints.clear()  # tenants' memory is not the operator's
            found = axe.Axe().run(page).response["violations"]
            assert [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found] == [], path
            over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert over == 0, path
            shown = re.sub(r"[0-9a-f]{32}", "one", path.removeprefix("/ui/"))
            name = re.sub(r"[/?=]+", "-", shown).strip("-") or "overview"
            page.screenshot(path=SHOTS / f"{name}-{role}-{width}-{scheme}.png", full_page=True)
