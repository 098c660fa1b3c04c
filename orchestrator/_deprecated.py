"""Old import paths: they work for one release, with a `DeprecationWarning` that names the new path.

Registered when `orchestrator` is imported, behind everything else that finds modules, so that a user's own `memory.py`
always wins.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import CodeType, ModuleType
from typing import Any

REMOVED_IN = "0.3"
FACES = ("orchestrator", *(f"orchestrator.{each}" for each in ("pipeline", "memory", "router", "verifiers", "search")))
PACKAGES = ("router", "memory", "verifiers")

# Old module -> new module. Modules of the three packages are written with the name that they had: `memory.coarse`.
MODULES: dict[str, str] = {
    "memory.coarse": "orchestrator.memory.retrieval.approximate_index",
    "memory.distill": "orchestrator.memory.training.distill",
    "memory.documents": "orchestrator.memory.ingest.documents",
    "memory.duplicates": "orchestrator.memory.text.duplicates",
    "memory.encoder": "orchestrator.memory.encoders.encoder",
    "memory.endpoint": "orchestrator.memory.encoders.endpoint",
    "memory.facts": "orchestrator.memory.text.facts",
    "memory.group_commit": "orchestrator.memory.storage.group_commit",
    "memory.growing": "orchestrator.memory.arrays",
    "memory.jsonl": "orchestrator.memory.ingest.jsonl",
    "memory.packing": "orchestrator.memory.retrieval.packing",
    "memory.postgres": "orchestrator.memory.storage.postgres",
    "memory.ranking": "orchestrator.memory.retrieval.ranking",
    "memory.reencoding": "orchestrator.memory.storage.reencoding",
    "memory.relevance": "orchestrator.memory.retrieval.relevance",
    "memory.schema": "orchestrator.memory.storage.schema",
    "memory.scope_index": "orchestrator.memory.retrieval.scope_index",
    "memory.sealing": "orchestrator.memory.storage.encryption",
    "memory.snapshot": "orchestrator.memory.storage.snapshot",
    "memory.sql_store": "orchestrator.memory.storage.sql_store",
    "memory.sqlite_store": "orchestrator.memory.storage.sqlite",
    "memory.store": "orchestrator.memory.storage.store",
    "memory.supported": "orchestrator.memory.text.support",
    "memory.times": "orchestrator.memory.text.times",
    "memory.together": "orchestrator.memory.coalescing",
    "memory.traits": "orchestrator.memory.text.traits",
    "memory.transactions": "orchestrator.memory.storage.transactions",
    "memory.tune": "orchestrator.memory.training.tune",
    "memory.untrusted": "orchestrator.memory.text.injection_marks",
    "memory.wordpiece": "orchestrator.memory.encoders.wordpiece",
    "memory.words": "orchestrator.memory.text.words",
    "orchestrator.addresses": "orchestrator.providers.addresses",
    "orchestrator.backends.answer_json": "orchestrator.backends.http.answer_json",
    "orchestrator.backends.arithmetic": "orchestrator.verifiers.answers.arithmetic",
    "orchestrator.backends.auth": "orchestrator.providers.auth",
    "orchestrator.backends.billing": "orchestrator.backends.metering",
    "orchestrator.backends.breaker": "orchestrator.backends.http.circuit_breaker",
    "orchestrator.backends.cached_contents": "orchestrator.backends.http.gemini_cache",
    "orchestrator.backends.caching": "orchestrator.backends.http.prefix_cache",
    "orchestrator.backends.calculator": "orchestrator.backends.local.calculator",
    "orchestrator.backends.concurrency": "orchestrator.backends.http.concurrency_limit",
    "orchestrator.backends.dates": "orchestrator.backends.local.dates",
    "orchestrator.backends.extractive": "orchestrator.backends.local.extractive",
    "orchestrator.backends.faults": "orchestrator.backends.provider_errors",
    "orchestrator.backends.fleet_server": "orchestrator.backends.testing.fleet_server",
    "orchestrator.backends.measured": "orchestrator.fleet.measured_profiles",
    "orchestrator.backends.prices": "orchestrator.providers.prices",
    "orchestrator.backends.recorded": "orchestrator.backends.testing.recorded",
    "orchestrator.backends.replicas": "orchestrator.backends.http.replicas",
    "orchestrator.backends.resilience": "orchestrator.backends.http.retry",
    "orchestrator.backends.servers": "orchestrator.fleet.discovery",
    "orchestrator.backends.signatures": "orchestrator.backends.dialects.signatures",
    "orchestrator.backends.simulated": "orchestrator.backends.testing.simulated",
    "orchestrator.backends.sse": "orchestrator.backends.http.sse",
    "orchestrator.backends.timings": "orchestrator.backends.http.timings",
    "orchestrator.backends.transports": "orchestrator.backends.http.transport_choice",
    "orchestrator.backends.units": "orchestrator.backends.local.units",
    "orchestrator.backends.upstream": "orchestrator.backends.http.upstream",
    "orchestrator.backends.wire": "orchestrator.backends.http.transport",
    "orchestrator.batches": "orchestrator.backends.batches",
    "orchestrator.blocking": "orchestrator.engine.sync",
    "orchestrator.certificates": "orchestrator.learning.certificates",
    "orchestrator.checks": "orchestrator.verification.from_query",
    "orchestrator.conclusion": "orchestrator.engine.answer",
    "orchestrator.credentials": "orchestrator.providers.credentials",
    "orchestrator.decisions.decider": "orchestrator.decisions.base",
    "orchestrator.decisions.deciding": "orchestrator.decisions.service",
    "orchestrator.decisions.posting": "orchestrator.decisions.http",
    "orchestrator.decisions.tokens": "orchestrator.decisions.token_logprobs",
    "orchestrator.format": "orchestrator.budget.format",
    "orchestrator.gateway.admin": "orchestrator.gateway.api.admin",
    "orchestrator.gateway.anthropic": "orchestrator.gateway.api.anthropic",
    "orchestrator.gateway.asked": "orchestrator.gateway.chat.request",
    "orchestrator.gateway.auxiliary": "orchestrator.gateway.api.auxiliary",
    "orchestrator.gateway.batches": "orchestrator.gateway.api.batches",
    "orchestrator.gateway.beginning": "orchestrator.gateway.chat.stream_start",
    "orchestrator.gateway.cache": "orchestrator.gateway.chat.response_cache",
    "orchestrator.gateway.completions": "orchestrator.gateway.chat.completions",
    "orchestrator.gateway.decisions": "orchestrator.gateway.api.decisions",
    "orchestrator.gateway.embedding": "orchestrator.gateway.api.embeddings",
    "orchestrator.gateway.endpoint": "orchestrator.gateway.api.endpoint",
    "orchestrator.gateway.endpoints": "orchestrator.gateway.api.endpoints",
    "orchestrator.gateway.entry": "orchestrator.gateway.http.canonical_request",
    "orchestrator.gateway.facts": "orchestrator.gateway.chat.provenance",
    "orchestrator.gateway.forms": "orchestrator.gateway.http.multipart",
    "orchestrator.gateway.influence": "orchestrator.gateway.accounts.grade_limits",
    "orchestrator.gateway.keys": "orchestrator.gateway.accounts.principals",
    "orchestrator.gateway.limits": "orchestrator.gateway.accounts.quota_leases",
    "orchestrator.gateway.memories": "orchestrator.gateway.api.memories",
    "orchestrator.gateway.message_blocks": "orchestrator.gateway.api.message_blocks",
    "orchestrator.gateway.metrics": "orchestrator.gateway.observability.metrics",
    "orchestrator.gateway.native": "orchestrator.gateway.api.native",
    "orchestrator.gateway.nulls": "orchestrator.gateway.api.nulls",
    "orchestrator.gateway.openapi": "orchestrator.gateway.api.openapi",
    "orchestrator.gateway.options": "orchestrator.gateway.chat.options",
    "orchestrator.gateway.outside": "orchestrator.gateway.http.redaction",
    "orchestrator.gateway.passing": "orchestrator.gateway.chat.passthrough",
    "orchestrator.gateway.pieces": "orchestrator.gateway.chat.synthetic",
    "orchestrator.gateway.pipeline_runs": "orchestrator.gateway.api.pipelines",
    "orchestrator.gateway.pipelines": "orchestrator.gateway.chat.pipeline_models",
    "orchestrator.gateway.problems": "orchestrator.gateway.http.error_mapping",
    "orchestrator.gateway.protocol": "orchestrator.gateway.http.connection_limits",
    "orchestrator.gateway.ranking": "orchestrator.gateway.api.ranking",
    "orchestrator.gateway.recorder": "orchestrator.gateway.observability.recorder",
    "orchestrator.gateway.response_items": "orchestrator.gateway.api.response_items",
    "orchestrator.gateway.responses": "orchestrator.gateway.api.responses",
    "orchestrator.gateway.shares": "orchestrator.gateway.accounts.shares",
    "orchestrator.gateway.sse": "orchestrator.gateway.http.sse",
    "orchestrator.gateway.tab": "orchestrator.gateway.accounts.request_account",
    "orchestrator.gateway.telemetry": "orchestrator.gateway.observability.telemetry",
    "orchestrator.gateway.text_completions": "orchestrator.gateway.api.text_completions",
    "orchestrator.gateway.tool_calls": "orchestrator.gateway.http.tool_calls",
    "orchestrator.grading": "orchestrator.offline.grading",
    "orchestrator.judging": "orchestrator.verification.from_config",
    "orchestrator.kept_rows": "orchestrator.storage.json_rows",
    "orchestrator.located_yaml": "orchestrator.config.yaml_loader",
    "orchestrator.memory.coarse": "orchestrator.memory.retrieval.approximate_index",
    "orchestrator.memory.distill": "orchestrator.memory.training.distill",
    "orchestrator.memory.documents": "orchestrator.memory.ingest.documents",
    "orchestrator.memory.duplicates": "orchestrator.memory.text.duplicates",
    "orchestrator.memory.encoder": "orchestrator.memory.encoders.encoder",
    "orchestrator.memory.endpoint": "orchestrator.memory.encoders.endpoint",
    "orchestrator.memory.facts": "orchestrator.memory.text.facts",
    "orchestrator.memory.group_commit": "orchestrator.memory.storage.group_commit",
    "orchestrator.memory.growing": "orchestrator.memory.arrays",
    "orchestrator.memory.jsonl": "orchestrator.memory.ingest.jsonl",
    "orchestrator.memory.packing": "orchestrator.memory.retrieval.packing",
    "orchestrator.memory.postgres": "orchestrator.memory.storage.postgres",
    "orchestrator.memory.ranking": "orchestrator.memory.retrieval.ranking",
    "orchestrator.memory.reencoding": "orchestrator.memory.storage.reencoding",
    "orchestrator.memory.relevance": "orchestrator.memory.retrieval.relevance",
    "orchestrator.memory.schema": "orchestrator.memory.storage.schema",
    "orchestrator.memory.scope_index": "orchestrator.memory.retrieval.scope_index",
    "orchestrator.memory.sealing": "orchestrator.memory.storage.encryption",
    "orchestrator.memory.snapshot": "orchestrator.memory.storage.snapshot",
    "orchestrator.memory.sql_store": "orchestrator.memory.storage.sql_store",
    "orchestrator.memory.sqlite_store": "orchestrator.memory.storage.sqlite",
    "orchestrator.memory.store": "orchestrator.memory.storage.store",
    "orchestrator.memory.supported": "orchestrator.memory.text.support",
    "orchestrator.memory.times": "orchestrator.memory.text.times",
    "orchestrator.memory.together": "orchestrator.memory.coalescing",
    "orchestrator.memory.traits": "orchestrator.memory.text.traits",
    "orchestrator.memory.transactions": "orchestrator.memory.storage.transactions",
    "orchestrator.memory.tune": "orchestrator.memory.training.tune",
    "orchestrator.memory.untrusted": "orchestrator.memory.text.injection_marks",
    "orchestrator.memory.wordpiece": "orchestrator.memory.encoders.wordpiece",
    "orchestrator.memory.words": "orchestrator.memory.text.words",
    "orchestrator.names": "orchestrator.config.names",
    "orchestrator.online": "orchestrator.learning.online",
    "orchestrator.pipeline.answers": "orchestrator.pipeline.steps.answer_types",
    "orchestrator.pipeline.asking": "orchestrator.pipeline.steps.asking",
    "orchestrator.pipeline.at": "orchestrator.pipeline.loading.check_context",
    "orchestrator.pipeline.checking": "orchestrator.pipeline.checks.verifiers",
    "orchestrator.pipeline.choosing": "orchestrator.pipeline.steps.labelling",
    "orchestrator.pipeline.codes": "orchestrator.pipeline.language.codes",
    "orchestrator.pipeline.diagnostics": "orchestrator.pipeline.language.diagnostics",
    "orchestrator.pipeline.diagram": "orchestrator.pipeline.analysis.diagram",
    "orchestrator.pipeline.document": "orchestrator.pipeline.language.document",
    "orchestrator.pipeline.evaluation": "orchestrator.pipeline.expressions.evaluation",
    "orchestrator.pipeline.fields": "orchestrator.pipeline.language.fields",
    "orchestrator.pipeline.forecast": "orchestrator.pipeline.analysis.forecast",
    "orchestrator.pipeline.functions": "orchestrator.pipeline.expressions.functions",
    "orchestrator.pipeline.graph": "orchestrator.pipeline.compiled",
    "orchestrator.pipeline.host": "orchestrator.pipeline.execution.runtime",
    "orchestrator.pipeline.inference": "orchestrator.pipeline.expressions.type_inference",
    "orchestrator.pipeline.inputs": "orchestrator.pipeline.language.inputs",
    "orchestrator.pipeline.journal": "orchestrator.pipeline.execution.journal",
    "orchestrator.pipeline.keeping": "orchestrator.pipeline.execution.durable",
    "orchestrator.pipeline.prompts": "orchestrator.pipeline.language.prompts",
    "orchestrator.pipeline.reading": "orchestrator.pipeline.loading.references",
    "orchestrator.pipeline.result": "orchestrator.pipeline.execution.result",
    "orchestrator.pipeline.run": "orchestrator.pipeline.execution.scheduler",
    "orchestrator.pipeline.running": "orchestrator.pipeline.execution.step_context",
    "orchestrator.pipeline.schema": "orchestrator.pipeline.analysis.json_schema",
    "orchestrator.pipeline.scope": "orchestrator.pipeline.expressions.scope",
    "orchestrator.pipeline.sources": "orchestrator.pipeline.language.sources",
    "orchestrator.pipeline.stand_ins": "orchestrator.pipeline.testing.stand_ins",
    "orchestrator.pipeline.step": "orchestrator.pipeline.language.step",
    "orchestrator.pipeline.syntax": "orchestrator.pipeline.expressions.grammar",
    "orchestrator.pipeline.templates": "orchestrator.pipeline.expressions.templates",
    "orchestrator.pipeline.validation": "orchestrator.pipeline.language.validation",
    "orchestrator.pipeline.values": "orchestrator.pipeline.language.value_compiler",
    "orchestrator.pipeline.valuetypes": "orchestrator.pipeline.expressions.types",
    "orchestrator.pipeline.verbs": "orchestrator.pipeline.loading.step_registry",
    "orchestrator.planning": "orchestrator.engine.plan",
    "orchestrator.probing": "orchestrator.offline.probe",
    "orchestrator.provider": "orchestrator.providers.provider",
    "orchestrator.recollection": "orchestrator.fleet.memory",
    "orchestrator.rehearsal": "orchestrator.offline.rehearsal",
    "orchestrator.router.audit": "orchestrator.router.guarantee.monitor",
    "orchestrator.router.conversation": "orchestrator.router.features.conversation",
    "orchestrator.router.evaluate": "orchestrator.router.learning.evaluate",
    "orchestrator.router.explore": "orchestrator.router.learning.explore",
    "orchestrator.router.learner": "orchestrator.router.learning.learner",
    "orchestrator.router.log": "orchestrator.router.learning.outcomes",
    "orchestrator.router.replay": "orchestrator.router.learning.replay",
    "orchestrator.router.report": "orchestrator.router.learning.report",
    "orchestrator.router.space": "orchestrator.router.features.feature_space",
    "orchestrator.router.train": "orchestrator.router.learning.train",
    "orchestrator.search.adaptive": "orchestrator.search.strategies.adaptive",
    "orchestrator.search.calibrate": "orchestrator.search.calibration.calibrate",
    "orchestrator.search.comparing": "orchestrator.search.strategies.judged_pairs",
    "orchestrator.search.criticism": "orchestrator.search.strategies.critique",
    "orchestrator.search.judging": "orchestrator.search.graded_evidence",
    "orchestrator.search.panel": "orchestrator.search.strategies.panel",
    "orchestrator.search.plugins": "orchestrator.search.strategies.plugins",
    "orchestrator.search.policies": "orchestrator.search.calibration.policies",
    "orchestrator.search.policy_choice": "orchestrator.search.calibration.policy_choice",
    "orchestrator.search.policy_replay": "orchestrator.search.calibration.policy_replay",
    "orchestrator.search.revising": "orchestrator.search.revisions",
    "orchestrator.search.sampling": "orchestrator.search.strategies.sampling",
    "orchestrator.search.steps": "orchestrator.search.strategies.moves",
    "orchestrator.search.tree": "orchestrator.search.strategies.tree",
    "orchestrator.search.vote_fitting": "orchestrator.search.calibration.vote_fitting",
    "orchestrator.shadow": "orchestrator.learning.shadow_audits",
    "orchestrator.storage.decisions": "orchestrator.storage.decision_log",
    "orchestrator.storage.documents": "orchestrator.storage.files",
    "orchestrator.streaming": "orchestrator.engine.streaming",
    "orchestrator.together": "orchestrator.engine.assessment_batcher",
    "orchestrator.trimming": "orchestrator.engine.trimming",
    "orchestrator.verifiers.behaviour": "orchestrator.verifiers.code.behaviour",
    "orchestrator.verifiers.bounded_schema": "orchestrator.verifiers.form.bounded_schema",
    "orchestrator.verifiers.bounded_schema_helper": "orchestrator.verifiers.form.bounded_schema_worker",
    "orchestrator.verifiers.expressions": "orchestrator.verifiers.code.expressions",
    "orchestrator.verifiers.judge": "orchestrator.verifiers.models.judge",
    "orchestrator.verifiers.language": "orchestrator.verifiers.form.language",
    "orchestrator.verifiers.mathematics_helper": "orchestrator.verifiers.mathematics_worker",
    "orchestrator.verifiers.personal": "orchestrator.verifiers.form.personal_data",
    "orchestrator.verifiers.programs": "orchestrator.verifiers.code.programs",
    "orchestrator.verifiers.reward": "orchestrator.verifiers.models.reward",
    "orchestrator.verifiers.safety": "orchestrator.verifiers.form.safety",
    "orchestrator.verifiers.schema": "orchestrator.verifiers.form.schema",
    "router.audit": "orchestrator.router.guarantee.monitor",
    "router.conversation": "orchestrator.router.features.conversation",
    "router.evaluate": "orchestrator.router.learning.evaluate",
    "router.explore": "orchestrator.router.learning.explore",
    "router.features": "orchestrator.router.features",
    "router.guarantee": "orchestrator.router.guarantee",
    "router.learner": "orchestrator.router.learning.learner",
    "router.log": "orchestrator.router.learning.outcomes",
    "router.replay": "orchestrator.router.learning.replay",
    "router.report": "orchestrator.router.learning.report",
    "router.space": "orchestrator.router.features.feature_space",
    "router.train": "orchestrator.router.learning.train",
    "verifiers.behaviour": "orchestrator.verifiers.code.behaviour",
    "verifiers.bounded_schema": "orchestrator.verifiers.form.bounded_schema",
    "verifiers.bounded_schema_helper": "orchestrator.verifiers.form.bounded_schema_worker",
    "verifiers.code": "orchestrator.verifiers.code",
    "verifiers.expressions": "orchestrator.verifiers.code.expressions",
    "verifiers.form": "orchestrator.verifiers.form",
    "verifiers.judge": "orchestrator.verifiers.models.judge",
    "verifiers.language": "orchestrator.verifiers.form.language",
    "verifiers.mathematics_helper": "orchestrator.verifiers.mathematics_worker",
    "verifiers.personal": "orchestrator.verifiers.form.personal_data",
    "verifiers.programs": "orchestrator.verifiers.code.programs",
    "verifiers.reward": "orchestrator.verifiers.models.reward",
    "verifiers.safety": "orchestrator.verifiers.form.safety",
    "verifiers.schema": "orchestrator.verifiers.form.schema",
}

# Old module -> old name -> "new module:new name", for names that did not keep both their name and their file.
NAMES: dict[str, dict[str, str]] = {
    "memory.coarse": {
        "LEAST_SHARE": "orchestrator.memory.retrieval.approximate_index:MIN_SHARE",
        "MOST_LISTS": "orchestrator.memory.retrieval.approximate_index:MAX_LISTS",
        "MOST_SHARE": "orchestrator.memory.retrieval.approximate_index:MAX_SHARE",
    },
    "memory.documents": {
        "Block": "orchestrator.memory.ingest.documents:DocumentBlock",
    },
    "memory.growing": {
        "Growing": "orchestrator.memory.arrays:GrowableArray",
    },
    "memory.packing": {
        "MOST_CHARS_PER_TOKEN": "orchestrator.memory.retrieval.packing:MAX_CHARS_PER_TOKEN",
        "estimate_tokens": "orchestrator.tokens.estimate:quick_tokens",
    },
    "memory.relevance": {
        "MOST_LINKED": "orchestrator.memory.retrieval.relevance:MAX_LINKED",
    },
    "memory.scope_index": {
        "MOST_TELLING": "orchestrator.memory.retrieval.scope_index:MAX_TELLING",
    },
    "memory.sqlite_store": {
        "MOST_FREED": "orchestrator.memory.storage.sqlite:MAX_FREED",
    },
    "memory.supported": {
        "LEAST_SHARE": "orchestrator.memory.text.support:MIN_SHARE",
    },
    "memory.times": {
        "Span": "orchestrator.memory.text.times:TimeSpan",
    },
    "memory.together": {
        "Together": "orchestrator.memory.coalescing:Coalescer",
    },
    "orchestrator.backends.base": {
        "DEFAULT_MAX_TOKENS": "orchestrator.config.defaults:MAX_TOKENS",
        "REMEMBERED_CHARS": "orchestrator.tokens.estimate:REMEMBERED_CHARS",
    },
    "orchestrator.backends.breaker": {
        "LEAST_CALLS": "orchestrator.backends.http.circuit_breaker:MIN_CALLS",
    },
    "orchestrator.backends.cached_contents": {
        "MOST_CACHES": "orchestrator.backends.http.gemini_cache:MAX_CACHES",
    },
    "orchestrator.backends.caching": {
        "BYTES_PER_TOKEN": "orchestrator.tokens.estimate:BYTES_PER_ENGLISH_TOKEN",
        "MOST_MARKS": "orchestrator.backends.http.prefix_cache:MAX_MARKS",
        "MOST_PREFIXES": "orchestrator.backends.http.prefix_cache:MAX_PREFIXES",
    },
    "orchestrator.backends.concurrency": {
        "LEAST_SLOW_S": "orchestrator.backends.http.concurrency_limit:MIN_SLOW_S",
    },
    "orchestrator.backends.dialects.anthropic": {
        "AnthropicReader": "orchestrator.backends.dialects.anthropic_stream:AnthropicReader",
        "BUDGETS": "orchestrator.backends.dialects.anthropic_options:BUDGETS",
        "FINISH": "orchestrator.backends.dialects.anthropic_stream:FINISH",
        "KNOWN_BLOCKS": "orchestrator.backends.dialects.anthropic_stream:KNOWN_BLOCKS",
        "LEAST_BUDGET": "orchestrator.backends.dialects.anthropic_options:MIN_BUDGET",
        "MOST_BREAKPOINTS": "orchestrator.backends.dialects.anthropic_options:MAX_BREAKPOINTS",
        "arguments_of": "orchestrator.backends.dialects.anthropic_stream:arguments_of",
        "takes_effort": "orchestrator.backends.dialects.anthropic_options:takes_effort",
    },
    "orchestrator.backends.dialects.chat": {
        "ChatReader": "orchestrator.backends.dialects.chat_stream:ChatReader",
    },
    "orchestrator.backends.dialects.gemini": {
        "GeminiReader": "orchestrator.backends.dialects.gemini_stream:GeminiReader",
    },
    "orchestrator.backends.embeddings": {
        "MOST_CHARS": "orchestrator.backends.embeddings:MAX_CHARS",
        "MOST_INPUTS": "orchestrator.backends.embeddings:MAX_INPUTS",
    },
    "orchestrator.backends.faults": {
        "MOST_DETAIL_CHARS": "orchestrator.backends.provider_errors:MAX_DETAIL_CHARS",
    },
    "orchestrator.backends.relay": {
        "Passage": "orchestrator.backends.relay:RelayedResponse",
    },
    "orchestrator.backends.remote": {
        "Chunks": "orchestrator.backends.remote_answers:ReadChunks",
    },
    "orchestrator.backends.simulated": {
        "Problem": "orchestrator.backends.testing.simulated:SimulatedProblem",
        "Reply": "orchestrator.backends.testing.simulated:SimulatedReply",
    },
    "orchestrator.backends.transports": {
        "Answer": "orchestrator.backends.http.transport_choice:AnyResponse",
    },
    "orchestrator.backends.upstream": {
        "Answering": "orchestrator.backends.http.upstream:PendingResponse",
    },
    "orchestrator.backends.usage": {
        "MOST_TOKENS": "orchestrator.backends.usage:MAX_TOKENS",
    },
    "orchestrator.backends.wire": {
        "MOST_BODY_BYTES": "orchestrator.backends.http.transport:MAX_BODY_BYTES",
        "MOST_HEAD_BYTES": "orchestrator.backends.http.transport:MAX_HEAD_BYTES",
        "MOST_IDLE": "orchestrator.backends.http.transport:MAX_IDLE",
        "Reply": "orchestrator.backends.http.transport:HttpResponse",
        "Wire": "orchestrator.backends.http.transport:HttpTransport",
        "WireError": "orchestrator.backends.provider_errors:TransportError",
    },
    "orchestrator.batches": {
        "AnthropicBatches": "orchestrator.backends.provider_batches:AnthropicBatches",
        "BatchResult": "orchestrator.backends.provider_batches:BatchResult",
        "BatchStatus": "orchestrator.backends.provider_batches:BatchStatus",
        "Batches": "orchestrator.backends.provider_batches:Batches",
        "OpenAIBatches": "orchestrator.backends.provider_batches:OpenAIBatches",
        "State": "orchestrator.backends.provider_batches:State",
        "TIMEOUT_S": "orchestrator.backends.provider_batches:TIMEOUT_S",
    },
    "orchestrator.budget.money": {
        "MOST_BY_FLOAT": "orchestrator.budget.money:MAX_BY_FLOAT",
    },
    "orchestrator.cli.calibrate_search": {
        "MOST_FAILED": "orchestrator.cli.calibrate_search:MAX_FAILED",
    },
    "orchestrator.cli.doctor": {
        "Check": "orchestrator.cli.doctor:Finding",
    },
    "orchestrator.cli.provider_table": {
        "MOST_SHOWN": "orchestrator.cli.provider_table:MAX_SHOWN",
    },
    "orchestrator.conclusion": {
        "concluded": "orchestrator.engine.answer:build_answer",
        "why_no_answer": "orchestrator.engine.answer:explain_no_answer",
    },
    "orchestrator.config": {
        "Address": "orchestrator.config.fields:Address",
        "AutoConfig": "orchestrator.config.models:AutoConfig",
        "AuxiliaryConfig": "orchestrator.config.models:AuxiliaryConfig",
        "BudgetConfig": "orchestrator.config.models:BudgetConfig",
        "COMMAND_S": "orchestrator.config.secrets:COMMAND_S",
        "CacheConfig": "orchestrator.config.models:CacheConfig",
        "ChecksConfig": "orchestrator.config.checks:ChecksConfig",
        "Config": "orchestrator.config.models:Config",
        "DEFAULT_NAME": "orchestrator.config.names:DEFAULT_NAME",
        "GatewayConfig": "orchestrator.config.models:GatewayConfig",
        "JudgeConfig": "orchestrator.config.checks:JudgeConfig",
        "LengthConfig": "orchestrator.config.checks:LengthConfig",
        "MOST_CHOICES": "orchestrator.config.suggestions:MAX_CHOICES",
        "MOST_NAMED": "orchestrator.config.suggestions:MAX_NAMED",
        "MemoryConfig": "orchestrator.config.models:MemoryConfig",
        "ModelConfig": "orchestrator.config.model_entry:ModelConfig",
        "OnlineConfig": "orchestrator.config.models:OnlineConfig",
        "PROVIDERS": "orchestrator.config.fields:PROVIDERS",
        "Price": "orchestrator.config.fields:Price",
        "PromiseConfig": "orchestrator.config.models:PromiseConfig",
        "ReplicaConfig": "orchestrator.config.model_entry:ReplicaConfig",
        "STRATEGY_ALIASES": "orchestrator.config.names:STRATEGY_ALIASES",
        "STRATEGY_GROUP": "orchestrator.config.names:STRATEGY_GROUP",
        "STRATEGY_NAMES": "orchestrator.config.names:STRATEGY_NAMES",
        "SafetyConfig": "orchestrator.config.checks:SafetyConfig",
        "Share": "orchestrator.config.fields:Share",
        "TlsConfig": "orchestrator.config.model_entry:TlsConfig",
        "load_config": "orchestrator.config.models:load_config",
        "parse_config": "orchestrator.config.models:parse_config",
        "secret": "orchestrator.config.secrets:secret",
    },
    "orchestrator.decisions": {
        "Calibration": "orchestrator.decisions.calibration:ProbabilityCalibration",
    },
    "orchestrator.decisions.calibration": {
        "Calibration": "orchestrator.decisions.calibration:ProbabilityCalibration",
        "LEAST_EXAMPLES": "orchestrator.decisions.calibration:MIN_EXAMPLES",
    },
    "orchestrator.decisions.question": {
        "MOST_LEVELS": "orchestrator.decisions.question:MAX_LEVELS",
        "MOST_OPTIONS": "orchestrator.decisions.question:MAX_OPTIONS",
    },
    "orchestrator.decisions.tokens": {
        "MOST_OPTIONS": "orchestrator.decisions.token_logprobs:MAX_OPTIONS",
    },
    "orchestrator.engine": {
        "Orchestrator": "orchestrator.engine.orchestrator:Orchestrator",
    },
    "orchestrator.fleet": {
        "DEFAULT_CONTEXT_TOKENS": "orchestrator.fleet.build:DEFAULT_CONTEXT_TOKENS",
        "Fleet": "orchestrator.fleet.build:Fleet",
        "WHAT_TO_ADD": "orchestrator.fleet.build:WHAT_TO_ADD",
        "build_backend": "orchestrator.fleet.build:build_backend",
        "fleet_at_hand": "orchestrator.fleet.build:fleet_at_hand",
        "fleet_from_config": "orchestrator.fleet.build:fleet_from_config",
        "prices_of": "orchestrator.fleet.build:prices_of",
    },
    "orchestrator.gateway.anthropic": {
        "NATIVE_REASONS": "orchestrator.gateway.api.anthropic_reply:NATIVE_REASONS",
        "STOP_REASONS": "orchestrator.gateway.api.anthropic_reply:STOP_REASONS",
        "chat_body": "orchestrator.gateway.api.anthropic_request:chat_body",
        "contents": "orchestrator.gateway.api.anthropic_reply:contents",
        "readable_chunk": "orchestrator.gateway.api.anthropic_reply:readable_chunk",
    },
    "orchestrator.gateway.api.batch_runner": {
        "MOST_LINES": "orchestrator.gateway.api.batch_runner:MAX_LINES",
        "MOST_STORED_BYTES": "orchestrator.gateway.api.batch_runner:MAX_STORED_BYTES",
    },
    "orchestrator.gateway.app": {
        "Serving": "orchestrator.gateway.api.services:Serving",
    },
    "orchestrator.gateway.asked": {
        "Asked": "orchestrator.gateway.chat.request:ChatRequest",
    },
    "orchestrator.gateway.auxiliary": {
        "AuxiliaryModels": "orchestrator.gateway.api.auxiliary_models:AuxiliaryModels",
    },
    "orchestrator.gateway.batches": {
        "Batches": "orchestrator.gateway.api.batch_runner:BatchRunner",
        "MOST_LINES": "orchestrator.gateway.api.batches:MAX_LINES",
        "MOST_STORED_BYTES": "orchestrator.gateway.api.batches:MAX_STORED_BYTES",
    },
    "orchestrator.gateway.cache": {
        "MOST_ALIKE": "orchestrator.gateway.chat.response_cache:MAX_ALIKE",
    },
    "orchestrator.gateway.chat": {
        "ENDPOINTS": "orchestrator.gateway.api.chat:ENDPOINTS",
        "Order": "orchestrator.gateway.api.chat:CompletionSession",
        "complete": "orchestrator.gateway.api.chat:complete",
    },
    "orchestrator.gateway.chat.job": {
        "Job": "orchestrator.gateway.chat.job:ChatJob",
    },
    "orchestrator.gateway.completions": {
        "Job": "orchestrator.gateway.chat.job:ChatJob",
        "LEAST_OUTPUT_TOKENS": "orchestrator.gateway.chat.completions:MIN_OUTPUT_TOKENS",
    },
    "orchestrator.gateway.endpoint": {
        "Param": "orchestrator.gateway.api.validators:Param",
    },
    "orchestrator.gateway.errors": {
        "Problem": "orchestrator.gateway.errors:GatewayError",
    },
    "orchestrator.gateway.facts": {
        "Facts": "orchestrator.gateway.chat.provenance:Provenance",
    },
    "orchestrator.gateway.http": {
        "BODY_S": "orchestrator.gateway.http.request:BODY_S",
        "CHUNKED_BYTES": "orchestrator.gateway.http.request:CHUNKED_BYTES",
        "Call": "orchestrator.gateway.chat.client_request:ClientRequest",
        "EVENTS": "orchestrator.gateway.http.request:EVENTS",
        "Gone": "orchestrator.gateway.http.request:Gone",
        "Headers": "orchestrator.gateway.http.request:Headers",
        "JSON": "orchestrator.gateway.http.request:JSON",
        "LEAST_BYTES_PER_S": "orchestrator.gateway.http.request:MIN_BYTES_PER_S",
        "MAX_ITEMS": "orchestrator.gateway.http.request:MAX_ITEMS",
        "MAX_KEYS": "orchestrator.gateway.http.request:MAX_KEYS",
        "Receive": "orchestrator.gateway.http.request:Receive",
        "SLACK": "orchestrator.gateway.http.request:SLACK",
        "STALLED_S": "orchestrator.gateway.http.request:STALLED_S",
        "Scope": "orchestrator.gateway.http.request:Scope",
        "Send": "orchestrator.gateway.http.request:Send",
        "WATCHED_AFTER_S": "orchestrator.gateway.http.request:WATCHED_AFTER_S",
        "parse_json": "orchestrator.gateway.http.request:parse_json",
    },
    "orchestrator.gateway.influence": {
        "MOST_GRADES": "orchestrator.gateway.accounts.grade_limits:MAX_GRADES",
    },
    "orchestrator.gateway.keys": {
        "MOST_REMEMBERED": "orchestrator.gateway.accounts.principals:MAX_REMEMBERED",
        "MOST_SCOPE_SEGMENTS": "orchestrator.gateway.accounts.principals:MAX_SCOPE_SEGMENTS",
    },
    "orchestrator.gateway.limits": {
        "Hold": "orchestrator.gateway.accounts.quota_leases:QuotaHold",
        "Purse": "orchestrator.gateway.accounts.quota_leases:QuotaLease",
    },
    "orchestrator.gateway.openapi": {
        "Validators": "orchestrator.gateway.api.validators:Validators",
        "schemas": "orchestrator.gateway.api.validators:schemas",
    },
    "orchestrator.gateway.passing": {
        "Part": "orchestrator.gateway.chat.passthrough:StreamPart",
        "Source": "orchestrator.gateway.chat.passthrough:StreamSource",
        "passed_on": "orchestrator.gateway.chat.passthrough:relay_stream",
    },
    "orchestrator.gateway.problems": {
        "ANTHROPIC_TYPES": "orchestrator.gateway.errors:ANTHROPIC_TYPES",
        "Problem": "orchestrator.gateway.errors:GatewayError",
        "broke_off": "orchestrator.gateway.errors:broke_off",
        "problem_of": "orchestrator.gateway.http.error_mapping:to_gateway_error",
    },
    "orchestrator.gateway.recorder": {
        "MOST_WAITING": "orchestrator.gateway.observability.recorder:MAX_WAITING",
    },
    "orchestrator.gateway.response_items": {
        "MOST_NAME_CHARS": "orchestrator.gateway.api.response_items:MAX_NAME_CHARS",
    },
    "orchestrator.gateway.responses": {
        "text_part": "orchestrator.gateway.api.response_object:text_part",
    },
    "orchestrator.gateway.serve": {
        "LEAST_KEY_BITS": "orchestrator.gateway.serve:MIN_KEY_BITS",
        "LEAST_KEY_CHARS": "orchestrator.gateway.serve:MIN_KEY_CHARS",
        "Prepared": "orchestrator.gateway.serve:PreparedGateway",
    },
    "orchestrator.gateway.sse": {
        "MOST_HELD_BYTES": "orchestrator.gateway.http.sse:MAX_HELD_BYTES",
        "MOST_LEARNED": "orchestrator.gateway.http.sse:MAX_LEARNED",
        "Passage": "orchestrator.gateway.http.sse:SSEFilter",
    },
    "orchestrator.gateway.tab": {
        "Tab": "orchestrator.gateway.accounts.request_account:RequestAccount",
    },
    "orchestrator.grading": {
        "Example": "orchestrator.offline.grading:GradingExample",
    },
    "orchestrator.judging": {
        "MAX_TOKENS": "orchestrator.verification.judging:MAX_TOKENS",
        "asking": "orchestrator.verification.judging:asking",
        "criteria_of": "orchestrator.verification.judging:criteria_of",
    },
    "orchestrator.memory.coarse": {
        "LEAST_SHARE": "orchestrator.memory.retrieval.approximate_index:MIN_SHARE",
        "MOST_LISTS": "orchestrator.memory.retrieval.approximate_index:MAX_LISTS",
        "MOST_SHARE": "orchestrator.memory.retrieval.approximate_index:MAX_SHARE",
    },
    "orchestrator.memory.documents": {
        "Block": "orchestrator.memory.ingest.documents:DocumentBlock",
    },
    "orchestrator.memory.endpoint": {
        "_Refused": "orchestrator.memory.encoders.endpoint:_NoEmbeddings",
    },
    "orchestrator.memory.growing": {
        "Growing": "orchestrator.memory.arrays:GrowableArray",
    },
    "orchestrator.memory.packing": {
        "MOST_CHARS_PER_TOKEN": "orchestrator.memory.retrieval.packing:MAX_CHARS_PER_TOKEN",
        "estimate_tokens": "orchestrator.tokens.estimate:quick_tokens",
    },
    "orchestrator.memory.relevance": {
        "MOST_LINKED": "orchestrator.memory.retrieval.relevance:MAX_LINKED",
    },
    "orchestrator.memory.scope_index": {
        "MOST_TELLING": "orchestrator.memory.retrieval.scope_index:MAX_TELLING",
    },
    "orchestrator.memory.sqlite_store": {
        "MOST_FREED": "orchestrator.memory.storage.sqlite:MAX_FREED",
    },
    "orchestrator.memory.summaries": {
        "_Sentence": "orchestrator.memory.summaries:_SummarySentence",
    },
    "orchestrator.memory.supported": {
        "LEAST_SHARE": "orchestrator.memory.text.support:MIN_SHARE",
    },
    "orchestrator.memory.times": {
        "Span": "orchestrator.memory.text.times:TimeSpan",
    },
    "orchestrator.memory.together": {
        "Together": "orchestrator.memory.coalescing:Coalescer",
    },
    "orchestrator.online": {
        "MOST_OUTCOMES": "orchestrator.learning.online:MAX_OUTCOMES",
        "Online": "orchestrator.learning.online:OnlineLearner",
    },
    "orchestrator.pipeline": {
        "Host": "orchestrator.pipeline.execution.runtime:Runtime",
    },
    "orchestrator.pipeline.at": {
        "At": "orchestrator.pipeline.loading.check_context:LoaderCheckContext",
    },
    "orchestrator.pipeline.checking": {
        "Arithmetic": "orchestrator.verifiers.answers.arithmetic_check:ArithmeticVerifier",
        "MOST_EQUATIONS": "orchestrator.verifiers.answers.arithmetic_check:MAX_EQUATIONS",
        "NumberIs": "orchestrator.verifiers.answers.number_range:NumberRangeVerifier",
    },
    "orchestrator.pipeline.checks": {
        "ArithmeticOptions": "orchestrator.pipeline.checks.settings:ArithmeticOptions",
        "CHECKS": "orchestrator.pipeline.checks.settings:CHECKS",
        "Check": "orchestrator.pipeline.checks.settings:Check",
        "CheckOptions": "orchestrator.pipeline.checks.settings:CheckOptions",
        "CitesOptions": "orchestrator.pipeline.checks.settings:CitesOptions",
        "HoldsOptions": "orchestrator.pipeline.checks.settings:HoldsOptions",
        "JsonOptions": "orchestrator.pipeline.checks.settings:JsonOptions",
        "JudgeOptions": "orchestrator.pipeline.checks.settings:JudgeOptions",
        "LanguageOptions": "orchestrator.pipeline.checks.settings:LanguageOptions",
        "LengthOptions": "orchestrator.pipeline.checks.settings:LengthOptions",
        "NumberOptions": "orchestrator.pipeline.checks.settings:NumberOptions",
        "PersonalDataOptions": "orchestrator.pipeline.checks.settings:PersonalDataOptions",
        "RegexOptions": "orchestrator.pipeline.checks.settings:RegexOptions",
        "SafetyOptions": "orchestrator.pipeline.checks.settings:SafetyOptions",
        "TestsOptions": "orchestrator.pipeline.checks.settings:TestsOptions",
        "read_checks": "orchestrator.pipeline.checks.settings:read_checks",
        "sources_of": "orchestrator.pipeline.checks.settings:sources_of",
    },
    "orchestrator.pipeline.choosing": {
        "chosen": "orchestrator.pipeline.steps.labelling:choose_by_search",
        "decided": "orchestrator.pipeline.steps.labelling:choose_by_decision",
        "spread": "orchestrator.pipeline.steps.labelling:spread_confidence",
    },
    "orchestrator.pipeline.diagnostics": {
        "MOST_SHOWN": "orchestrator.pipeline.language.diagnostics:MAX_SHOWN",
    },
    "orchestrator.pipeline.diagram": {
        "LEAST_W": "orchestrator.pipeline.analysis.diagram:MIN_W",
    },
    "orchestrator.pipeline.evaluation": {
        "MOST_BITS": "orchestrator.pipeline.expressions.evaluation:MAX_BITS",
        "MOST_CHARS": "orchestrator.pipeline.expressions.evaluation:MAX_CHARS",
        "MOST_ITEMS": "orchestrator.pipeline.expressions.evaluation:MAX_ITEMS",
    },
    "orchestrator.pipeline.fields": {
        "Takes": "orchestrator.pipeline.language.fields:ExpressionType",
    },
    "orchestrator.pipeline.forecast": {
        "Forecast": "orchestrator.pipeline.language.estimates:Forecast",
    },
    "orchestrator.pipeline.functions": {
        "MOST_TEXT": "orchestrator.pipeline.expressions.functions:MAX_TEXT",
    },
    "orchestrator.pipeline.host": {
        "EngineOf": "orchestrator.pipeline.execution.runtime:EngineFactory",
        "Host": "orchestrator.pipeline.execution.runtime:Runtime",
        "ToolFailed": "orchestrator.pipeline.errors:ToolFailed",
    },
    "orchestrator.pipeline.keeping": {
        "replayed": "orchestrator.pipeline.execution.durable:replay",
        "resumed": "orchestrator.pipeline.execution.durable:resume",
        "started": "orchestrator.pipeline.execution.durable:start",
    },
    "orchestrator.pipeline.language.contracts": {
        "CheckedBlock": "orchestrator.pipeline.language.checked:CheckedBlock",
        "CheckedPipeline": "orchestrator.pipeline.language.checked:CheckedPipeline",
        "CheckedStep": "orchestrator.pipeline.language.checked:CheckedStep",
        "Forecast": "orchestrator.pipeline.language.estimates:Forecast",
    },
    "orchestrator.pipeline.loading": {
        "LEAST_SECRET": "orchestrator.pipeline.loading.loader:MIN_SECRET",
        "Loader": "orchestrator.pipeline.loading.loader:Loader",
        "MOST_NESTING": "orchestrator.pipeline.loading.loader:MAX_NESTING",
        "MOST_STEPS": "orchestrator.pipeline.loading.loader:MAX_STEPS",
        "load": "orchestrator.pipeline.loading.loader:load",
    },
    "orchestrator.pipeline.pipeline": {
        "InvalidInputs": "orchestrator.pipeline.errors:InvalidInputs",
    },
    "orchestrator.pipeline.prompts": {
        "MOST_CHARS": "orchestrator.pipeline.language.prompts:MAX_CHARS",
        "MOST_ROUNDS": "orchestrator.pipeline.language.prompts:MAX_ROUNDS",
    },
    "orchestrator.pipeline.run": {
        "MOST_VALUE_CHARS": "orchestrator.pipeline.execution.scheduler:MAX_VALUE_CHARS",
        "Run": "orchestrator.pipeline.execution.scheduler:RunScheduler",
    },
    "orchestrator.pipeline.running": {
        "Around": "orchestrator.pipeline.execution.step_context:ScopeLimits",
        "Running": "orchestrator.pipeline.execution.step_context:RunningStep",
    },
    "orchestrator.pipeline.scope": {
        "Scope": "orchestrator.pipeline.expressions.scope:NameScope",
    },
    "orchestrator.pipeline.sources": {
        "MOST_CHARS": "orchestrator.pipeline.language.sources:MAX_CHARS",
        "MOST_FILE_BYTES": "orchestrator.pipeline.language.sources:MAX_FILE_BYTES",
        "MOST_INCLUDES": "orchestrator.pipeline.language.sources:MAX_INCLUDES",
    },
    "orchestrator.pipeline.step": {
        "taken": "orchestrator.pipeline.language.step:expression_fields",
    },
    "orchestrator.pipeline.steps.classify": {
        "LEAST_EXAMPLES": "orchestrator.pipeline.steps.classify:MIN_EXAMPLES",
    },
    "orchestrator.pipeline.steps.decide": {
        "Question": "orchestrator.pipeline.steps.decide:QuestionField",
    },
    "orchestrator.pipeline.steps.loop": {
        "MOST_ROUNDS": "orchestrator.pipeline.steps.loop:MAX_ROUNDS",
    },
    "orchestrator.pipeline.steps.map": {
        "MOST_ITEMS": "orchestrator.pipeline.steps.map:MAX_ITEMS",
    },
    "orchestrator.pipeline.syntax": {
        "MOST_CHARS": "orchestrator.pipeline.expressions.grammar:MAX_CHARS",
        "MOST_DEPTH": "orchestrator.pipeline.expressions.grammar:MAX_DEPTH",
        "Node": "orchestrator.pipeline.expressions.grammar:SyntaxNode",
    },
    "orchestrator.pipeline.templates": {
        "Expression": "orchestrator.pipeline.expressions.templates:TemplateExpression",
    },
    "orchestrator.pipeline.testing": {
        "TestResult": "orchestrator.pipeline.testing.testing:TestResult",
        "run_test": "orchestrator.pipeline.testing.testing:run_test",
    },
    "orchestrator.pipeline.tools.http": {
        "MOST_BYTES": "orchestrator.pipeline.tools.http:MAX_BYTES",
    },
    "orchestrator.pipeline.tools.openapi": {
        "MOST_OPERATIONS": "orchestrator.pipeline.tools.openapi:MAX_OPERATIONS",
    },
    "orchestrator.pipeline.tools.sql": {
        "MOST_BYTES": "orchestrator.pipeline.tools.sql:MAX_BYTES",
        "MOST_ROWS": "orchestrator.pipeline.tools.sql:MAX_ROWS",
        "MOST_VALUE_BYTES": "orchestrator.pipeline.tools.sql:MAX_VALUE_BYTES",
    },
    "orchestrator.pipeline.valuetypes": {
        "MOST_NESTING": "orchestrator.pipeline.expressions.types:MAX_NESTING",
    },
    "orchestrator.pipeline.verbs": {
        "GROUP": "orchestrator.plugins.entry_points:STEPS",
    },
    "orchestrator.planning": {
        "LEAST_CACHED_TOKENS": "orchestrator.engine.plan:MIN_CACHED_TOKENS",
    },
    "orchestrator.probing": {
        "LEAST_COUNTED": "orchestrator.offline.probe:MIN_COUNTED",
        "LEAST_RISE": "orchestrator.offline.probe:MIN_RISE",
        "Point": "orchestrator.offline.probe:ProbePoint",
    },
    "orchestrator.providers": {
        "PROVIDERS": "orchestrator.providers.table:PROVIDERS",
    },
    "orchestrator.router.conversation": {
        "MOST_CONTEXT_CHARS": "orchestrator.router.features.conversation:MAX_CONTEXT_CHARS",
        "MOST_SYSTEM_CHARS": "orchestrator.router.features.conversation:MAX_SYSTEM_CHARS",
    },
    "orchestrator.router.features": {
        "Floats": "orchestrator.router.features.features:Floats",
        "Integers": "orchestrator.router.features.features:Integers",
        "MAX_CACHED_WORDS": "orchestrator.router.features.features:MAX_CACHED_WORDS",
        "MAX_CHARS": "orchestrator.router.features.features:MAX_CHARS",
        "SURFACE": "orchestrator.router.features.features:SURFACE",
        "clean": "orchestrator.router.features.features:clean",
        "grams": "orchestrator.router.features.features:grams",
        "surface": "orchestrator.router.features.features:surface",
        "words_of": "orchestrator.router.features.features:words_of",
    },
    "orchestrator.router.guarantee": {
        "BETS": "orchestrator.router.guarantee.certificate:BETS",
        "Certificate": "orchestrator.router.guarantee.certificate:Certificate",
        "Covers": "orchestrator.router.guarantee.certificate:Covers",
        "GRID": "orchestrator.router.guarantee.certificate:GRID",
        "Kind": "orchestrator.router.guarantee.certificate:Kind",
        "MOST_LABELS": "orchestrator.router.guarantee.certificate:MAX_LABELS",
        "Promise": "orchestrator.router.guarantee.certificate:Promise",
        "Refusal": "orchestrator.router.guarantee.certificate:Refusal",
        "Setting": "orchestrator.router.guarantee.certificate:Setting",
        "betting_p_value": "orchestrator.router.guarantee.certificate:betting_p_value",
        "certify": "orchestrator.router.guarantee.certificate:certify",
        "certify_settings": "orchestrator.router.guarantee.certificate:certify_settings",
        "clopper_pearson_upper": "orchestrator.router.guarantee.certificate:clopper_pearson_upper",
        "closest_enough": "orchestrator.router.guarantee.certificate:closest_enough",
        "data_hash": "orchestrator.router.guarantee.certificate:data_hash",
        "fleet_settings": "orchestrator.router.guarantee.certificate:fleet_settings",
    },
    "orchestrator.router.learner": {
        "MOST_OUTCOMES": "orchestrator.router.learning.learner:MAX_OUTCOMES",
    },
    "orchestrator.router.replay": {
        "Decision": "orchestrator.router.learning.replay:ReplayedDecision",
    },
    "orchestrator.router.speed": {
        "LEAST_FOR_LINE": "orchestrator.router.speed:MIN_FOR_LINE",
        "LEAST_SPREAD": "orchestrator.router.speed:MIN_SPREAD",
    },
    "orchestrator.router.success": {
        "MOST_FLEETS": "orchestrator.router.success:MAX_FLEETS",
    },
    "orchestrator.search.actions": {
        "Call": "orchestrator.search.actions:ModelAction",
    },
    "orchestrator.search.adaptive": {
        "MOST_DRAWS": "orchestrator.search.strategies.adaptive:MAX_DRAWS",
    },
    "orchestrator.search.belief": {
        "MOST": "orchestrator.search.vote_model:MOST",
        "TABLES": "orchestrator.search.vote_model:TABLES",
        "VoteModel": "orchestrator.search.vote_model:VoteModel",
    },
    "orchestrator.search.calibration": {
        "Calibration": "orchestrator.search.calibration.calibration:Calibration",
        "FORMAT": "orchestrator.search.calibration.calibration:FORMAT",
        "MOST_USD": "orchestrator.search.calibration.calibration:MAX_USD",
        "calibrated_settings": "orchestrator.search.calibration.calibration:calibrated_settings",
    },
    "orchestrator.search.controller": {
        "MOST_DIFF_LINES": "orchestrator.search.controller:MAX_DIFF_LINES",
    },
    "orchestrator.search.guessing": {
        "MOST_CHARACTERS": "orchestrator.search.guessing:MAX_CHARACTERS",
    },
    "orchestrator.search.recording": {
        "Step": "orchestrator.search.recording:RecordedStep",
    },
    "orchestrator.search.strategies": {
        "STRATEGIES": "orchestrator.search.strategies.registry:STRATEGIES",
        "cascade": "orchestrator.search.strategies.registry:cascade",
        "single": "orchestrator.search.strategies.registry:single",
        "starting_with": "orchestrator.search.strategies.registry:starting_with",
    },
    "orchestrator.search.value": {
        "MOST_WAYS": "orchestrator.search.value:MAX_WAYS",
    },
    "orchestrator.storage.accounts": {
        "AccountError": "orchestrator.storage.account_types:AccountError",
        "AccountLimits": "orchestrator.storage.account_types:AccountLimits",
        "DEFAULT_PERMISSIONS": "orchestrator.storage.account_types:DEFAULT_PERMISSIONS",
        "Found": "orchestrator.storage.account_types:Found",
        "Key": "orchestrator.storage.account_types:Key",
        "NewKey": "orchestrator.storage.account_types:NewKey",
        "NoAccount": "orchestrator.storage.account_types:NoAccount",
        "Org": "orchestrator.storage.account_types:Org",
        "PERMISSIONS": "orchestrator.storage.account_types:PERMISSIONS",
        "Period": "orchestrator.storage.account_types:Period",
        "Team": "orchestrator.storage.account_types:Team",
    },
    "orchestrator.storage.database": {
        "MOST_ROWS": "orchestrator.storage.database:MAX_ROWS",
    },
    "orchestrator.together": {
        "Together": "orchestrator.engine.assessment_batcher:AssessmentBatcher",
    },
    "orchestrator.tokens": {
        "FAMILIES": "orchestrator.tokens.estimate:FAMILIES",
        "FAMILY_THAT_COUNTS_MOST": "orchestrator.tokens.estimate:FAMILY_THAT_COUNTS_MOST",
        "LEAST_BYTES_EACH": "orchestrator.tokens.estimate:MIN_BYTES_EACH",
        "MARGIN": "orchestrator.tokens.estimate:MARGIN",
        "PARTS": "orchestrator.tokens.estimate:PARTS",
        "PartTokens": "orchestrator.tokens.estimate:PartTokens",
        "SAMPLED_BYTES": "orchestrator.tokens.estimate:SAMPLED_BYTES",
        "TOKENS_PER_MESSAGE": "orchestrator.tokens.estimate:TOKENS_PER_MESSAGE",
        "TOKENS_PER_TOOL": "orchestrator.tokens.estimate:TOKENS_PER_TOOL",
        "TOOLS_PREAMBLE_TOKENS": "orchestrator.tokens.estimate:TOOLS_PREAMBLE_TOKENS",
        "TokenizerFamily": "orchestrator.tokens.estimate:TokenizerFamily",
        "bound_tokens": "orchestrator.tokens.estimate:bound_tokens",
        "estimate_message": "orchestrator.tokens.estimate:estimate_message",
        "estimate_tokens": "orchestrator.tokens.estimate:estimate_tokens",
        "family_of": "orchestrator.tokens.estimate:family_of",
        "request_bound": "orchestrator.tokens.estimate:request_bound",
        "request_estimate": "orchestrator.tokens.estimate:request_estimate",
    },
    "orchestrator.verifiers": {
        "Answer": "orchestrator.verifiers.answers.equivalence:CanonicalAnswer",
        "Said": "orchestrator.verifiers.models.judge:ModelReply",
    },
    "orchestrator.verifiers.answers.arithmetic_check": {
        "MOST_EQUATIONS": "orchestrator.verifiers.answers.arithmetic_check:MAX_EQUATIONS",
    },
    "orchestrator.verifiers.answers.choice": {
        "Choice": "orchestrator.verifiers.answers.choice:ReadChoice",
        "LETTERS": "orchestrator.verifiers.answers.choice_patterns:LETTERS",
    },
    "orchestrator.verifiers.answers.code_blocks": {
        "Block": "orchestrator.verifiers.answers.code_blocks:CodeBlock",
        "MOST_INDENT": "orchestrator.verifiers.answers.code_blocks:MAX_INDENT",
    },
    "orchestrator.verifiers.answers.equivalence": {
        "Answer": "orchestrator.verifiers.answers.equivalence:CanonicalAnswer",
    },
    "orchestrator.verifiers.answers.formulas": {
        "_Parser": "orchestrator.verifiers.answers.formulas:_FormulaParser",
    },
    "orchestrator.verifiers.answers.non_answers": {
        "LEAST_CUT_CHARS": "orchestrator.verifiers.answers.non_answers:MIN_CUT_CHARS",
        "LEAST_REPEATS": "orchestrator.verifiers.answers.non_answers:MIN_REPEATS",
        "MOST_BEFORE_A_REQUEST": "orchestrator.verifiers.answers.non_answers:MAX_BEFORE_A_REQUEST",
        "MOST_BEFORE_GIVING_UP": "orchestrator.verifiers.answers.non_answers:MAX_BEFORE_GIVING_UP",
        "MOST_MATTER": "orchestrator.verifiers.answers.non_answers:MAX_MATTER",
    },
    "orchestrator.verifiers.answers.quantities": {
        "LEAST_DIGITS": "orchestrator.verifiers.answers.quantities:MIN_DIGITS",
    },
    "orchestrator.verifiers.code": {
        "EACH_S": "orchestrator.verifiers.code.unit_tests:EACH_S",
        "Evaluated": "orchestrator.verifiers.code.unit_tests:Evaluated",
        "LOAD_S": "orchestrator.verifiers.code.unit_tests:LOAD_S",
        "MAX_SHOWN": "orchestrator.verifiers.code.unit_tests:MAX_SHOWN",
        "UnitTestVerifier": "orchestrator.verifiers.code.unit_tests:UnitTestVerifier",
        "evaluate": "orchestrator.verifiers.code.unit_tests:evaluate",
        "expression_of": "orchestrator.verifiers.code.unit_tests:expression_of",
        "truths": "orchestrator.verifiers.code.unit_tests:truths",
    },
    "orchestrator.verifiers.form": {
        "LengthVerifier": "orchestrator.verifiers.form.regex_length:LengthVerifier",
        "RegexVerifier": "orchestrator.verifiers.form.regex_length:RegexVerifier",
    },
    "orchestrator.verifiers.judge": {
        "Preference": "orchestrator.verifiers.models.judge:PairPreference",
        "Said": "orchestrator.verifiers.models.judge:ModelReply",
    },
    "orchestrator.verifiers.sql": {
        "MOST_STEPS": "orchestrator.verifiers.sql:MAX_STEPS",
        "MOST_VALUE_BYTES": "orchestrator.verifiers.sql:MAX_VALUE_BYTES",
    },
    "router.conversation": {
        "MOST_CONTEXT_CHARS": "orchestrator.router.features.conversation:MAX_CONTEXT_CHARS",
        "MOST_SYSTEM_CHARS": "orchestrator.router.features.conversation:MAX_SYSTEM_CHARS",
    },
    "router.features": {
        "Floats": "orchestrator.router.features.features:Floats",
        "Integers": "orchestrator.router.features.features:Integers",
        "MAX_CACHED_WORDS": "orchestrator.router.features.features:MAX_CACHED_WORDS",
        "MAX_CHARS": "orchestrator.router.features.features:MAX_CHARS",
        "SURFACE": "orchestrator.router.features.features:SURFACE",
        "clean": "orchestrator.router.features.features:clean",
        "grams": "orchestrator.router.features.features:grams",
        "surface": "orchestrator.router.features.features:surface",
        "words_of": "orchestrator.router.features.features:words_of",
    },
    "router.guarantee": {
        "BETS": "orchestrator.router.guarantee.certificate:BETS",
        "Certificate": "orchestrator.router.guarantee.certificate:Certificate",
        "Covers": "orchestrator.router.guarantee.certificate:Covers",
        "GRID": "orchestrator.router.guarantee.certificate:GRID",
        "Kind": "orchestrator.router.guarantee.certificate:Kind",
        "MOST_LABELS": "orchestrator.router.guarantee.certificate:MAX_LABELS",
        "Promise": "orchestrator.router.guarantee.certificate:Promise",
        "Refusal": "orchestrator.router.guarantee.certificate:Refusal",
        "Setting": "orchestrator.router.guarantee.certificate:Setting",
        "betting_p_value": "orchestrator.router.guarantee.certificate:betting_p_value",
        "certify": "orchestrator.router.guarantee.certificate:certify",
        "certify_settings": "orchestrator.router.guarantee.certificate:certify_settings",
        "clopper_pearson_upper": "orchestrator.router.guarantee.certificate:clopper_pearson_upper",
        "closest_enough": "orchestrator.router.guarantee.certificate:closest_enough",
        "data_hash": "orchestrator.router.guarantee.certificate:data_hash",
        "fleet_settings": "orchestrator.router.guarantee.certificate:fleet_settings",
    },
    "router.learner": {
        "MOST_OUTCOMES": "orchestrator.router.learning.learner:MAX_OUTCOMES",
    },
    "router.replay": {
        "Decision": "orchestrator.router.learning.replay:ReplayedDecision",
    },
    "router.speed": {
        "LEAST_FOR_LINE": "orchestrator.router.speed:MIN_FOR_LINE",
        "LEAST_SPREAD": "orchestrator.router.speed:MIN_SPREAD",
    },
    "router.success": {
        "MOST_FLEETS": "orchestrator.router.success:MAX_FLEETS",
    },
    "verifiers": {
        "Answer": "orchestrator.verifiers.answers.equivalence:CanonicalAnswer",
        "Said": "orchestrator.verifiers.models.judge:ModelReply",
    },
    "verifiers.answers.arithmetic_check": {
        "MOST_EQUATIONS": "orchestrator.verifiers.answers.arithmetic_check:MAX_EQUATIONS",
    },
    "verifiers.answers.choice": {
        "Choice": "orchestrator.verifiers.answers.choice:ReadChoice",
        "LETTERS": "orchestrator.verifiers.answers.choice_patterns:LETTERS",
    },
    "verifiers.answers.code_blocks": {
        "Block": "orchestrator.verifiers.answers.code_blocks:CodeBlock",
        "MOST_INDENT": "orchestrator.verifiers.answers.code_blocks:MAX_INDENT",
    },
    "verifiers.answers.equivalence": {
        "Answer": "orchestrator.verifiers.answers.equivalence:CanonicalAnswer",
    },
    "verifiers.answers.non_answers": {
        "LEAST_CUT_CHARS": "orchestrator.verifiers.answers.non_answers:MIN_CUT_CHARS",
        "LEAST_REPEATS": "orchestrator.verifiers.answers.non_answers:MIN_REPEATS",
    },
    "verifiers.answers.quantities": {
        "LEAST_DIGITS": "orchestrator.verifiers.answers.quantities:MIN_DIGITS",
    },
    "verifiers.code": {
        "EACH_S": "orchestrator.verifiers.code.unit_tests:EACH_S",
        "Evaluated": "orchestrator.verifiers.code.unit_tests:Evaluated",
        "LOAD_S": "orchestrator.verifiers.code.unit_tests:LOAD_S",
        "MAX_SHOWN": "orchestrator.verifiers.code.unit_tests:MAX_SHOWN",
        "UnitTestVerifier": "orchestrator.verifiers.code.unit_tests:UnitTestVerifier",
        "evaluate": "orchestrator.verifiers.code.unit_tests:evaluate",
        "expression_of": "orchestrator.verifiers.code.unit_tests:expression_of",
        "truths": "orchestrator.verifiers.code.unit_tests:truths",
    },
    "verifiers.form": {
        "LengthVerifier": "orchestrator.verifiers.form.regex_length:LengthVerifier",
        "RegexVerifier": "orchestrator.verifiers.form.regex_length:RegexVerifier",
    },
    "verifiers.judge": {
        "Preference": "orchestrator.verifiers.models.judge:PairPreference",
        "Said": "orchestrator.verifiers.models.judge:ModelReply",
    },
    "verifiers.sql": {
        "MOST_STEPS": "orchestrator.verifiers.sql:MAX_STEPS",
        "MOST_VALUE_BYTES": "orchestrator.verifiers.sql:MAX_VALUE_BYTES",
    },
}


def install() -> None:
    """Makes old paths importable in this process, and old names in modules that stayed where they were."""
    if not any(isinstance(finder, _OldPaths) for finder in sys.meta_path):
        sys.meta_path.append(_OldPaths())
        sys.meta_path.insert(0, _OldNames())


def replace_package(old: str) -> None:
    """Puts `orchestrator.<old>` in the place of the package `old`, which a checkout on the path still offers."""
    spec = _OldPaths().find_spec(old)
    assert spec is not None
    sys.modules[old] = module = _OldModule(old)
    module.__spec__, module.__path__ = spec, []
    _warn(old, new_module(old))


def new_module(old: str) -> str:
    """The path of the module that stood at `old`; its own if it has not moved."""
    if old in MODULES:
        return MODULES[old]
    return f"orchestrator.{old}" if old.partition(".")[0] in PACKAGES else old


def _resolve(module: str, name: str) -> Any:
    from importlib import import_module

    moved = NAMES.get(module, {}).get(name)
    if moved is not None:
        home, _, new_name = moved.partition(":")
        found = getattr(import_module(home), new_name)
        _warn(f"{module}.{name}", f"{_public_home(new_name, found) or home}.{new_name}")
        return found
    home = new_module(module)
    if home == module:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def _public_home(name: str, found: object) -> str:
    """The package whose documented names hold `found`, of those that are loaded; "" if there is none."""
    for package in FACES:
        face = sys.modules.get(package)
        if face is not None and name in getattr(face, "__all__", ()) and getattr(face, name, None) is found:
            return package
    return ""


def _warn(old: str, new: str) -> None:
    import warnings

    frame = sys._getframe(1)
    while frame.f_back is not None and _only_imports(frame.f_code.co_filename, frame.f_globals.get("__name__")):
        frame = frame.f_back
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    user = frame.f_globals.get("__name__")  # Python shows such warnings by default where this is `__main__`
    message = f"{old} is now {new}; the old name goes in orchestrator {REMOVED_IN}"
    warnings.warn_explicit(message, DeprecationWarning, frame.f_code.co_filename, frame.f_lineno, user, registry)


def _only_imports(path: str, module: object) -> bool:
    """Whether a frame is the import system, this file, or a package loaded by its old name: not who used the name."""
    return path == __file__ or path.startswith("<frozen importlib") or module in PACKAGES


def _spec_without_import(name: str) -> ModuleSpec | None:
    """The spec of one of our modules. Imports no parent: whoever looks for a module holds the lock of all imports."""
    first, *parts = name.split(".")
    found = sys.modules[first].__spec__
    for part in parts:
        if found is None or found.submodule_search_locations is None:
            return None
        first = f"{first}.{part}"
        found = PathFinder.find_spec(first, list(found.submodule_search_locations))
    return found


def _all_names(old: str, module: ModuleType) -> list[str]:
    """What `from old import *` gives."""
    public = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    return sorted({*public, *NAMES.get(old, {})})


class _OldModule(ModuleType):
    """Stands at an old path, hands out what is at the new one, and passes on what is set, as tests do."""

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            from importlib import import_module

            return _all_names(self.__name__, import_module(new_module(self.__name__)))
        if name.startswith("__"):
            raise AttributeError(name)
        return _resolve(self.__name__, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name.startswith("__") or isinstance(value, ModuleType):
            super().__setattr__(name, value)
        else:
            setattr(*_new_place(self.__name__, name), value)

    def __delattr__(self, name: str) -> None:
        if name in vars(self):
            super().__delattr__(name)
        else:
            delattr(*_new_place(self.__name__, name))

    def __dir__(self) -> list[str]:
        from importlib import import_module

        return sorted({*NAMES.get(self.__name__, {}), *dir(import_module(new_module(self.__name__)))})


def _new_place(module: str, name: str) -> tuple[ModuleType, str]:
    """The module that holds what stood at `module.name`, and its name there."""
    from importlib import import_module

    home, _, new_name = NAMES.get(module, {}).get(name, f"{new_module(module)}:{name}").partition(":")
    return import_module(home), new_name


class _OldPaths:
    """Finds and loads what has moved (`importlib.abc.MetaPathFinder` and `Loader`)."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top = name.partition(".")[0]
        if top not in PACKAGES and top != "orchestrator":
            return None
        new = new_module(name)
        if new == name:
            return None
        found = _spec_without_import(new)
        if found is None:
            return None
        package = found.submodule_search_locations is not None
        return ModuleSpec(name, self, origin=found.origin, is_package=package)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _OldModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        _warn(module.__name__, new_module(module.__name__))

    def get_code(self, name: str) -> CodeType | None:
        """For `python -m old.path`, which runs the code of the new path."""
        from importlib.util import find_spec

        spec = find_spec(new_module(name))
        found: CodeType | None = None
        if spec is not None and spec.loader is not None:
            found = spec.loader.get_code(spec.name)  # type: ignore[attr-defined]
        return found


class _OldNames:
    """Lets modules that lost a name resolve it: they are found and loaded as ever, and get a `__getattr__` then."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in NAMES or name in MODULES or not name.startswith("orchestrator"):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            before = module.__dict__.get("__getattr__")

            def get(missing: str) -> Any:
                if before is None or missing in NAMES[name]:
                    return _resolve(name, missing)
                return before(missing)

            module.__dict__["__getattr__"] = get
            module.__dict__.setdefault("__all__", _all_names(name, module))

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
