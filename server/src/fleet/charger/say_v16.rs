//! OCPP 1.6J: what a charge point writes, and how it reads the answers.

use super::message::{
    Answer, Context, Message, Profile, Sample, Status, StopReason, TransactionKind,
    TransactionMessage,
};
use novax_wire::ocpp::v16::{
    self, AuthorizationStatus, ChargePointStatus, MeterValue, RegistrationStatus, Request,
    SampledValue,
};
use novax_wire::ocpp::{CallError, Decimal, Text, frame, parse_payload};

/// Appends the CALL. `number` is the transaction's, as the central system gave it. `false`, and
/// nothing is written, when the message needs that number and there is none, or 1.6 has no such call.
pub(super) fn write(
    profile: &Profile,
    message: &Message,
    number: Option<i32>,
    id: &str,
    out: &mut Vec<u8>,
) -> bool {
    let Some(request) = request(profile, message, number) else { return false };
    debug_assert_eq!(request.check(), Ok(()), "a charger keeps the schema");
    frame::write_call(id, request.action(), &request, out);
    true
}

fn request<'a>(
    profile: &'a Profile,
    message: &'a Message,
    number: Option<i32>,
) -> Option<Request<'a>> {
    Some(match message {
        Message::Boot => Request::BootNotification(v16::BootNotification {
            charge_point_vendor: Text::from(profile.vendor),
            charge_point_model: Text::from(profile.model),
            charge_point_serial_number: Some(Text::from(profile.identity.as_str())),
            firmware_version: Some(Text::from(profile.firmware)),
            ..v16::BootNotification::default()
        }),
        Message::Heartbeat => Request::Heartbeat,
        Message::Status { evse, status, at } => {
            Request::StatusNotification(v16::StatusNotification {
                connector_id: *evse,
                error_code: Text::from("NoError"),
                status: status_word(*status),
                timestamp: Some(*at),
                ..v16::StatusNotification::default()
            })
        }
        Message::Authorize { token, .. } => {
            Request::Authorize(v16::Authorize { id_tag: Text::from(token.as_str()) })
        }
        Message::Transaction(event) => return transaction(event, number),
        Message::Reading { evse, sample } => Request::MeterValues(v16::MeterValues {
            connector_id: *evse,
            meter_value: vec![meter_value(sample)],
            transaction_id: None,
        }),
        Message::Report { .. } => return None,
    })
}

fn transaction(event: &TransactionMessage, number: Option<i32>) -> Option<Request<'_>> {
    let (facts, sample) = (&event.facts, &event.sample);
    Some(match event.kind {
        TransactionKind::Start => Request::StartTransaction(v16::StartTransaction {
            connector_id: facts.evse,
            id_tag: Text::from(facts.token.as_str()),
            meter_start: facts.meter_start_wh,
            timestamp: facts.started,
            reservation_id: None,
        }),
        TransactionKind::Meter(_) => Request::MeterValues(v16::MeterValues {
            connector_id: facts.evse,
            meter_value: vec![meter_value(sample)],
            transaction_id: Some(number?),
        }),
        TransactionKind::Stop(reason) => Request::StopTransaction(v16::StopTransaction {
            meter_stop: sample.measured.register_wh,
            timestamp: sample.at,
            transaction_id: number?,
            id_tag: Some(Text::from(facts.token.as_str())),
            reason: Some(Text::from(reason_word(reason))),
            transaction_data: None,
        }),
    })
}

fn status_word(status: Status) -> ChargePointStatus<'static> {
    match status {
        Status::Available => ChargePointStatus::Available,
        Status::Preparing => ChargePointStatus::Preparing,
        Status::Charging => ChargePointStatus::Charging,
        Status::SuspendedEv => ChargePointStatus::SuspendedEv,
        Status::SuspendedEvse => ChargePointStatus::SuspendedEvse,
        Status::Finishing => ChargePointStatus::Finishing,
        Status::Unavailable => ChargePointStatus::Unavailable,
    }
}

fn reason_word(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Local => "Local",
        StopReason::Departed => "EVDisconnected",
        StopReason::Remote => "Remote",
        StopReason::DeAuthorized => "DeAuthorized",
        StopReason::Unlock => "UnlockCommand",
        StopReason::Reset { immediate: true } => "HardReset",
        StopReason::Reset { immediate: false } => "SoftReset",
    }
}

fn meter_value(sample: &Sample) -> MeterValue<'static> {
    let context = match sample.context {
        Context::Begin => "Transaction.Begin",
        Context::Periodic => "Sample.Periodic",
        Context::End => "Transaction.End",
        Context::Trigger => "Trigger",
    };
    let seen = &sample.measured;
    let value = |measurand, unit, digits, exponent| SampledValue {
        value: Text::from(Decimal::new(digits, exponent).to_string()),
        context: Some(Text::from(context)),
        measurand: Some(Text::from(measurand)),
        unit: Some(Text::from(unit)),
        ..SampledValue::default()
    };
    MeterValue {
        timestamp: sample.at,
        sampled_value: vec![
            value("Energy.Active.Import.Register", "Wh", seen.register_wh, 0),
            value("Power.Active.Import", "W", seen.power_w, 0),
            value("Voltage", "V", seen.voltage_dv, -1),
            value("Current.Import", "A", seen.current_ca, -2),
            value("Temperature", "Celsius", seen.temperature_dc, -1),
            value("SoC", "Percent", seen.soc_permille, -1),
        ],
    }
}

/// Reads the CALLRESULT to `message`.
pub(super) fn read_answer(message: &Message, payload: &str) -> Result<Answer, CallError> {
    let accepted = |status| status == AuthorizationStatus::Accepted;
    Ok(match message {
        Message::Boot => {
            let answer: v16::BootNotificationResponse = parse_payload(payload)?;
            let accepted = answer.status == RegistrationStatus::Accepted;
            Answer::Booted { accepted, interval_s: answer.interval }
        }
        Message::Authorize { .. } => {
            let answer: v16::AuthorizeResponse<'_> = parse_payload(payload)?;
            Answer::Authorized(accepted(answer.id_tag_info.status))
        }
        Message::Transaction(TransactionMessage { kind: TransactionKind::Start, .. }) => {
            let answer: v16::StartTransactionResponse<'_> = parse_payload(payload)?;
            let accepted = accepted(answer.id_tag_info.status);
            Answer::Transaction { number: Some(answer.transaction_id), accepted }
        }
        Message::Transaction(_) => Answer::Transaction { number: None, accepted: true },
        Message::Heartbeat
        | Message::Status { .. }
        | Message::Reading { .. }
        | Message::Report { .. } => Answer::Taken,
    })
}
