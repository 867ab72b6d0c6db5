//! OCPP 1.6J: the central system's commands, and the answers.

use super::settings::Change;
use super::state::{Charger, Restart};
use crate::fleet::limits::{Limit, Scope};
use novax_wire::ocpp::v16::{
    AvailabilityType, ChargingProfile, ChargingProfilePurpose, Command, DataTransferResponse,
    DataTransferStatus, GetConfigurationResponse, KeyValue, ResetType, StatusResponse,
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
    let word = match Command::parse(action, payload)? {
        Command::GetConfiguration(asked) => {
            frame::write_result(id, &configuration(charger, asked.key.as_deref()), out);
            return Ok(());
        }
        Command::DataTransfer(_) => {
            let status = DataTransferStatus::UnknownVendorId;
            frame::write_result(id, &DataTransferResponse { status, data: None }, out);
            return Ok(());
        }
        command => word(charger, &command),
    };
    frame::write_result(id, &StatusResponse { status: Text::from(word) }, out);
    Ok(())
}

fn word(charger: &mut Charger, command: &Command<'_>) -> &'static str {
    match command {
        Command::RemoteStartTransaction(start) => {
            let (word, at) = charger.order_start(start.connector_id, &start.id_tag, None);
            if let (Some(at), Some(profile)) = (at, &start.charging_profile) {
                let evse = charger.connectors[at].evse;
                set_profile(charger, evse, profile);
            }
            word
        }
        Command::RemoteStopTransaction(stop) => {
            charger.order_stop(&stop.transaction_id.to_string())
        }
        Command::Reset(reset) => {
            let immediate = reset.r#type == ResetType::Hard;
            charger.order_reset(Restart::Now { immediate })
        }
        Command::ChangeAvailability(change) => {
            let operative = change.r#type == AvailabilityType::Operative;
            charger.order_availability(change.connector_id, operative)
        }
        Command::UnlockConnector(unlock) => match charger.order_unlock(unlock.connector_id) {
            Some(()) => "Unlocked",
            None => "NotSupported",
        },
        Command::TriggerMessage(trigger) => {
            charger.order_trigger(trigger.requested_message.as_str(), trigger.connector_id)
        }
        Command::ChangeConfiguration(change) => {
            match charger.order_setting(|setting| setting.key == &*change.key, &change.value) {
                Change::Unknown => "NotSupported",
                Change::ReadOnly | Change::Invalid => "Rejected",
                Change::Done(..) => "Accepted",
            }
        }
        Command::SetChargingProfile(set) => {
            set_profile(charger, set.connector_id, &set.cs_charging_profiles)
        }
        // ClearCache: there is none that would matter.
        _ => "Accepted",
    }
}

fn set_profile(charger: &mut Charger, evse: u16, profile: &ChargingProfile) -> &'static str {
    let scope = match profile.charging_profile_purpose {
        ChargingProfilePurpose::ChargePointMaxProfile => Scope::Station,
        ChargingProfilePurpose::TxDefaultProfile => Scope::Default,
        ChargingProfilePurpose::TxProfile => Scope::Transaction,
    };
    let limit = Limit::of_v16(charger.now, &profile.charging_schedule);
    let transaction = profile.transaction_id.map(|number| number.to_string());
    charger.order_limit(evse, scope, transaction.as_deref(), limit)
}

fn configuration<'a>(
    charger: &'a Charger,
    keys: Option<&[Text<'a>]>,
) -> GetConfigurationResponse<'a> {
    let keys = keys.unwrap_or_default();
    let wanted = |key: &str| keys.is_empty() || keys.iter().any(|wanted| *wanted == key);
    let known = |key: &Text<'_>| charger.settings.iter().any(|setting| *key == setting.key);
    let found = charger.settings.iter().filter(|setting| wanted(setting.key));
    GetConfigurationResponse {
        configuration_key: Some(
            found
                .map(|setting| KeyValue {
                    key: Text::from(setting.key),
                    readonly: setting.readonly,
                    value: Some(Text::from(setting.value.as_str())),
                })
                .collect(),
        ),
        unknown_key: Some(keys.iter().filter(|key| !known(key)).cloned().collect()),
    }
}
