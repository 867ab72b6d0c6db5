//! OCPP 1.6J: messages to intents, outcomes to answers, commands to calls.

use super::signed::signed_v16;
use super::{EndIntent, Intent, OutgoingCall, ReplyContext, ReplyKind, StartIntent, token};
use crate::port::StationCall;
use novax_charging::{
    ConnectorStatus, Outcome, Refusal, StationCommand, StationState, TransactionRef,
};
use novax_model::{ConnectorRef, WattHours};
use novax_wire::ocpp::text::{Empty, Text};
use novax_wire::ocpp::v16::{
    self, AuthorizationStatus, AvailabilityType, BootNotificationResponse, ChargePointStatus,
    HeartbeatResponse, MessageTrigger, RegistrationStatus, Request, ResetType,
    StartTransactionResponse, StopTransactionResponse,
};
use novax_wire::ocpp::{CallError, frame, meter};

pub(super) fn read_call(
    action: &str,
    payload: &str,
    context: &ReplyContext,
) -> Result<Intent, CallError> {
    Ok(match Request::parse(action, payload)? {
        Request::Heartbeat => Intent::answer(&HeartbeatResponse { current_time: context.now }),
        Request::BootNotification(boot) => Intent::Boot {
            vendor: boot.charge_point_vendor.to_string(),
            model: boot.charge_point_model.to_string(),
            firmware: boot.firmware_version.map(|text| text.to_string()).unwrap_or_default(),
            serial: boot
                .charge_point_serial_number
                .or(boot.charge_box_serial_number)
                .map(|text| text.to_string())
                .unwrap_or_default(),
        },
        Request::StatusNotification(said) => Intent::Status {
            connector: ConnectorRef::of_v16(said.connector_id),
            status: status(&said.status),
            error: match said.error_code.as_str() {
                "NoError" => String::new(),
                code => code.to_owned(),
            },
            at: said.timestamp.unwrap_or(context.now),
        },
        Request::Authorize(asked) => Intent::Authorize { token: token(&asked.id_tag) },
        Request::StartTransaction(start) => Intent::Start(StartIntent {
            connector: ConnectorRef::of_v16(start.connector_id),
            transaction: None,
            remote_start_id: None,
            token: token(&start.id_tag),
            meter_start: Some(WattHours(start.meter_start)),
            at: start.timestamp,
        }),
        Request::StopTransaction(stop) => {
            let values = stop.transaction_data.unwrap_or_default();
            Intent::End(EndIntent {
                transaction: TransactionRef::V16(stop.transaction_id),
                meter_stop: Some(WattHours(stop.meter_stop)),
                at: stop.timestamp,
                reason: stop.reason.map_or_else(|| "Local".to_owned(), |text| text.to_string()),
                ticks: meter::readings_v16(&values).ticks,
                signed: signed_v16(&values),
            })
        }
        Request::MeterValues(values) => Intent::Meter {
            connector: ConnectorRef::of_v16(values.connector_id),
            ticks: meter::readings_v16(&values.meter_value).ticks,
        },
        Request::DataTransfer(_) => Intent::answer(&v16::DataTransferResponse {
            status: v16::DataTransferStatus::UnknownVendorId,
            ..v16::DataTransferResponse::default()
        }),
        // Noted by the counters; what they say is for the firmware and log features to come.
        _ => Intent::answer(&Empty {}),
    })
}

fn status(said: &ChargePointStatus<'_>) -> ConnectorStatus {
    match said {
        ChargePointStatus::Available => ConnectorStatus::Available,
        ChargePointStatus::Preparing => ConnectorStatus::Preparing,
        ChargePointStatus::Charging => ConnectorStatus::Charging,
        ChargePointStatus::SuspendedEvse => ConnectorStatus::SuspendedEvse,
        ChargePointStatus::SuspendedEv => ConnectorStatus::SuspendedEv,
        ChargePointStatus::Finishing => ConnectorStatus::Finishing,
        ChargePointStatus::Reserved => ConnectorStatus::Reserved,
        ChargePointStatus::Unavailable => ConnectorStatus::Unavailable,
        ChargePointStatus::Faulted => ConnectorStatus::Faulted,
        ChargePointStatus::Other(_) => ConnectorStatus::Unknown,
    }
}

fn authorization(refusal: Option<&Refusal>) -> AuthorizationStatus {
    match refusal {
        None => AuthorizationStatus::Accepted,
        Some(Refusal::UnknownToken | Refusal::UnknownDriver) => AuthorizationStatus::Invalid,
        Some(Refusal::TokenInUse) => AuthorizationStatus::ConcurrentTx,
        Some(_) => AuthorizationStatus::Blocked,
    }
}

pub(super) fn write_reply(
    id: &str,
    kind: ReplyKind,
    outcome: &Outcome,
    context: &ReplyContext,
    out: &mut Vec<u8>,
) {
    let refusal = match outcome {
        Outcome::Refused(refusal) => Some(refusal),
        Outcome::Started { refusal, .. } => refusal.as_ref(),
        _ => None,
    };
    match kind {
        ReplyKind::Boot => {
            let status = match outcome {
                Outcome::Booted { state: StationState::Accepted } => RegistrationStatus::Accepted,
                Outcome::Booted { state: StationState::Pending } => RegistrationStatus::Pending,
                _ => RegistrationStatus::Rejected,
            };
            let interval = context.heartbeat_interval_s;
            let answer = BootNotificationResponse { current_time: context.now, interval, status };
            frame::write_result(id, &answer, out);
        }
        ReplyKind::Authorize => {
            let answer = v16::AuthorizeResponse { id_tag_info: authorization(refusal).into() };
            frame::write_result(id, &answer, out);
        }
        ReplyKind::Start => {
            let transaction_id = match outcome {
                Outcome::Started { transaction_id, .. } => *transaction_id,
                // The station is not one of ours any more: there is no transaction to name.
                _ => 0,
            };
            let id_tag_info = authorization(refusal).into();
            frame::write_result(id, &StartTransactionResponse { id_tag_info, transaction_id }, out);
        }
        ReplyKind::Stop => {
            let id_tag_info = Some(AuthorizationStatus::Accepted.into());
            frame::write_result(id, &StopTransactionResponse { id_tag_info }, out);
        }
        ReplyKind::Empty | ReplyKind::TransactionEvent { .. } => {
            frame::write_result(id, &Empty {}, out);
        }
    }
}

fn transaction_number(transaction: &TransactionRef) -> i32 {
    match transaction {
        TransactionRef::V16(number) => *number,
        // A 2.x transaction of a station that now speaks 1.6: no such number exists.
        TransactionRef::V201(_) => -1,
    }
}

pub(super) fn write_command(command: &StationCommand) -> OutgoingCall {
    let command = match command {
        StationCommand::RemoteStart { connector, token, .. } => {
            v16::Command::RemoteStartTransaction(v16::RemoteStartTransaction {
                id_tag: Text::from(token.as_str()),
                connector_id: Some(connector.evse),
                charging_profile: None,
            })
        }
        StationCommand::RemoteStop { transaction, .. } => {
            v16::Command::RemoteStopTransaction(v16::RemoteStopTransaction {
                transaction_id: transaction_number(transaction),
            })
        }
        StationCommand::SetLimit { connector, transaction, limit } => {
            let number = transaction_number(transaction);
            let profile = i32::from(connector.evse);
            v16::Command::SetChargingProfile(v16::SetChargingProfile::transaction_limit(
                connector.evse,
                number,
                profile,
                *limit,
            ))
        }
    };
    OutgoingCall::new(command.action(), &command)
}

pub(super) fn write_call(call: &StationCall, request_id: i32) -> Option<OutgoingCall> {
    let command = match call {
        StationCall::Reset { immediate } => v16::Command::Reset(v16::Reset {
            r#type: if *immediate { ResetType::Hard } else { ResetType::Soft },
        }),
        StationCall::ChangeAvailability { connector, operative } => {
            let r#type = if *operative {
                AvailabilityType::Operative
            } else {
                AvailabilityType::Inoperative
            };
            let connector_id = connector.evse;
            v16::Command::ChangeAvailability(v16::ChangeAvailability { connector_id, r#type })
        }
        StationCall::UnlockConnector { connector } => {
            v16::Command::UnlockConnector(v16::UnlockConnector { connector_id: connector.evse })
        }
        StationCall::TriggerMessage { message, connector } => {
            v16::Command::TriggerMessage(v16::TriggerMessage {
                requested_message: MessageTrigger::from(Text::from(message.as_str())),
                connector_id: connector.map(|connector| connector.evse),
            })
        }
        StationCall::GetConfiguration { keys } => {
            let keys: Vec<Text<'_>> = keys.iter().map(|key| Text::from(key.as_str())).collect();
            let key = (!keys.is_empty()).then_some(keys);
            v16::Command::GetConfiguration(v16::GetConfiguration { key })
        }
        StationCall::ChangeConfiguration { key, value } => {
            v16::Command::ChangeConfiguration(v16::ChangeConfiguration {
                key: Text::from(key.as_str()),
                value: Text::from(value.as_str()),
            })
        }
        StationCall::SetChargingProfile { connector, limit } => {
            v16::Command::SetChargingProfile(default_limit(connector.evse, request_id, *limit))
        }
        StationCall::ClearCache => v16::Command::ClearCache,
        StationCall::GetVariables { .. }
        | StationCall::SetVariables { .. }
        | StationCall::GetBaseReport { .. } => return None,
    };
    Some(OutgoingCall::new(command.action(), &command))
}

/// A limit for whatever charges there from now on, not tied to a transaction.
fn default_limit(
    connector_id: u16,
    profile_id: i32,
    limit: novax_model::Watts,
) -> v16::SetChargingProfile {
    let mut profile =
        v16::SetChargingProfile::transaction_limit(connector_id, 0, profile_id, limit);
    let inner = &mut profile.cs_charging_profiles;
    inner.transaction_id = None;
    inner.charging_profile_purpose = if connector_id == 0 {
        v16::ChargingProfilePurpose::ChargePointMaxProfile
    } else {
        v16::ChargingProfilePurpose::TxDefaultProfile
    };
    profile
}
