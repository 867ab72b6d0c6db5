//! OCPP 2.0.1: what a charging station writes, and how it reads the answers.

use super::message::{
    Answer, Context, Flow, Message, Profile, Sample, Setting, Status, StopReason, TransactionKind,
    TransactionMessage,
};
use novax_wire::ocpp::v201::{
    self, AttributeType, AuthorizationStatus, BootReason, ChargingState, Component,
    ConnectorStatus, Evse, IdToken, IdTokenInfo, IdTokenType, MeterValue, RegistrationStatus,
    ReportData, Request, SampledValue, Transaction, TransactionEventType, TriggerReason,
    UnitOfMeasure, Variable, VariableAttribute,
};
use novax_wire::ocpp::{CallError, Decimal, Number, Text, frame, parse_payload};

/// Appends the CALL.
pub(super) fn write(profile: &Profile, message: &Message, id: &str, out: &mut Vec<u8>) {
    let request = request(profile, message);
    debug_assert_eq!(request.check(), Ok(()), "a charger keeps the schema");
    frame::write_call(id, request.action(), &request, out);
}

fn request<'a>(profile: &'a Profile, message: &'a Message) -> Request<'a> {
    match message {
        Message::Boot => Request::BootNotification(v201::BootNotification {
            charging_station: v201::ChargingStation {
                model: Text::from(profile.model),
                vendor_name: Text::from(profile.vendor),
                serial_number: Some(Text::from(profile.identity.as_str())),
                firmware_version: Some(Text::from(profile.firmware)),
                modem: None,
            },
            reason: BootReason::PowerUp,
        }),
        Message::Heartbeat => Request::Heartbeat,
        Message::Status { evse, status, at } => {
            Request::StatusNotification(v201::StatusNotification {
                timestamp: *at,
                connector_status: status_word(*status),
                evse_id: *evse,
                connector_id: 1,
            })
        }
        Message::Authorize { token, .. } => {
            Request::Authorize(v201::Authorize { id_token: card(token), ..Default::default() })
        }
        Message::Transaction(event) => Request::TransactionEvent(transaction_event(event)),
        Message::Reading { evse, sample } => Request::MeterValues(v201::MeterValues {
            evse_id: *evse,
            meter_value: vec![meter_value(sample)],
        }),
        Message::Report { request_id, seq_no, last, settings, at } => {
            Request::NotifyReport(v201::NotifyReport {
                request_id: *request_id,
                generated_at: *at,
                seq_no: *seq_no,
                report_data: Some(settings.iter().map(report_data).collect()),
                tbc: Some(!last),
            })
        }
    }
}

fn transaction_event(event: &TransactionMessage) -> v201::TransactionEvent<'_> {
    let (facts, started) = (&event.facts, event.kind == TransactionKind::Start);
    let (event_type, trigger_reason, charging_state, stopped_reason) = match event.kind {
        TransactionKind::Start => {
            let trigger =
                if facts.remote { TriggerReason::RemoteStart } else { TriggerReason::Authorized };
            (TransactionEventType::Started, trigger, ChargingState::EvConnected, None)
        }
        TransactionKind::Meter(flow) => {
            let trigger = match event.sample.context {
                Context::Trigger => TriggerReason::Trigger,
                _ => TriggerReason::MeterValuePeriodic,
            };
            (TransactionEventType::Updated, trigger, flow_word(flow), None)
        }
        TransactionKind::Stop(reason) => {
            let (word, trigger) = reason_words(reason);
            (TransactionEventType::Ended, trigger, ChargingState::Idle, Some(Text::from(word)))
        }
    };
    v201::TransactionEvent {
        event_type,
        timestamp: event.sample.at,
        trigger_reason,
        seq_no: event.seq_no,
        transaction_info: Transaction {
            transaction_id: Text::from(facts.name.as_str()),
            charging_state: Some(charging_state),
            stopped_reason,
            remote_start_id: facts.remote_start_id,
            ..Transaction::default()
        },
        meter_value: Some(vec![meter_value(&event.sample)]),
        offline: event.offline.then_some(true),
        evse: started.then_some(Evse { id: facts.evse, connector_id: Some(1) }),
        id_token: started.then(|| card(&facts.token)),
        ..v201::TransactionEvent::default()
    }
}

fn card(token: &str) -> IdToken<'_> {
    IdToken::new(token, IdTokenType::Iso14443)
}

fn status_word(status: Status) -> ConnectorStatus<'static> {
    match status {
        Status::Available => ConnectorStatus::Available,
        Status::Unavailable => ConnectorStatus::Unavailable,
        Status::Preparing
        | Status::Charging
        | Status::SuspendedEv
        | Status::SuspendedEvse
        | Status::Finishing => ConnectorStatus::Occupied,
    }
}

fn flow_word(flow: Flow) -> ChargingState<'static> {
    match flow {
        Flow::Charging => ChargingState::Charging,
        Flow::SuspendedEv => ChargingState::SuspendedEv,
        Flow::SuspendedEvse => ChargingState::SuspendedEvse,
    }
}

fn reason_words(reason: StopReason) -> (&'static str, TriggerReason<'static>) {
    match reason {
        StopReason::Local => ("Local", TriggerReason::StopAuthorized),
        StopReason::Departed => ("EVDisconnected", TriggerReason::EvDeparted),
        StopReason::Remote => ("Remote", TriggerReason::RemoteStop),
        StopReason::DeAuthorized => ("DeAuthorized", TriggerReason::Deauthorized),
        StopReason::Unlock => ("Other", TriggerReason::UnlockCommand),
        StopReason::Reset { immediate: true } => ("ImmediateReset", TriggerReason::ResetCommand),
        StopReason::Reset { immediate: false } => ("Reboot", TriggerReason::ResetCommand),
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
        value: Number::from(Decimal::new(digits, exponent)),
        context: Some(Text::from(context)),
        measurand: Some(Text::from(measurand)),
        unit_of_measure: Some(UnitOfMeasure { unit: Some(Text::from(unit)), multiplier: None }),
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

fn report_data(setting: &Setting) -> ReportData<'_> {
    ReportData {
        component: Component { name: Text::from(setting.component), ..Component::default() },
        variable: Variable { name: Text::from(setting.variable), ..Variable::default() },
        variable_attribute: vec![VariableAttribute {
            r#type: Some(AttributeType::Actual),
            value: Some(Text::from(setting.value.as_str())),
            mutability: Some(Text::from(if setting.readonly { "ReadOnly" } else { "ReadWrite" })),
            ..VariableAttribute::default()
        }],
        variable_characteristics: None,
    }
}

/// Reads the CALLRESULT to `message`.
pub(super) fn read_answer(message: &Message, payload: &str) -> Result<Answer, CallError> {
    let accepted = |info: &IdTokenInfo<'_>| info.status == AuthorizationStatus::Accepted;
    Ok(match message {
        Message::Boot => {
            let answer: v201::BootNotificationResponse<'_> = parse_payload(payload)?;
            let accepted = answer.status == RegistrationStatus::Accepted;
            Answer::Booted { accepted, interval_s: answer.interval }
        }
        Message::Authorize { .. } => {
            let answer: v201::AuthorizeResponse<'_> = parse_payload(payload)?;
            Answer::Authorized(accepted(&answer.id_token_info))
        }
        Message::Transaction(_) => {
            let answer: v201::TransactionEventResponse<'_> = parse_payload(payload)?;
            let accepted = answer.id_token_info.as_ref().is_none_or(accepted);
            Answer::Transaction { number: None, accepted }
        }
        Message::Heartbeat
        | Message::Status { .. }
        | Message::Reading { .. }
        | Message::Report { .. } => Answer::Taken,
    })
}
