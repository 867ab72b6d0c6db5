"""What the scripts share: the hub's HTTP API, sockets as stations open them, prices, accounts.

Everything is asked of the hub from outside, as an operator's own program would.
"""

import asyncio
import base64
import datetime
import json
import os
import time
import urllib.error
import urllib.request

import websockets

HTTP = os.environ["NOVAX_HTTP"]
OCPP = os.environ["NOVAX_OCPP"]
KEY = os.environ["NOVAX_KEY"]

TARIFF = {
    "currency": "EUR",
    "energy_millis_per_kwh": 39500,
    "session_fee_minor": "50",
    "tax_basis_points": 1900,
    "hold_minor": "2000",
}
SPLIT = {"site_host_basis_points": 1000, "platform_basis_points": 500}


def request(method, path, body=None, **headers):
    """Status and JSON of an answer, whatever it is."""
    call = urllib.request.Request(
        f"http://{HTTP}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {KEY}",
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
    )
    try:
        with urllib.request.urlopen(call, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def get(path):
    return good(request("GET", path))


def post(path, body, **headers):
    return good(request("POST", path, body, **headers))


def good(answer):
    status, body = answer
    assert 200 <= status < 300, answer
    return body


async def aside(function, *arguments, **named):
    """A blocking request, while the station goes on talking."""
    return await asyncio.to_thread(function, *arguments, **named)


async def until(what, probe, limit_s=20):
    """Waits until `probe` answers something true, and answers that."""
    end = time.monotonic() + limit_s
    while True:
        found = await aside(probe)
        if found:
            return found
        assert time.monotonic() < end, f"waited {limit_s} s for {what}"
        await asyncio.sleep(0.05)


def site(name, **more):
    return post("/v1/sites", {"site": name, "tariff": TARIFF, "split": SPLIT, **more})


def station(name, at, **more):
    return post("/v1/stations", {"station": name, "site": at, **more})


def driver(name, token, minor="10000", **more):
    made = post("/v1/drivers", {"driver": name, "tokens": [token], "currency": "EUR", **more})
    if minor != "0":
        amount = {"amount": {"minor": minor, "currency": "EUR"}}
        post(f"/v1/drivers/{name}/deposits", amount, Idempotency_Key=f"first-{name}")
    return made


async def socket(identity, protocol, password=None):
    headers = {}
    if password is not None:
        plain = f"{identity}:{password}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(plain).decode()
    return await websockets.connect(
        f"ws://{OCPP}/ocpp/{identity}", subprotocols=[protocol], additional_headers=headers
    )


def stamp(ago_s=0.0):
    """A station's clock: UTC, `ago_s` seconds ago."""
    at = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=ago_s)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def half_up(numerator, denominator):
    return (2 * numerator + denominator) // (2 * denominator)


def price(energy_wh):
    """What the tariff above makes of so much energy: (energy, fee, tax), in cents."""
    energy = half_up(energy_wh * TARIFF["energy_millis_per_kwh"], 1_000_000)
    fee = int(TARIFF["session_fee_minor"])
    return energy, fee, half_up((energy + fee) * TARIFF["tax_basis_points"], 10_000)


def accounts():
    """Posted balance (credits less debits) of each account, over all partitions, in cents."""
    sums = {}
    for account in get("/v1/accounts?limit=1000")["items"]:
        balance = int(account["credits_posted"]["minor"]) - int(account["debits_posted"]["minor"])
        sums[account["name"]] = sums.get(account["name"], 0) + balance
    return sums


def held():
    """What is held of all wallets, in cents."""
    items = get("/v1/accounts?limit=1000")["items"]
    return sum(int(a["debits_pending"]["minor"]) for a in items if a["name"].startswith("driver/"))


def check_books(sessions, deposits):
    """The books after `sessions` (each settled), with `deposits` paid in; both by driver."""
    books = accounts()
    assert sum(books.values()) == 0, books
    energy, fee, tax = (
        sum(part) for part in zip(*[price(s["energy_wh"]) for of in sessions.values() for s in of])
    )
    net = energy + fee
    assert books["funding"] == -sum(deposits.values()), books
    assert books["tax"] == tax, (books, tax)
    shares = sum(amount for name, amount in books.items() if name.startswith("site-host/"))
    shares += books["operator"] + books["platform"]
    assert shares == net, (books, net)
    clearing = sum(amount for name, amount in books.items() if name.startswith("clearing/"))
    assert clearing == 0, f"what left one partition has arrived in another: {books}"
    assert not any(amount for name, amount in books.items() if name.startswith("receivable/"))
    for name, of in sessions.items():
        spent = sum(sum(price(s["energy_wh"])) for s in of)
        assert books[f"driver/{name}"] == deposits[name] - spent, (name, books)
    assert held() == 0, "a settled session holds nothing"


def check_session(row, driver_name, energy_wh, state="SETTLED"):
    energy, fee, tax = price(energy_wh)
    assert row["state"] == state, row
    assert row["driver"] == driver_name, row
    assert row["energy_wh"] == energy_wh, row
    taxes = row["cost"].pop("taxes")
    cost = {part: int(money["minor"]) for part, money in row["cost"].items()}
    expected = {"energy": energy, "fee": fee, "time": 0, "parking": 0, "tax": tax}
    assert cost == expected | {"total": energy + fee + tax}, row
    assert sum(int(part["amount"]["minor"]) for part in taxes) == tax, row
    assert not row["suspect"], row


async def settled(session):
    """The session once it is settled: with the wallet in another partition that takes a moment."""
    path = f"/v1/sessions/{session}"
    return await until(
        f"{session} to settle", lambda: (row := get(path))["state"] == "SETTLED" and row
    )


def available(name):
    return int(get(f"/v1/drivers/{name}")["available"]["minor"])
