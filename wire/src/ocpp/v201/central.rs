//! What we ask of a charging station, and its answers.

use super::types::{
    AttributeType, ChargingProfile, ChargingProfileKind, ChargingProfilePurpose, ChargingRateUnit,
    ChargingSchedule, ChargingSchedulePeriod, Component, Evse, IdToken, StatusInfo,
    TRANSACTION_ID_CHARS_MAX, Variable,
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
    } optional {
        status_info: StatusInfo<'a>,
    }
}

record! {
    /// Start a transaction; without an EVSE the station chooses.
    RequestStartTransaction<'a> {
        id_token: IdToken<'a>,
        /// Comes back in the transaction's events.
        remote_start_id: i32,
    } optional {
        evse_id: u16,
        group_id_token: IdToken<'a>,
        charging_profile: ChargingProfile<'a>,
    }
}

impl Check for RequestStartTransaction<'_> {
    fn check(&self, _notes: &mut Notes) -> Result<(), CallError> {
        self.id_token.check()?;
        self.group_id_token.as_ref().map_or(Ok(()), IdToken::check)
    }
}

record! {
    /// Answers a RequestStartTransaction; the id when a transaction runs already.
    RequestStartTransactionResponse<'a> {
        status: Text<'a>,
    } optional {
        status_info: StatusInfo<'a>,
        transaction_id: Text<'a>,
    }
}

record! {
    /// End a transaction.
    RequestStopTransaction<'a> {
        transaction_id: Text<'a>,
    }
}

impl Check for RequestStopTransaction<'_> {
    fn check(&self, _notes: &mut Notes) -> Result<(), CallError> {
        bounded("transactionId", &self.transaction_id, TRANSACTION_ID_CHARS_MAX)
    }
}

words! {
    /// When to restart.
    closed ResetType {
        OnIdle = "OnIdle",
        Immediate = "Immediate",
    }
}

record! {
    /// Restart the station, or one EVSE.
    Reset {
        r#type: ResetType,
    } optional {
        evse_id: u16,
    }
}

impl Check for Reset {}

words! {
    /// In or out of service.
    closed OperationalStatus {
        Operative = "Operative",
        Inoperative = "Inoperative",
    }
}

record! {
    /// Take the station, an EVSE or a connector in or out of service.
    ChangeAvailability {
        operational_status: OperationalStatus,
    } optional {
        evse: Evse,
    }
}

impl Check for ChangeAvailability {}

record! {
    /// Let a cable go.
    UnlockConnector {
        evse_id: u16,
        connector_id: u16,
    }
}

impl Check for UnlockConnector {}

words! {
    /// What can be asked for by TriggerMessage.
    open MessageTrigger {
        StatusNotification = "StatusNotification",
        BootNotification = "BootNotification",
        LogStatusNotification = "LogStatusNotification",
        FirmwareStatusNotification = "FirmwareStatusNotification",
        Heartbeat = "Heartbeat",
        MeterValues = "MeterValues",
        SignChargingStationCertificate = "SignChargingStationCertificate",
        SignV2gCertificate = "SignV2GCertificate",
        TransactionEvent = "TransactionEvent",
        SignCombinedCertificate = "SignCombinedCertificate",
        PublishFirmwareStatusNotification = "PublishFirmwareStatusNotification",
    }
}

record! {
    /// Send this message now.
    TriggerMessage<'a> {
        requested_message: MessageTrigger<'a>,
    } optional {
        evse: Evse,
    }
}

impl Check for TriggerMessage<'_> {}

record! {
    /// Read variables.
    GetVariables<'a> {
        get_variable_data: Vec<GetVariableData<'a>>,
    }
}

impl Check for GetVariables<'_> {
    fn check(&self, _notes: &mut Notes) -> Result<(), CallError> {
        not_empty("getVariableData", &self.get_variable_data)
    }
}

record! {
    /// Which variable to read; its Actual value when no other is named.
    GetVariableData<'a> {
        component: Component<'a>,
        variable: Variable<'a>,
    } optional {
        attribute_type: AttributeType,
    }
}

record! {
    /// Answers a GetVariables.
    GetVariablesResponse<'a> {
        get_variable_result: Vec<GetVariableResult<'a>>,
    }
}

record! {
    /// A variable that was read.
    GetVariableResult<'a> {
        attribute_status: Text<'a>,
        component: Component<'a>,
        variable: Variable<'a>,
    } optional {
        attribute_status_info: StatusInfo<'a>,
        attribute_type: AttributeType,
        attribute_value: Text<'a>,
    }
}

record! {
    /// Change variables.
    SetVariables<'a> {
        set_variable_data: Vec<SetVariableData<'a>>,
    }
}

impl Check for SetVariables<'_> {
    fn check(&self, _notes: &mut Notes) -> Result<(), CallError> {
        not_empty("setVariableData", &self.set_variable_data)?;
        self.set_variable_data
            .iter()
            .try_for_each(|data| bounded("attributeValue", &data.attribute_value, 1000))
    }
}

record! {
    /// Which variable to change; its Actual value when no other is named.
    SetVariableData<'a> {
        attribute_value: Text<'a>,
        component: Component<'a>,
        variable: Variable<'a>,
    } optional {
        attribute_type: AttributeType,
    }
}

record! {
    /// Answers a SetVariables.
    SetVariablesResponse<'a> {
        set_variable_result: Vec<SetVariableResult<'a>>,
    }
}

record! {
    /// A variable that was changed, or not.
    SetVariableResult<'a> {
        attribute_status: Text<'a>,
        component: Component<'a>,
        variable: Variable<'a>,
    } optional {
        attribute_type: AttributeType,
        attribute_status_info: StatusInfo<'a>,
    }
}

words! {
    /// How much to report.
    closed ReportBase {
        FullInventory = "FullInventory",
        ConfigurationInventory = "ConfigurationInventory",
        SummaryInventory = "SummaryInventory",
    }
}

record! {
    /// Report the device model, in NotifyReports with this request id.
    GetBaseReport {
        request_id: i32,
        report_base: ReportBase,
    }
}

impl Check for GetBaseReport {}

record! {
    /// Limit what an EVSE draws.
    SetChargingProfile<'a> {
        evse_id: u16,
        charging_profile: ChargingProfile<'a>,
    }
}

impl<'a> SetChargingProfile<'a> {
    /// One limit in watts for a running transaction, from its start on (so: from now on).
    #[must_use]
    pub fn transaction_limit(
        evse_id: u16,
        transaction_id: impl Into<Text<'a>>,
        profile_id: i32,
        limit: Watts,
    ) -> SetChargingProfile<'a> {
        let schedule = ChargingSchedule {
            id: profile_id,
            charging_rate_unit: ChargingRateUnit::Watts,
            charging_schedule_period: vec![ChargingSchedulePeriod {
                start_period: 0,
                limit: Decimal::new(limit.0, 0),
                number_phases: None,
                phase_to_use: None,
            }],
            ..ChargingSchedule::default()
        };
        SetChargingProfile {
            evse_id,
            charging_profile: ChargingProfile {
                id: profile_id,
                stack_level: 0,
                charging_profile_purpose: ChargingProfilePurpose::TxProfile,
                charging_profile_kind: ChargingProfileKind::Relative,
                charging_schedule: vec![schedule],
                transaction_id: Some(transaction_id.into()),
                ..ChargingProfile::default()
            },
        }
    }
}

impl Check for SetChargingProfile<'_> {
    fn check(&self, _notes: &mut Notes) -> Result<(), CallError> {
        let profile = &self.charging_profile;
        not_empty("chargingSchedule", &profile.charging_schedule)?;
        for schedule in &profile.charging_schedule {
            not_empty("chargingSchedulePeriod", &schedule.charging_schedule_period)?;
        }
        profile.transaction_id.as_ref().map_or(Ok(()), |transaction_id| {
            bounded("transactionId", transaction_id, TRANSACTION_ID_CHARS_MAX)
        })
    }
}
