"""A stock OCPP 1.6 client: a charge by card, a charge by app, and every command an operator has."""

import asyncio

from ocpp.routing import after, on
from ocpp.v16 import ChargePoint, call, call_result

import hub

STATION = "CP-16"
PASSWORD = "correct-horse-16"
PAID_IN = {"anna": 10000, "bert": 10000}


class Station(ChargePoint):
    def __init__(self, socket):
        super().__init__(STATION, socket)
        self.asked = []
        self.starts = asyncio.Queue()
        self.stops = asyncio.Queue()
        self.triggered = asyncio.Event()

    @on("RemoteStartTransaction")
    def on_remote_start(self, id_tag, connector_id=None, **_):
        self.starts.put_nowait((id_tag, connector_id))
        return call_result.RemoteStartTransaction(status="Accepted")

    @on("RemoteStopTransaction")
    def on_remote_stop(self, transaction_id):
        self.stops.put_nowait(transaction_id)
        return call_result.RemoteStopTransaction(status="Accepted")

    @on("SetChargingProfile")
    def on_profile(self, connector_id, cs_charging_profiles):
        self.asked.append(("SetChargingProfile", connector_id, cs_charging_profiles))
        return call_result.SetChargingProfile(status="Accepted")

    @on("Reset")
    def on_reset(self, type):
        self.asked.append(("Reset", type))
        return call_result.Reset(status="Accepted")

    @on("ChangeAvailability")
    def on_availability(self, connector_id, type):
        self.asked.append(("ChangeAvailability", connector_id, type))
        return call_result.ChangeAvailability(status="Scheduled")

    @on("UnlockConnector")
    def on_unlock(self, connector_id):
        self.asked.append(("UnlockConnector", connector_id))
        return call_result.UnlockConnector(status="Unlocked")

    @on("TriggerMessage")
    def on_trigger(self, requested_message, connector_id=None):
        self.asked.append(("TriggerMessage", requested_message, connector_id))
        return call_result.TriggerMessage(status="Accepted")

    @after("TriggerMessage")
    async def after_trigger(self, requested_message, connector_id=None):
        await self.status("Preparing")
        self.triggered.set()

    @on("GetConfiguration")
    def on_get_configuration(self, key=None):
        self.asked.append(("GetConfiguration", key))
        known = {"key": "HeartbeatInterval", "readonly": False, "value": "300"}
        return call_result.GetConfiguration(configuration_key=[known], unknown_key=["Nonsense"])

    @on("ChangeConfiguration")
    def on_change_configuration(self, key, value):
        self.asked.append(("ChangeConfiguration", key, value))
        return call_result.ChangeConfiguration(status="RebootRequired")

    @on("ClearCache")
    def on_clear_cache(self):
        self.asked.append(("ClearCache",))
        return call_result.ClearCache(status="Accepted")

    async def status(self, status):
        await self.call(
            call.StatusNotification(connector_id=1, error_code="NoError", status=status)
        )

    async def start_transaction(self, token, meter_start, at):
        return await self.call(
            call.StartTransaction(
                connector_id=1, id_tag=token, meter_start=meter_start, timestamp=at
            )
        )

    async def meter(self, transaction, register, power):
        sampled = [
            {"value": str(register), "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
            {"value": str(power), "measurand": "Power.Active.Import", "unit": "W"},
            {"value": "230.1", "measurand": "Voltage", "phase": "L1-N", "unit": "V"},
            {"value": "16.05", "measurand": "Current.Import", "unit": "A"},
            {"value": "55.5", "measurand": "SoC", "unit": "Percent"},
            {"value": "31.5", "measurand": "Temperature", "unit": "Celsius"},
        ]
        value = [{"timestamp": hub.stamp(), "sampledValue": sampled}]
        await self.call(
            call.MeterValues(connector_id=1, transaction_id=transaction, meter_value=value)
        )


def provision():
    hub.site("depot-16")
    hub.station(STATION, "depot-16", password=PASSWORD)
    hub.driver("anna", "TAG-A")
    hub.driver("bert", "TAG-B")


async def boot(station):
    answer = await station.call(
        call.BootNotification(charge_point_model="Model", charge_point_vendor="Vendor")
    )
    assert answer.status == "Accepted" and answer.interval > 0, answer
    assert (await station.call(call.Heartbeat())).current_time
    await station.status("Available")
    seen = await hub.until(
        "the boot", lambda: (s := hub.get(f"/v1/stations/{STATION}"))["booted"] and s
    )
    assert (seen["vendor"], seen["model"], seen["connected"]) == ("Vendor", "Model", True), seen
    known = await station.call(call.Authorize(id_tag="TAG-A"))
    assert known.id_tag_info["status"] == "Accepted", known
    stranger = await station.call(call.Authorize(id_tag="NOBODY"))
    assert stranger.id_tag_info["status"] == "Invalid", stranger


async def charge_by_card(station):
    began = hub.stamp(3600)
    answer = await station.start_transaction("TAG-A", 1000, began)
    transaction = answer.transaction_id
    assert answer.id_tag_info["status"] == "Accepted" and transaction > 0, answer
    again = await station.start_transaction("TAG-A", 1000, began)
    assert again.transaction_id == transaction, "a repeated start is the same transaction"
    assert await hub.aside(hub.available, "anna") == 10000 - 2000, "the hold is placed"
    await station.status("Charging")
    await station.meter(transaction, 6000, 11000)
    live = await hub.aside(hub.get, f"/v1/stations/{STATION}")
    values = live["connectors"][0]["live"]
    assert values["power_w"] == 11000 and values["energy_wh"] == 6000, values
    assert values["voltage_v"] == 230.1 and values["current_a"] == 16.05, values
    assert values["soc_percent"] == 55.5 and values["temperature_c"] == 31.5, values
    running = (await hub.aside(hub.get, "/v1/sessions?live=true"))["items"]
    assert [s["transaction"] for s in running] == [str(transaction)], running
    hub.check_session(running[0], "anna", 5000, state="CHARGING")
    for _ in range(2):
        # The second is what a station sends that did not hear the first answer.
        stopped = await station.call(
            call.StopTransaction(
                transaction_id=transaction, meter_stop=11234, timestamp=hub.stamp(), reason="Local"
            )
        )
        assert stopped.id_tag_info["status"] == "Accepted", stopped
    await station.status("Available")
    row = await hub.settled(running[0]["id"])
    hub.check_session(row, "anna", 10234)
    assert row["started_by"] == "card" and row["reason"] == "Local", row
    assert await hub.aside(hub.available, "anna") == 10000 - sum(hub.price(10234))
    return row


async def charge_by_app(station):
    body = {"station": STATION, "connector": 1, "driver": "bert"}
    session = await hub.aside(hub.post, "/v1/sessions", body, Idempotency_Key="app-16")
    assert session["state"] in ("STARTING", "START_ACCEPTED"), session
    same = await hub.aside(hub.post, "/v1/sessions", body, Idempotency_Key="app-16")
    assert same["id"] == session["id"], "the same key is the same session"
    told = await asyncio.wait_for(station.starts.get(), 10)
    assert told == ("TAG-B", 1), told
    answer = await station.start_transaction("TAG-B", 11234, hub.stamp(3000))
    assert answer.id_tag_info["status"] == "Accepted", answer
    await station.meter(answer.transaction_id, 15000, 7400)
    path = f"/v1/sessions/{session['id']}"
    row = await hub.aside(hub.get, path)
    assert row["state"] == "CHARGING" and row["started_by"] == "app", row
    assert row["transaction"] == str(answer.transaction_id), row
    await hub.aside(hub.post, f"{path}/stop", {})
    told = await asyncio.wait_for(station.stops.get(), 10)
    assert told == answer.transaction_id, told
    await station.call(
        call.StopTransaction(
            transaction_id=told, meter_stop=16000, timestamp=hub.stamp(), reason="Remote"
        )
    )
    row = await hub.settled(session["id"])
    hub.check_session(row, "bert", 4766)
    assert station.starts.empty(), "told once"
    return row


COMMANDS = [
    ({"command": "reset", "immediate": True}, {"status": "Accepted"}, ("Reset", "Hard")),
    ({"command": "reset"}, {"status": "Accepted"}, ("Reset", "Soft")),
    (
        {"command": "change_availability", "evse": 1, "connector": 1, "operative": False},
        {"status": "Scheduled"},
        ("ChangeAvailability", 1, "Inoperative"),
    ),
    (
        {"command": "change_availability", "operative": True},
        {"status": "Scheduled"},
        ("ChangeAvailability", 0, "Operative"),
    ),
    ({"command": "unlock_connector", "evse": 1}, {"status": "Unlocked"}, ("UnlockConnector", 1)),
    (
        {"command": "trigger_message", "message": "StatusNotification", "evse": 1, "connector": 1},
        {"status": "Accepted"},
        ("TriggerMessage", "StatusNotification", 1),
    ),
    (
        {"command": "get_configuration", "keys": ["HeartbeatInterval", "Nonsense"]},
        {
            "configurationKey": [
                {"key": "HeartbeatInterval", "readonly": False, "value": "300"}
            ],
            "unknownKey": ["Nonsense"],
        },
        ("GetConfiguration", ["HeartbeatInterval", "Nonsense"]),
    ),
    (
        {"command": "change_configuration", "key": "HeartbeatInterval", "value": "60"},
        {"status": "RebootRequired"},
        ("ChangeConfiguration", "HeartbeatInterval", "60"),
    ),
    ({"command": "clear_cache"}, {"status": "Accepted"}, ("ClearCache",)),
]


async def every_command(station):
    for body, expected, asked in COMMANDS:
        answer = await hub.aside(hub.post, f"/v1/stations/{STATION}/commands", body)
        assert answer["reply"] == expected, (body, answer)
        assert station.asked[-1] == asked, (asked, station.asked)
    await asyncio.wait_for(station.triggered.wait(), 10)
    body = {"command": "set_charging_profile", "evse": 1, "connector": 1, "limit_w": 7400}
    answer = await hub.aside(hub.post, f"/v1/stations/{STATION}/commands", body)
    assert answer["reply"] == {"status": "Accepted"}, answer
    name, connector, profile = station.asked[-1]
    schedule = profile["charging_schedule"]
    assert (name, connector) == ("SetChargingProfile", 1), station.asked[-1]
    assert profile["charging_profile_purpose"] == "TxDefaultProfile", profile
    assert schedule["charging_rate_unit"] == "W", profile
    assert schedule["charging_schedule_period"][0]["limit"] == 7400, profile
    status, problem = await hub.aside(
        hub.request, "POST", f"/v1/stations/{STATION}/commands",
        {"command": "get_base_report"},
    )
    assert (status, problem["code"]) == (409, "not_in_version"), problem


async def main():
    provision()
    socket = await hub.socket(STATION, "ocpp1.6", PASSWORD)
    station = Station(socket)
    listening = asyncio.create_task(station.start())
    await boot(station)
    card = await charge_by_card(station)
    app = await charge_by_app(station)
    await every_command(station)
    await hub.aside(hub.check_books, {"anna": [card], "bert": [app]}, PAID_IN)
    listening.cancel()
    await socket.close()
    await hub.until("the end", lambda: not hub.get(f"/v1/stations/{STATION}")["connected"])
    print("passed")


asyncio.run(asyncio.wait_for(main(), 90))
