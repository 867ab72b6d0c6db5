"""A stock OCPP 2.0.1 client: a charge by card, a charge by app, and every command an operator has."""

import asyncio

from ocpp.routing import after, on
from ocpp.v201 import ChargePoint, call, call_result

import hub

STATION = "CP-201"
PASSWORD = "correct-horse-201"
PAID_IN = {"cleo": 10000, "dirk": 10000}
EVSE = {"id": 1, "connector_id": 1}


class Station(ChargePoint):
    def __init__(self, socket):
        super().__init__(STATION, socket)
        self.asked = []
        self.starts = asyncio.Queue()
        self.stops = asyncio.Queue()
        self.triggered = asyncio.Event()
        self.sequence = 0

    @on("RequestStartTransaction")
    def on_request_start(self, id_token, remote_start_id, evse_id=None, **_):
        self.starts.put_nowait((id_token["id_token"], remote_start_id, evse_id))
        return call_result.RequestStartTransaction(status="Accepted")

    @on("RequestStopTransaction")
    def on_request_stop(self, transaction_id):
        self.stops.put_nowait(transaction_id)
        return call_result.RequestStopTransaction(status="Accepted")

    @on("SetChargingProfile")
    def on_profile(self, evse_id, charging_profile):
        self.asked.append(("SetChargingProfile", evse_id, charging_profile))
        return call_result.SetChargingProfile(status="Accepted")

    @on("Reset")
    def on_reset(self, type, **_):
        self.asked.append(("Reset", type))
        return call_result.Reset(status="Scheduled")

    @on("ChangeAvailability")
    def on_availability(self, operational_status, evse=None):
        self.asked.append(("ChangeAvailability", operational_status, evse))
        return call_result.ChangeAvailability(status="Accepted")

    @on("UnlockConnector")
    def on_unlock(self, evse_id, connector_id):
        self.asked.append(("UnlockConnector", evse_id, connector_id))
        return call_result.UnlockConnector(status="UnlockFailed")

    @on("TriggerMessage")
    def on_trigger(self, requested_message, evse=None):
        self.asked.append(("TriggerMessage", requested_message, evse))
        return call_result.TriggerMessage(status="Accepted")

    @after("TriggerMessage")
    async def after_trigger(self, requested_message, evse=None):
        await self.status("Occupied")
        self.triggered.set()

    @on("GetVariables")
    def on_get_variables(self, get_variable_data):
        self.asked.append(("GetVariables", get_variable_data))
        return call_result.GetVariables(
            get_variable_result=[
                {**asked, "attribute_status": "Accepted", "attribute_value": "300"}
                for asked in get_variable_data
            ]
        )

    @on("SetVariables")
    def on_set_variables(self, set_variable_data):
        self.asked.append(("SetVariables", set_variable_data))
        return call_result.SetVariables(
            set_variable_result=[
                {
                    "attribute_status": "Accepted",
                    "component": asked["component"],
                    "variable": asked["variable"],
                }
                for asked in set_variable_data
            ]
        )

    @on("GetBaseReport")
    def on_base_report(self, request_id, report_base):
        self.asked.append(("GetBaseReport", report_base))
        return call_result.GetBaseReport(status="Accepted")

    @after("GetBaseReport")
    async def after_base_report(self, request_id, report_base):
        for part, more in enumerate((True, True, False)):
            data = {
                "component": {"name": "OCPPCommCtrlr"},
                "variable": {"name": f"Variable{part}"},
                "variable_attribute": [{"value": str(part)}],
            }
            await self.call(
                call.NotifyReport(
                    request_id=request_id,
                    generated_at=hub.stamp(),
                    seq_no=part,
                    tbc=more,
                    report_data=[data],
                )
            )

    @on("ClearCache")
    def on_clear_cache(self):
        self.asked.append(("ClearCache",))
        return call_result.ClearCache(status="Accepted")

    async def status(self, status):
        await self.call(
            call.StatusNotification(
                timestamp=hub.stamp(), connector_status=status, evse_id=1, connector_id=1
            )
        )

    async def event(self, kind, reason, transaction, register, power=0, ago_s=0.0, **more):
        info = {"transaction_id": transaction, **more.pop("info", {})}
        sampled = [
            {
                "value": register,
                "measurand": "Energy.Active.Import.Register",
                "unit_of_measure": {"unit": "Wh"},
            },
            {
                "value": power / 1000,
                "measurand": "Power.Active.Import",
                "unit_of_measure": {"unit": "W", "multiplier": 3},
            },
            {"value": 400.2, "measurand": "Voltage", "unit_of_measure": {"unit": "V"}},
            {"value": 20.25, "measurand": "Current.Import", "unit_of_measure": {"unit": "A"}},
            {"value": 71, "measurand": "SoC", "unit_of_measure": {"unit": "Percent"}},
        ]
        at = hub.stamp(ago_s)
        answer = await self.call(
            call.TransactionEvent(
                event_type=kind,
                timestamp=at,
                trigger_reason=reason,
                seq_no=self.sequence,
                transaction_info=info,
                meter_value=[{"timestamp": at, "sampled_value": sampled}],
                **more,
            )
        )
        self.sequence += 1
        return answer


def provision():
    hub.site("depot-201")
    hub.station(STATION, "depot-201", password=PASSWORD)
    hub.driver("cleo", "TAG-C")
    hub.driver("dirk", "TAG-D")


def token(uid):
    return {"id_token": uid, "type": "ISO14443"}


async def boot(station):
    answer = await station.call(
        call.BootNotification(
            charging_station={"model": "Model", "vendor_name": "Vendor", "serial_number": "S-1"},
            reason="PowerUp",
        )
    )
    assert answer.status == "Accepted" and answer.interval > 0, answer
    assert (await station.call(call.Heartbeat())).current_time
    await station.status("Available")
    seen = await hub.until(
        "the boot", lambda: (s := hub.get(f"/v1/stations/{STATION}"))["booted"] and s
    )
    assert (seen["vendor"], seen["serial"], seen["connected"]) == ("Vendor", "S-1", True), seen
    known = await station.call(call.Authorize(id_token=token("TAG-C")))
    assert known.id_token_info["status"] == "Accepted", known
    stranger = await station.call(call.Authorize(id_token=token("NOBODY")))
    assert stranger.id_token_info["status"] == "Unknown", stranger


async def charge_by_card(station):
    name = "4b1d3a6e-card"
    # The cable first, the card after it: nobody pays until somebody shows who.
    await station.event(
        "Started", "CablePluggedIn", name, 2000, ago_s=3600, evse=EVSE,
        info={"charging_state": "EVConnected"},
    )
    none = (await hub.aside(hub.get, f"/v1/sessions?station={STATION}"))["items"]
    assert none == [], none
    answer = await station.event(
        "Updated", "Authorized", name, 2000, ago_s=3590, evse=EVSE, id_token=token("TAG-C")
    )
    assert answer.id_token_info["status"] == "Accepted", answer
    assert await hub.aside(hub.available, "cleo") == 10000 - 2000, "the hold is placed"
    await station.status("Occupied")
    await station.event(
        "Updated", "MeterValuePeriodic", name, 9500, power=50_000, ago_s=100,
        info={"charging_state": "Charging"},
    )
    live = await hub.aside(hub.get, f"/v1/stations/{STATION}")
    values = live["connectors"][0]["live"]
    assert values["power_w"] == 50_000 and values["energy_wh"] == 9500, values
    assert values["voltage_v"] == 400.2 and values["soc_percent"] == 71, values
    running = (await hub.aside(hub.get, "/v1/sessions?live=true"))["items"]
    assert [s["transaction"] for s in running] == [name], running
    hub.check_session(running[0], "cleo", 7500, state="CHARGING")
    for _ in range(2):
        await station.event(
            "Ended", "EVDeparted", name, 14345, info={"stopped_reason": "EVDisconnected"}
        )
    row = await hub.settled(running[0]["id"])
    hub.check_session(row, "cleo", 12345)
    assert row["started_by"] == "card" and row["reason"] == "EVDisconnected", row
    assert await hub.aside(hub.available, "cleo") == 10000 - sum(hub.price(12345))
    await station.status("Available")
    return row


async def charge_by_app(station):
    body = {"station": STATION, "evse": 1, "token": "TAG-D"}
    session = await hub.aside(hub.post, "/v1/sessions", body, Idempotency_Key="app-201")
    told, remote_start, evse = await asyncio.wait_for(station.starts.get(), 10)
    assert (told, evse) == ("TAG-D", 1), (told, evse)
    name = "4b1d3a6e-app"
    await station.event(
        "Started", "RemoteStart", name, 14345, ago_s=1800, evse=EVSE, id_token=token("TAG-D"),
        info={"remote_start_id": remote_start, "charging_state": "Charging"},
    )
    path = f"/v1/sessions/{session['id']}"
    row = await hub.aside(hub.get, path)
    assert row["state"] == "CHARGING" and row["transaction"] == name, row
    assert row["started_by"] == "app", row
    await hub.aside(hub.post, f"{path}/stop", {})
    told = await asyncio.wait_for(station.stops.get(), 10)
    assert told == name, told
    await station.event("Ended", "RemoteStop", name, 20000, info={"stopped_reason": "Remote"})
    row = await hub.settled(session["id"])
    hub.check_session(row, "dirk", 5655)
    assert station.starts.empty(), "told once"
    return row


CONTROLLER = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}
VARIABLE = {"component": "OCPPCommCtrlr", "variable": "HeartbeatInterval"}

COMMANDS = [
    ({"command": "reset", "immediate": True}, {"status": "Scheduled"}, ("Reset", "Immediate")),
    ({"command": "reset"}, {"status": "Scheduled"}, ("Reset", "OnIdle")),
    (
        {"command": "change_availability", "evse": 1, "connector": 1, "operative": False},
        {"status": "Accepted"},
        ("ChangeAvailability", "Inoperative", EVSE),
    ),
    (
        {"command": "change_availability", "operative": True},
        {"status": "Accepted"},
        ("ChangeAvailability", "Operative", None),
    ),
    (
        {"command": "unlock_connector", "evse": 1},
        {"status": "UnlockFailed"},
        ("UnlockConnector", 1, 1),
    ),
    (
        {"command": "trigger_message", "message": "StatusNotification", "evse": 1, "connector": 1},
        {"status": "Accepted"},
        ("TriggerMessage", "StatusNotification", EVSE),
    ),
    (
        {"command": "get_variables", "variables": [VARIABLE]},
        {
            "getVariableResult": [
                {**CONTROLLER, "attributeStatus": "Accepted", "attributeValue": "300"}
            ]
        },
        ("GetVariables", [CONTROLLER]),
    ),
    (
        {"command": "set_variables", "variables": [{**VARIABLE, "value": "60"}]},
        {"setVariableResult": [{**CONTROLLER, "attributeStatus": "Accepted"}]},
        ("SetVariables", [{**CONTROLLER, "attribute_value": "60"}]),
    ),
    ({"command": "clear_cache"}, {"status": "Accepted"}, ("ClearCache",)),
]


async def every_command(station):
    for body, expected, asked in COMMANDS:
        answer = await hub.aside(hub.post, f"/v1/stations/{STATION}/commands", body)
        assert answer["reply"] == expected, (body, answer)
        assert station.asked[-1] == asked, (asked, station.asked)
    await asyncio.wait_for(station.triggered.wait(), 10)
    path = f"/v1/stations/{STATION}/commands"
    report = (await hub.aside(hub.post, path, {"command": "get_base_report"}))["reply"]
    assert report["complete"] is True, report
    names = [item["variable"]["name"] for item in report["reportData"]]
    assert names == ["Variable0", "Variable1", "Variable2"], report
    body = {"command": "set_charging_profile", "evse": 1, "connector": 1, "limit_w": 7400}
    answer = await hub.aside(hub.post, path, body)
    assert answer["reply"] == {"status": "Accepted"}, answer
    name, evse, profile = station.asked[-1]
    schedule = profile["charging_schedule"][0]
    assert (name, evse) == ("SetChargingProfile", 1), station.asked[-1]
    assert profile["charging_profile_purpose"] == "TxDefaultProfile", profile
    assert schedule["charging_rate_unit"] == "W", profile
    assert schedule["charging_schedule_period"][0]["limit"] == 7400, profile
    status, problem = await hub.aside(
        hub.request, "POST", path, {"command": "get_configuration"}
    )
    assert (status, problem["code"]) == (409, "not_in_version"), problem


async def main():
    provision()
    socket = await hub.socket(STATION, "ocpp2.0.1", PASSWORD)
    station = Station(socket)
    listening = asyncio.create_task(station.start())
    await boot(station)
    card = await charge_by_card(station)
    app = await charge_by_app(station)
    await every_command(station)
    await hub.aside(hub.check_books, {"cleo": [card], "dirk": [app]}, PAID_IN)
    listening.cancel()
    await socket.close()
    await hub.until("the end", lambda: not hub.get(f"/v1/stations/{STATION}")["connected"])
    print("passed")


asyncio.run(asyncio.wait_for(main(), 90))
