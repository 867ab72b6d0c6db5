//! What we ask of a charge point, and its answers.

use super::station::ID_TAG_CHARS_MAX;
use super::types::{
    ChargingProfile, ChargingProfileKind, ChargingProfilePurpose, ChargingRateUnit,
    ChargingSchedule, ChargingSchedulePeriod,
};
use crate::ocpp::decimal::Decimal;
use crate::ocpp::error::CallError;
use crate::ocpp::payload::{Check, Notes, bounded, not_empty};
use crate::ocpp::text::Text;
use novax_model::Watts;

record! {
    /// The answer of most commands: "Accepted", "Rejected", and a few more by command.
    StatusResponse<'a> {
        status: Text<'a>,
    }
}

record! {
    /// Start a transaction; without a connector the charge point chooses.
    RemoteStartTransaction<'a> {
        id_tag: Text<'a>,
    } optional {
        connector_id: u16,
        charging_profile: ChargingProfile,
    }
}

impl Check for RemoteStartTransaction<'_> {
    fn check(&self, _notes: &mut Notes) -> Result<(), CallError> {
        bounded("idTag", &self.id_tag, ID_TAG_CHARS_MAX)
    }
}

record! {
    /// End a transaction.
    RemoteStopTransaction {
        transaction_id: i32,
    }
}

impl Check for RemoteStopTransaction {}

words! {
    /// How to restart.
    closed ResetType {
        Soft = "Soft",
        Hard = "Hard",
    }
}

record! {
    /// Restart.
    Reset {
        r#type: ResetType,
    }
}

impl Check for Reset {}

words! {
    /// In or out of service.
    closed AvailabilityType {
        Operative = "Operative",
        Inoperative = "Inoperative",
    }
}

record! {
    /// Take a connector, or with 0 the charge point, in or out of service.
    ChangeAvailability {
        connector_id: u16,
        r#type: AvailabilityType,
    }
}

impl Check for ChangeAvailability {}

record! {
    /// Let a cable go.
    UnlockConnector {
        connector_id: u16,
    }
}

impl Check for UnlockConnector {}

words! {
    /// What can be asked for by TriggerMessage.
    open MessageTrigger {
        StatusNotification = "StatusNotification",
        BootNotification = "BootNotification",
        DiagnosticsStatusNotification = "DiagnosticsStatusNotification",
        FirmwareStatusNotification = "FirmwareStatusNotification",
        Heartbeat = "Heartbeat",
        MeterValues = "MeterValues",
    }
}

record! {
    /// Send this message now.
    TriggerMessage<'a> {
        requested_message: MessageTrigger<'a>,
    } optional {
        connector_id: u16,
    }
}

impl Check for TriggerMessage<'_> {}

record! {
    /// Read settings; without keys, all of them.
    GetConfiguration<'a> {
    } optional {
        key: Vec<Text<'a>>,
    }
}

impl Check for GetConfiguration<'_> {
    fn check(&self, _notes: &mut Notes) -> Result<(), CallError> {
        self.key.iter().flatten().try_for_each(|key| bounded("key", key, 50))
    }
}

record! {
    /// Answers a GetConfiguration.
    GetConfigurationResponse<'a> {
    } optional {
        configuration_key: Vec<KeyValue<'a>>,
        unknown_key: Vec<Text<'a>>,
    }
}

record! {
    /// A setting.
    KeyValue<'a> {
        key: Text<'a>,
        readonly: bool,
    } optional {
        value: Text<'a>,
    }
}

record! {
    /// Change a setting.
    ChangeConfiguration<'a> {
        key: Text<'a>,
        value: Text<'a>,
    }
}

impl Check for ChangeConfiguration<'_> {
    fn check(&self, _notes: &mut Notes) -> Result<(), CallError> {
        bounded("key", &self.key, 50)?;
        bounded("value", &self.value, 500)
    }
}

record! {
    /// Limit what a connector draws.
    SetChargingProfile {
        connector_id: u16,
        cs_charging_profiles: ChargingProfile,
    }
}

impl SetChargingProfile {
    /// One limit in watts for a running transaction, from its start on (so: from now on).
    #[must_use]
    pub fn transaction_limit(
        connector_id: u16,
        transaction_id: i32,
        profile_id: i32,
        limit: Watts,
    ) -> SetChargingProfile {
        SetChargingProfile {
            connector_id,
            cs_charging_profiles: ChargingProfile {
                charging_profile_id: profile_id,
                stack_level: 0,
                charging_profile_purpose: ChargingProfilePurpose::TxProfile,
                charging_profile_kind: ChargingProfileKind::Relative,
                transaction_id: Some(transaction_id),
                charging_schedule: ChargingSchedule {
                    charging_rate_unit: ChargingRateUnit::Watts,
                    charging_schedule_period: vec![ChargingSchedulePeriod {
                        start_period: 0,
                        limit: Decimal::new(limit.0, 0),
                        number_phases: None,
                    }],
                    ..ChargingSchedule::default()
                },
                ..ChargingProfile::default()
            },
        }
    }
}

impl Check for SetChargingProfile {
    fn check(&self, _notes: &mut Notes) -> Result<(), CallError> {
        let schedule = &self.cs_charging_profiles.charging_schedule;
        not_empty("chargingSchedulePeriod", &schedule.charging_schedule_period)
    }
}
