//! OCPP 2.0.1: the CSMS's commands, and the answers.

use super::message::Setting;
use super::settings::Change;
use super::state::{Charger, Restart};
use crate::fleet::limits::{Limit, Scope};
use novax_wire::ocpp::v201::{
    ChargingProfile, ChargingProfilePurpose, Command, Component, DataTransferResponse,
    DataTransferStatus, GetVariableResult, GetVariables, GetVariablesResponse, OperationalStatus,
    RequestStartTransactionResponse, ResetType, SetVariableResult, SetVariables,
    SetVariablesResponse, StatusResponse, Variable,
};
use novax_wire::ocpp::{CallError, Text, frame};

/// Obeys a command and appends the CALLRESULT.
pub(super) fn obey(
    charger: &mut Charger,
    id: &str,
    action: &str,
    payload: &str,
    out: &mut Vec<u8>,
) -> Result<(), CallError> {
    match Command::parse(action, payload)? {
        Command::RequestStartTransaction(start) => {
            let remote_start_id = Some(start.remote_start_id);
            let (word, at) =
                charger.order_start(start.evse_id, &start.id_token.id_token, remote_start_id);
            if let (Some(at), Some(profile)) = (at, &start.charging_profile) {
                let evse = charger.connectors[at].evse;
                set_profile(charger, evse, profile);
            }
            let status = Text::from(word);
            let answer = RequestStartTransactionResponse { status, ..Default::default() };
            frame::write_result(id, &answer, out);
        }
        Command::GetVariables(asked) => {
            frame::write_result(id, &get_variables(charger, &asked), out);
        }
        Command::SetVariables(asked) => {
            frame::write_result(id, &set_variables(charger, &asked), out);
        }
        Command::DataTransfer(_) => {
            let status = DataTransferStatus::UnknownVendorId;
            let answer = DataTransferResponse { status, ..DataTransferResponse::default() };
            frame::write_result(id, &answer, out);
        }
        command => {
            let status = Text::from(word(charger, &command));
            frame::write_result(id, &StatusResponse { status, status_info: None }, out);
        }
    }
    Ok(())
}

fn word(charger: &mut Charger, command: &Command<'_>) -> &'static str {
    match command {
        Command::RequestStopTransaction(stop) => charger.order_stop(&stop.transaction_id),
        Command::Reset(reset) => {
            let immediate = reset.r#type == ResetType::Immediate;
            let waits = !immediate && charger.charging() > 0;
            let restart = if immediate { Restart::Now { immediate } } else { Restart::WhenIdle };
            let word = charger.order_reset(restart);
            if waits { "Scheduled" } else { word }
        }
        Command::ChangeAvailability(change) => {
            let operative = change.operational_status == OperationalStatus::Operative;
            let evse = change.evse.as_ref().map_or(0, |evse| evse.id);
            charger.order_availability(evse, operative)
        }
        Command::UnlockConnector(unlock) => {
            if charger.is_charging(unlock.evse_id) {
                return "OngoingAuthorizedTransaction";
            }
            match charger.order_unlock(unlock.evse_id) {
                Some(()) => "Unlocked",
                None => "UnknownConnector",
            }
        }
        Command::TriggerMessage(trigger) => {
            let evse = trigger.evse.as_ref().map(|evse| evse.id);
            charger.order_trigger(trigger.requested_message.as_str(), evse)
        }
        Command::GetBaseReport(asked) => {
            charger.order_report(asked.request_id);
            "Accepted"
        }
        Command::SetChargingProfile(set) => {
            set_profile(charger, set.evse_id, &set.charging_profile)
        }
        // ClearCache: there is none that would matter.
        _ => "Accepted",
    }
}

fn set_profile(charger: &mut Charger, evse: u16, profile: &ChargingProfile<'_>) -> &'static str {
    let scope = match profile.charging_profile_purpose {
        ChargingProfilePurpose::ChargingStationMaxProfile
        | ChargingProfilePurpose::ChargingStationExternalConstraints => Scope::Station,
        ChargingProfilePurpose::TxDefaultProfile => Scope::Default,
        ChargingProfilePurpose::TxProfile => Scope::Transaction,
    };
    let schedule = profile.charging_schedule.first();
    let limit = schedule.and_then(|schedule| Limit::of_v201(charger.now, schedule));
    charger.order_limit(evse, scope, profile.transaction_id.as_deref(), limit)
}

fn is_named(setting: &Setting, component: &Component<'_>, variable: &Variable<'_>) -> bool {
    component.name == setting.component && variable.name == setting.variable
}

fn get_variables<'a>(charger: &'a Charger, asked: &GetVariables<'a>) -> GetVariablesResponse<'a> {
    let result = asked.get_variable_data.iter().map(|data| {
        let found = charger
            .settings
            .iter()
            .find(|setting| is_named(setting, &data.component, &data.variable));
        let component_known =
            charger.settings.iter().any(|setting| data.component.name == setting.component);
        let status = match found {
            Some(_) => "Accepted",
            None if component_known => "UnknownVariable",
            None => "UnknownComponent",
        };
        GetVariableResult {
            attribute_status: Text::from(status),
            component: data.component.clone(),
            variable: data.variable.clone(),
            attribute_type: data.attribute_type,
            attribute_value: found.map(|setting| Text::from(setting.value.as_str())),
            ..GetVariableResult::default()
        }
    });
    GetVariablesResponse { get_variable_result: result.collect() }
}

fn set_variables<'a>(charger: &mut Charger, asked: &SetVariables<'a>) -> SetVariablesResponse<'a> {
    let mut results = Vec::with_capacity(asked.set_variable_data.len());
    for data in &asked.set_variable_data {
        let which = |setting: &Setting| is_named(setting, &data.component, &data.variable);
        let status = match charger.order_setting(which, &data.attribute_value) {
            Change::Unknown => "UnknownVariable",
            Change::ReadOnly | Change::Invalid => "Rejected",
            Change::Done(..) => "Accepted",
        };
        results.push(SetVariableResult {
            attribute_status: Text::from(status),
            component: data.component.clone(),
            variable: data.variable.clone(),
            attribute_type: data.attribute_type,
            ..SetVariableResult::default()
        });
    }
    SetVariablesResponse { set_variable_result: results }
}
