//! OCPP 2.0.1: messages to intents, outcomes to answers, commands to calls.

use super::signed::signed_v201;
use super::{Intent, OutgoingCall, Phase, ReplyContext, ReplyKind, TransactionEvent, token};
use crate::port::StationCall;
use novax_charging::{
    ConnectorStatus, Outcome, Refusal, StationCommand, StationState, TransactionRef,
};
use novax_model::{ConnectorRef, Watts};
use novax_wire::ocpp::text::{Empty, Text};
use novax_wire::ocpp::v201::{
    self, AuthorizationStatus, AuthorizeResponse, BootNotificationResponse, Component, Evse,
    HeartbeatResponse, IdToken, IdTokenType, MessageTrigger, OperationalStatus, RegistrationStatus,
    ReportBase, Request, ResetType, TransactionEventResponse, TransactionEventType, Variable,
};
use novax_wire::ocpp::{CallError, frame, meter};

pub(super) fn read_call(
    action: &str,
    payload: &str,
    context: &ReplyContext,
) -> Result<Intent, CallError> {
    Ok(match Request::parse(action, payload)? {
        Request::Heartbeat => Intent::answer(&HeartbeatResponse { current_time: context.now }),
        Request::BootNotification(boot) => {
            let station = boot.charging_station;
            Intent::Boot {
                vendor: station.vendor_name.to_string(),
                model: station.model.to_string(),
                firmware: station.firmware_version.map(|text| text.to_string()).unwrap_or_default(),
                serial: station.serial_number.map(|text| text.to_string()).unwrap_or_default(),
            }
        }
        Request::StatusNotification(said) => Intent::Status {
            connector: ConnectorRef { evse: said.evse_id, connector: said.connector_id },
            status: status(&said.connector_status),
            error: String::new(),
            at: said.timestamp,
        },
        Request::Authorize(asked) => Intent::Authorize { token: token(&asked.id_token.id_token) },
        Request::TransactionEvent(event) => Intent::TransactionEvent(read_event(event)),
        Request::MeterValues(values) => Intent::Meter {
            connector: ConnectorRef { evse: values.evse_id, connector: 1 },
            ticks: meter::readings_v201(&values.meter_value).ticks,
        },
        Request::NotifyReport(report) => Intent::Report {
            request_id: report.request_id,
            to_be_continued: report.tbc.unwrap_or(false),
            data: report
                .report_data
                .map(|data| serde_json::to_string(&data).expect("messages are plain data"))
                .unwrap_or_default(),
        },
        Request::DataTransfer(_) => Intent::answer(&v201::DataTransferResponse {
            status: v201::DataTransferStatus::UnknownVendorId,
            ..v201::DataTransferResponse::default()
        }),
        // Noted by the counters; what they say is for the firmware, log and monitoring features to come.
        _ => Intent::answer(&Empty {}),
    })
}

fn read_event(event: v201::TransactionEvent<'_>) -> TransactionEvent {
    let transaction = event.transaction_info;
    let values = event.meter_value.unwrap_or_default();
    let anonymous = |shown: &IdToken<'_>| shown.r#type == IdTokenType::NoAuthorization;
    TransactionEvent {
        phase: match event.event_type {
            TransactionEventType::Started => Phase::Started,
            TransactionEventType::Updated => Phase::Updated,
            TransactionEventType::Ended => Phase::Ended,
        },
        transaction: TransactionRef::V201(transaction.transaction_id.as_str().into()),
        connector: event
            .evse
            .map(|evse| ConnectorRef { evse: evse.id, connector: evse.connector_id.unwrap_or(1) }),
        token: event.id_token.filter(|shown| !anonymous(shown)).map(|shown| token(&shown.id_token)),
        remote_start_id: transaction.remote_start_id,
        at: event.timestamp,
        ticks: meter::readings_v201(&values).ticks,
        signed: signed_v201(&values),
        reason: transaction
            .stopped_reason
            .map_or_else(|| "Local".to_owned(), |text| text.to_string()),
    }
}

fn status(said: &v201::ConnectorStatus<'_>) -> ConnectorStatus {
    match said {
        v201::ConnectorStatus::Available => ConnectorStatus::Available,
        v201::ConnectorStatus::Occupied => ConnectorStatus::Occupied,
        v201::ConnectorStatus::Reserved => ConnectorStatus::Reserved,
        v201::ConnectorStatus::Unavailable => ConnectorStatus::Unavailable,
        v201::ConnectorStatus::Faulted => ConnectorStatus::Faulted,
        v201::ConnectorStatus::Other(_) => ConnectorStatus::Unknown,
    }
}

fn authorization(refusal: Option<&Refusal>) -> AuthorizationStatus {
    match refusal {
        None => AuthorizationStatus::Accepted,
        Some(Refusal::UnknownToken | Refusal::UnknownDriver) => AuthorizationStatus::Unknown,
        Some(Refusal::InsufficientFunds { .. }) => AuthorizationStatus::NoCredit,
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
            let answer = BootNotificationResponse {
                current_time: context.now,
                interval: context.heartbeat_interval_s,
                status,
                status_info: None,
            };
            frame::write_result(id, &answer, out);
        }
        ReplyKind::Authorize => {
            let id_token_info = authorization(refusal).into();
            let answer = AuthorizeResponse { id_token_info, ..AuthorizeResponse::default() };
            frame::write_result(id, &answer, out);
        }
        ReplyKind::TransactionEvent { token } => {
            let id_token_info = token.then(|| authorization(refusal).into());
            let answer =
                TransactionEventResponse { id_token_info, ..TransactionEventResponse::default() };
            frame::write_result(id, &answer, out);
        }
        ReplyKind::Start => {
            let id_token_info = Some(authorization(refusal).into());
            let answer =
                TransactionEventResponse { id_token_info, ..TransactionEventResponse::default() };
            frame::write_result(id, &answer, out);
        }
        ReplyKind::Empty | ReplyKind::Stop => frame::write_result(id, &Empty {}, out),
    }
}

fn transaction_text(transaction: &TransactionRef) -> Text<'_> {
    match transaction {
        TransactionRef::V201(text) => Text::from(&**text),
        // A 1.6 transaction of a station that now speaks 2.0.1.
        TransactionRef::V16(number) => Text::from(number.to_string()),
    }
}

pub(super) fn write_command(command: &StationCommand) -> OutgoingCall {
    let command = match command {
        StationCommand::RemoteStart { connector, token, remote_start_id, .. } => {
            v201::Command::RequestStartTransaction(v201::RequestStartTransaction {
                id_token: IdToken::new(token.as_str(), IdTokenType::Central),
                remote_start_id: *remote_start_id,
                evse_id: Some(connector.evse),
                ..v201::RequestStartTransaction::default()
            })
        }
        StationCommand::RemoteStop { transaction, .. } => {
            let transaction_id = transaction_text(transaction);
            v201::Command::RequestStopTransaction(v201::RequestStopTransaction { transaction_id })
        }
        StationCommand::SetLimit { connector, transaction, limit } => {
            v201::Command::SetChargingProfile(v201::SetChargingProfile::transaction_limit(
                connector.evse,
                transaction_text(transaction),
                i32::from(connector.evse),
                *limit,
            ))
        }
    };
    OutgoingCall::new(command.action(), &command)
}

pub(super) fn write_call(call: &StationCall, request_id: i32) -> Option<OutgoingCall> {
    let command = match call {
        StationCall::Reset { immediate } => v201::Command::Reset(v201::Reset {
            r#type: if *immediate { ResetType::Immediate } else { ResetType::OnIdle },
            evse_id: None,
        }),
        StationCall::ChangeAvailability { connector, operative } => {
            let operational_status = if *operative {
                OperationalStatus::Operative
            } else {
                OperationalStatus::Inoperative
            };
            let evse = evse(*connector);
            v201::Command::ChangeAvailability(v201::ChangeAvailability { operational_status, evse })
        }
        StationCall::UnlockConnector { connector } => {
            v201::Command::UnlockConnector(v201::UnlockConnector {
                evse_id: connector.evse,
                connector_id: connector.connector,
            })
        }
        StationCall::TriggerMessage { message, connector } => {
            v201::Command::TriggerMessage(v201::TriggerMessage {
                requested_message: MessageTrigger::from(Text::from(message.as_str())),
                evse: connector.and_then(evse),
            })
        }
        StationCall::GetVariables { variables } => {
            let get_variable_data = variables
                .iter()
                .map(|(component, variable)| v201::GetVariableData {
                    component: named_component(component),
                    variable: named_variable(variable),
                    attribute_type: None,
                })
                .collect();
            v201::Command::GetVariables(v201::GetVariables { get_variable_data })
        }
        StationCall::SetVariables { variables } => {
            let set_variable_data = variables
                .iter()
                .map(|(component, variable, value)| v201::SetVariableData {
                    attribute_value: Text::from(value.as_str()),
                    component: named_component(component),
                    variable: named_variable(variable),
                    attribute_type: None,
                })
                .collect();
            v201::Command::SetVariables(v201::SetVariables { set_variable_data })
        }
        StationCall::GetBaseReport { report } => {
            let report_base = match report.as_str() {
                "FullInventory" => ReportBase::FullInventory,
                "ConfigurationInventory" => ReportBase::ConfigurationInventory,
                "SummaryInventory" => ReportBase::SummaryInventory,
                _ => return None,
            };
            v201::Command::GetBaseReport(v201::GetBaseReport { request_id, report_base })
        }
        StationCall::SetChargingProfile { connector, limit } => {
            v201::Command::SetChargingProfile(default_limit(connector.evse, request_id, *limit))
        }
        StationCall::ClearCache => v201::Command::ClearCache,
        StationCall::GetConfiguration { .. } | StationCall::ChangeConfiguration { .. } => {
            return None;
        }
    };
    Some(OutgoingCall::new(command.action(), &command))
}

fn evse(connector: ConnectorRef) -> Option<Evse> {
    if connector.evse == 0 {
        return None;
    }
    let connector_id = (connector.connector != 0).then_some(connector.connector);
    Some(Evse { id: connector.evse, connector_id })
}

fn named_component(name: &str) -> Component<'_> {
    Component { name: Text::from(name), ..Component::default() }
}

fn named_variable(name: &str) -> Variable<'_> {
    Variable { name: Text::from(name), ..Variable::default() }
}

/// A limit for whatever charges there from now on, not tied to a transaction.
fn default_limit(evse_id: u16, profile_id: i32, limit: Watts) -> v201::SetChargingProfile<'static> {
    let mut set = v201::SetChargingProfile::transaction_limit(evse_id, "", profile_id, limit);
    set.charging_profile.transaction_id = None;
    set.charging_profile.charging_profile_purpose = if evse_id == 0 {
        v201::ChargingProfilePurpose::ChargingStationMaxProfile
    } else {
        v201::ChargingProfilePurpose::TxDefaultProfile
    };
    set
}
