"""Sample sessions for the local API: four organizations with agents of many trades, the same every time."""

# ruff: noqa: E501, RUF001 - messages as people write them, in their own languages

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

SEED: Final = 20261123
NOW: Final = datetime(2026, 11, 23, 16, 41, 46, 463925)
"""The moment, in UTC, at which the sample looks at itself; nothing depends on when it is made."""

DAYS: Final = 150
PREVIEW: Final = 120
"""Characters of a message that a preview keeps."""

SONNET: Final = "model_01933b5a000070008000000000000011"
OPUS: Final = "model_01933b5a000070008000000000000012"
LOCAL: Final = "model_01933b5a000070008000000000000013"


class Kind(NamedTuple):
    """A kind of work: what the title says, what the user asked, and what the agent answered last."""

    title: str | None
    preview: str
    output_preview: str
    tags: list[str]


class Agent(NamedTuple):
    """An agent with the work that it is given."""

    id: str
    kinds: list[Kind]
    capabilities: list[dict[str, Any]]
    weight: int
    """How much of the organization's work it does."""


SUPPORT: Final = [
    Kind(
        "Refund for order {order}",
        "Hi, my parcel from order {order} arrived with a cracked lid. Can I get my money back? I have photos.",
        "I have refunded {amount} to the original payment method; it arrives within 5 working days. No need to send the "
        "jar back.",
        ["refund", "priority:high"],
    ),
    Kind(
        "Where is order {order}?",
        "The tracking page has said 'handed to carrier' since Tuesday. Where is it?",
        "The carrier scanned it in {city} this morning and promises delivery tomorrow before 12:00.",
        ["shipping"],
    ),
    Kind(
        "Passwort zurücksetzen",
        "Guten Tag, ich komme nicht mehr in mein Konto. Der Link in der E-Mail läuft sofort ab. Grüße, {name}",
        "Ich habe Ihnen einen neuen Link geschickt, der 24 Stunden gilt. Bitte öffnen Sie ihn im selben Browser.",
        ["account", "de"],
    ),
    Kind(
        "返品の手続きについて",
        "注文 {order} のサイズが合わないので返品したいです。送料はかかりますか？",
        "返品送料は無料です。返品ラベルをメールでお送りしました。30日以内にお送りください。",
        ["refund", "ja"],
    ),
    Kind(
        "Changement d'adresse de livraison",
        "Bonjour, je déménage à {city} la semaine prochaine. Pouvez-vous changer l'adresse de la commande {order} ?",
        "C'est fait : la commande partira vers la nouvelle adresse. Vous recevrez une confirmation par e-mail. 📦",
        ["shipping", "fr"],
    ),
    Kind(
        "إلغاء الاشتراك",
        "مرحبا، أريد إلغاء اشتراكي قبل التجديد القادم. رقم الطلب {order}",
        "تم إلغاء اشتراكك، ولن يتم خصم أي مبلغ آخر. يمكنك الاستمرار في استخدام الخدمة حتى نهاية الشهر.",
        ["subscription", "ar"],
    ),
    Kind(
        None,
        "hello? anyone there",
        "Hello! I'm here. What can I help you with?",
        [],
    ),
]

ENGINEERING: Final = [
    Kind(
        "Review: pull request #{number} in {service}",
        "Please review #{number}. I'm mostly worried about the retry loop around the payment call.",
        "Two findings. (1) `charge()` is retried on a read timeout, and may run twice: pass an idempotency key. (2) The "
        "back-off has no jitter.",
        ["code-review", "team:payments"],
    ),
    Kind(
        "Flaky test in {service}",
        "test_expires_at_midnight fails about once in 30 runs on CI, never on my machine. Find out why.",
        "The test builds 'tomorrow' from local time and compares it with UTC. Between 23:00 and 24:00 UTC they differ. "
        "I froze the clock; 500 runs are green ✅",
        ["tests"],
    ),
    Kind(
        "Migrate {service} to Python 3.13",
        "Upgrade {service} from Python 3.9 to 3.13: dependencies, CI, Dockerfile. One commit per step, please.",
        "Done in 6 commits. `asyncio.get_event_loop()` was the only runtime change; image size went from 412 MB to 388 MB.",
        ["migration", "python"],
    ),
    Kind(
        "p99 latency of {service} doubled",
        "Since Monday's deploy the p99 of {service} went from 180 ms to 410 ms. Nothing in the release notes explains it.",
        "The connection pool shrank from 50 to 5 when its default was removed from the config. Restoring it brings p99 "
        "back to 176 ms in staging.",
        ["incident", "performance", "priority:high"],
    ),
    Kind(
        "Write a changelog from {number} commits",
        "Turn the commits since v4.2.0 into release notes that customers can read. Skip anything internal.",
        "## 4.3.0\n- Exports can be scheduled\n- Search finds archived projects\n- Fixed: a time zone shift in weekly reports",
        ["docs"],
    ),
    Kind(
        'Explain "deadlock detected" in the logs',
        "What does `ERROR: deadlock detected ... Process 4711 waits for ShareLock on transaction 88213` mean here?",
        "Two workers update `accounts` in different orders. Sorting the ids before the UPDATE removes the cycle:\n"
        "\tids = sorted(ids)",
        ["database"],
    ),
]

ANALYSIS: Final = [
    Kind(
        "Weekly sales report, {city}",
        "Compare last week's sales in {city} with the same week a year ago, by product group. Chart and three sentences.",
        "Sales rose by 12.4 % to {amount}. Two thirds of it come from repeat buyers; garden furniture fell for the third "
        "week in a row.",
        ["report", "weekly"],
    ),
    Kind(
        "Churn in the {city} cohort",
        "Why did churn go up in {city} in the last quarter? Use the events table, not the dashboards.",
        "61 % of those who left had at least two failed payments. Without them churn is flat (3.1 % → 3.0 %).",
        ["churn"],
    ),
    Kind(
        "Clean up {number} supplier names",
        "The supplier list has duplicates such as 'Müller GmbH', 'Mueller Gmbh' and 'MÜLLER'. Merge what is surely the same.",
        "Merged {number} rows into 812 suppliers. 37 pairs were unclear; they are in `unclear.csv` for a person to decide.",
        ["data-quality"],
    ),
    Kind(
        "Forecast for {service}",
        "How much storage will {service} need at the end of next year? Assume the growth of the last six months.",
        "About 41 TB (80 % interval: 36 to 47 TB). The new image format saves 9 TB of that.",
        ["forecast", "capacity"],
    ),
    Kind(
        "Анализ отзывов за месяц",
        "Собери отзывы за прошлый месяц и выдели пять главных причин недовольства.",
        "Главная причина — сроки доставки (38 %), затем упаковка (17 %) и размеры одежды (11 %).",
        ["report", "ru"],
    ),
]

RESEARCH: Final = [
    Kind(
        "Trip to {city} for six people",
        "We are six, two of us vegetarian, four days in {city} in spring, trains only. What would you book?",
        "Leave on Thursday at 8:04, one change. I'd stay near the old harbour; here are three houses that take six. 🚆",
        ["travel"],
    ),
    Kind(
        "Compare heat pumps",
        "We heat 140 m² with gas, built 1987, radiators. Would a heat pump work without new radiators?",
        "Probably yes: at 55 °C flow temperature your radiators give 9.2 kW, and you need 8.4 kW at −10 °C. Ask for the "
        "hydraulic balancing first.",
        ["energy"],
    ),
    Kind(
        "给团队写一份生日祝福",
        "同事 {name} 下周生日，帮我写一段轻松一点的祝福，不要太长。",
        "{name}，生日快乐！🎂 愿你的代码永远一次通过，咖啡永远是热的。",
        ["writing", "zh"],
    ),
    Kind(
        "Summary of a rental contract",
        "Summarise the 23 pages I uploaded. I want to know what I pay, when I can leave, and what is unusual.",
        "You pay {amount} a month, rising with the index once a year. You can leave after 12 months with 3 months' notice. "
        "Unusual: § 14 forbids drilling into tiles.",
        ["legal", "summary"],
    ),
    Kind(
        "한국어 이메일 다듬기",
        "거래처에 보낼 메일인데 너무 딱딱해요. 조금 더 부드럽게 고쳐 주세요.",
        "조금 더 부드럽게 고쳤습니다. 마지막 문장은 '편하신 시간에 연락 주세요'로 바꾸었어요. 😊",
        ["writing", "ko"],
    ),
    Kind(
        "Is 7919 prime?",
        "is 7919 prime? show the steps",
        "I divide by every prime up to 88, since 89² is more than 7919. None of the 23 fits, so it is prime: the 1000th one.",
        [],
    ),
]

CITIES: Final = ["Lisbon", "Łódź", "São Paulo", "Zürich", "Osaka", "Nairobi", "Toronto", "Malmö"]
SERVICES: Final = ["checkout", "ledger", "search-api", "notifications", "image-proxy", "identity"]
NAMES: Final = ["Zoë", "Jürgen", "Aiko", "Priya", "Oluwaseun", "Björn", "Chloé", "Mateusz"]

FILES: Final[dict[str, Any]] = {"ref": "session_file_system"}
WEB: Final[dict[str, Any]] = {
    "ref": "web_fetch",
    "config": {"allow": ["*.example.com", "docs.example.org"], "timeout_seconds": 7.5, "follow_redirects": True},
}
WAREHOUSE: Final[dict[str, Any]] = {
    "ref": "sql",
    "config": {
        "warehouse": "analytics",
        "limits": {"rows": 50000, "bytes": 10737418240, "cost_usd": 0.25},
        "tables": [{"name": "events", "columns": None}, {"name": "orders", "columns": ["id", "total", "at"]}],
        "write": False,
    },
}
GUARD: Final[dict[str, Any]] = {"ref": "human_approval", "config": None}


def sessions() -> Iterator[dict[str, Any]]:
    """Every sample session as the contract has it, organization by organization, each from oldest to newest."""
    yield from _organization(
        1,
        480,
        [
            Agent("agent_01933b5a00007000800000000000001", SUPPORT, [], 5),
            Agent("agent_01933b5a00007000800000000000000a", ENGINEERING, [FILES, WEB], 4),
            Agent("agent_01933b5a00007000800000000000000b", ANALYSIS, [WAREHOUSE], 3),
            Agent("agent_01933b5a00007000800000000000000c", RESEARCH, [WEB, GUARD], 2),
            Agent("agent_01933b5a00007000800000000000000d", SUPPORT + RESEARCH, [], 1),
        ],
    )
    yield from _organization(
        2,
        72,
        [
            Agent("agent_01933b5a00007000800000000000002a", ENGINEERING, [FILES], 3),
            Agent("agent_01933b5a00007000800000000000002b", ANALYSIS, [WAREHOUSE, GUARD], 1),
        ],
    )
    yield from _organization(3, 12, [Agent("agent_01933b5a00007000800000000000003a", RESEARCH, [WEB], 1)])
    yield from _organization(4, 1, [Agent("agent_01933b5a00007000800000000000004a", SUPPORT, [], 1)])


def _organization(number: int, entries: int, agents: list[Agent]) -> Iterator[dict[str, Any]]:
    rng = random.Random(SEED + number)  # noqa: S311  (no secret)
    moments = _moments(rng, entries)
    for rank, created_at in enumerate(moments):
        (agent,) = rng.choices(agents, weights=[each.weight for each in agents])
        yield _session(rng, f"org_{number:032x}", agent, created_at, age=len(moments) - rank)


def _moments(rng: random.Random, entries: int) -> list[datetime]:
    """When sessions were created: office hours mostly, quiet days, bursts, and some at one and the same microsecond."""
    first = NOW.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS)
    busyness = [
        rng.choice((0, 1, 1, 2, 5)) * (0.15 if (first + timedelta(days)).weekday() > 4 else 1) for days in range(DAYS)
    ]
    moments = [NOW - timedelta(microseconds=rng.randrange(120_000_000, 900_000_000))]
    while len(moments) < entries:
        (day,) = rng.choices(range(DAYS), weights=busyness)
        seconds = min(max(rng.gauss(13.5, 3), 0.1), 23.9) * 3600
        moment = first + timedelta(days=day, seconds=int(seconds), microseconds=rng.randrange(1_000_000))
        together = min(entries - len(moments), rng.choice((1, 1, 1, 1, 1, 1, 1, 1, 1, 14)))
        if rng.random() < 0.3:
            moments += [moment] * min(together, 3)
        else:
            moments += [moment + timedelta(milliseconds=each * rng.randrange(3000)) for each in range(together)]
    return sorted(moments[:entries])


def _session(rng: random.Random, organization_id: str, agent: Agent, created_at: datetime, age: int) -> dict[str, Any]:
    """One session; `age` is 1 for the organization's newest."""
    status = _status(rng, age)
    kind = rng.choice(agent.kinds)
    words = {
        "order": f"A-{rng.randrange(10_000, 99_999)}",
        "number": rng.randrange(101, 9_999),
        "amount": f"{rng.randrange(12, 990)}.{rng.randrange(100):02} €",
        "city": rng.choice(CITIES),
        "service": rng.choice(SERVICES),
        "name": rng.choice(NAMES),
    }
    asked = status != "started"
    started_at = created_at + timedelta(milliseconds=rng.randrange(80, 4000)) if asked else None
    updated_at = started_at + timedelta(seconds=rng.randrange(4, 5400)) if started_at else created_at
    finished = status == "idle" and rng.random() < 0.6
    answered = asked and (status == "idle" or rng.random() < 0.5)
    return {
        "id": _session_id(rng, created_at),
        "organization_id": organization_id,
        "agent_id": agent.id,
        "status": status,
        "created_at": _text(created_at),
        "updated_at": _text(min(updated_at, NOW)),
        "started_at": _text(min(started_at, NOW)) if started_at else None,
        "finished_at": _text(min(updated_at, NOW)) if finished else None,
        "title": kind.title.format(**words) if kind.title and asked else None,
        "preview": _preview(kind.preview.format(**words)) if asked else None,
        "output_preview": _preview(kind.output_preview.format(**words)) if answered else None,
        "model_id": rng.choice((None, None, None, SONNET, OPUS, LOCAL)),
        "tags": kind.tags + (["vip"] if rng.random() < 0.1 else []),
        "capabilities": agent.capabilities if rng.random() < 0.7 else [],
        "usage": _usage(rng) if answered else None,
    }


def _status(rng: random.Random, age: int) -> str:
    (status,) = rng.choices(("idle", "active", "started"), weights=(3, 4, 3) if age < 12 else (90, 2, 8))
    return status


def _usage(rng: random.Random) -> dict[str, int]:
    usage = {"input_tokens": rng.randrange(300, 90_000), "output_tokens": rng.randrange(40, 9_000)}
    if rng.random() < 0.6:
        usage["cache_read_tokens"] = rng.randrange(0, 400_000)
    if rng.random() < 0.3:
        usage["cache_creation_tokens"] = rng.randrange(0, 40_000)
    return usage


def _session_id(rng: random.Random, created_at: datetime) -> str:
    """A UUID of version 7 without its hyphens: milliseconds since 1970, then random bits."""
    milliseconds = (created_at - datetime(1970, 1, 1)) // timedelta(milliseconds=1)
    bits = rng.getrandbits(74)
    return f"session_{milliseconds:012x}7{bits >> 62:03x}{0x8000000000000000 | bits & (2**62 - 1):016x}"


def _preview(text: str) -> str:
    return text if len(text) <= PREVIEW else text[: PREVIEW - 1] + "…"


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds") + "Z"
