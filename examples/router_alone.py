"""The router package by itself: which model will do, why not the others, and how outcomes sharpen it."""

from orchestrator.router import Constraints, ModelProfile, Outcome, Router

FLEET = [
    ModelProfile("small", input_usd_per_mtok=0.05, output_usd_per_mtok=0.2, skill=0.72),
    ModelProfile("large", input_usd_per_mtok=3.0, output_usd_per_mtok=15.0, skill=0.94),
    ModelProfile(
        "mine", input_usd_per_mtok=0.0, output_usd_per_mtok=0.0, like="gpt-4o-mini-2024-07-18", context_tokens=4_096
    ),
]
QUESTION = "A crate holds 12 lamps and 3 crates fit a cart. How many lamps do 5 carts hold?"

router = Router()
route = router.route(QUESTION, FLEET, quality=0.9, constraints=Constraints(max_latency_s=10))
print(route.reason)
for option in route.options:
    print(
        f"  {option.model:6} P(correct) {option.p_success:.2f}  {option.cost_usd:.6f} USD  "
        f"{option.rejected or 'chosen'}"
    )

router.learn(
    [Outcome(f"{QUESTION} ({n})", "mine", 0.0) for n in range(20)], {profile.name: profile for profile in FLEET}
)
print("after 20 failures of `mine`:", router.route(QUESTION, FLEET, quality=0.9).reason)
