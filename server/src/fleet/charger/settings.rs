//! The settings of a charger, under their 1.6 keys and their 2.0.1 variables.

use super::message::Setting;
use novax_model::Duration;

/// Key, component, variable, read-only.
const NAMES: [(&str, &str, &str, bool); 8] = [
    ("HeartbeatInterval", "OCPPCommCtrlr", "HeartbeatInterval", false),
    ("MeterValueSampleInterval", "SampledDataCtrlr", "TxUpdatedInterval", false),
    ("ConnectionTimeOut", "TxCtrlr", "EVConnectionTimeOut", false),
    ("WebSocketPingInterval", "OCPPCommCtrlr", "WebSocketPingInterval", false),
    ("AuthorizeRemoteTxRequests", "AuthCtrlr", "AuthorizeRemoteStart", true),
    ("LocalAuthorizeOffline", "AuthCtrlr", "LocalAuthorizeOffline", true),
    ("NumberOfConnectors", "ChargingStation", "NumberOfConnectors", true),
    ("ChargeProfileMaxStackLevel", "SmartChargingCtrlr", "ProfileStackLevel", true),
];

/// As they leave the factory.
pub(super) fn of_station(connectors: usize, meter_interval: Duration) -> Vec<Setting> {
    let value = |key: &str| match key {
        "HeartbeatInterval" => "300".to_owned(),
        "MeterValueSampleInterval" => meter_interval.as_secs().max(1).to_string(),
        "ConnectionTimeOut" => "60".to_owned(),
        "AuthorizeRemoteTxRequests" => "false".to_owned(),
        "LocalAuthorizeOffline" => "true".to_owned(),
        "NumberOfConnectors" => connectors.to_string(),
        _ => "0".to_owned(),
    };
    let setting = |(key, component, variable, readonly): (&'static str, _, _, _)| Setting {
        key,
        component,
        variable,
        value: value(key),
        readonly,
    };
    NAMES.into_iter().map(setting).collect()
}

/// Sets what the hub told in another way.
pub(super) fn set(settings: &mut [Setting], key: &str, seconds: u32) {
    if let Some(setting) = settings.iter_mut().find(|setting| setting.key == key) {
        setting.value = seconds.to_string();
    }
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Unknown,
    ReadOnly,
    Invalid,
    /// Takes effect: the key and the number.
    Done(&'static str, u64),
}

/// Changes a setting; all that can be changed are seconds.
pub(super) fn change(setting: Option<&mut Setting>, value: &str) -> Change {
    let Some(setting) = setting else { return Change::Unknown };
    if setting.readonly {
        return Change::ReadOnly;
    }
    match value.parse() {
        Ok(seconds) if seconds <= 86_400 => {
            setting.value = value.to_owned();
            Change::Done(setting.key, seconds)
        }
        _ => Change::Invalid,
    }
}
