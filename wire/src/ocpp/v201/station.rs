//! What a charging station says, and our answers.

use super::types::{
    AttributeType, Component, Evse, IdToken, IdTokenInfo, MessageContent, MeterValue, StatusInfo,
    TRANSACTION_ID_CHARS_MAX, Variable,
};
use crate::ocpp::decimal::Decimal;
use crate::ocpp::error::CallError;
use crate::ocpp::payload::{Check, Notes, bounded, described, not_empty};
use crate::ocpp::text::{Empty, Json, Number, Text};
use novax_model::Timestamp;

words! {
    /// Why a station started.
    open BootReason {
        Unknown = "Unknown",
        ApplicationReset = "ApplicationReset",
        FirmwareUpdate = "FirmwareUpdate",
        LocalReset = "LocalReset",
        PowerUp = "PowerUp",
        RemoteReset = "RemoteReset",
        ScheduledReset = "ScheduledReset",
        Triggered = "Triggered",
        Watchdog = "Watchdog",
    }
}

record! {
    /// It has started.
    BootNotification<'a> {
        charging_station: ChargingStation<'a>,
        reason: BootReason<'a>,
    }
}

record! {
    /// What kind of station it is.
    ChargingStation<'a> {
        model: Text<'a>,
        vendor_name: Text<'a>,
    } optional {
        serial_number: Text<'a>,
        modem: Modem<'a>,
        firmware_version: Text<'a>,
    }
}

record! {
    /// Its SIM card.
    Modem<'a> {
    } optional {
        iccid: Text<'a>,
        imsi: Text<'a>,
    }
}

impl Check for BootNotification<'_> {
    fn check(&self, notes: &mut Notes) -> Result<(), CallError> {
        let station = &self.charging_station;
        described("reason", Some(self.reason.as_str()), 50, notes)?;
        described("model", Some(&station.model), 20, notes)?;
        described("vendorName", Some(&station.vendor_name), 50, notes)?;
        described("serialNumber", station.serial_number.as_deref(), 25, notes)?;
        described("firmwareVersion", station.firmware_version.as_deref(), 50, notes)?;
        let Some(modem) = &station.modem else { return Ok(()) };
        described("iccid", modem.iccid.as_deref(), 20, notes)?;
        described("imsi", modem.imsi.as_deref(), 20, notes)
    }
}

words! {
    /// May a station that booted go on?
    closed RegistrationStatus {
        Accepted = "Accepted",
        Pending = "Pending",
        Rejected = "Rejected",
    }
}

record! {
    /// Answers a BootNotification; the interval is between heartbeats, in seconds.
    BootNotificationResponse<'a> {
        #[serde(with = "crate::ocpp::time")]
        current_time: Timestamp,
        interval: u32,
        status: RegistrationStatus,
    } optional {
        status_info: StatusInfo<'a>,
    }
}

record! {
    /// Answers a Heartbeat.
    HeartbeatResponse {
        #[serde(with = "crate::ocpp::time")]
        current_time: Timestamp,
    }
}

words! {
    /// A connector's state.
    open ConnectorStatus {
        Available = "Available",
        Occupied = "Occupied",
        Reserved = "Reserved",
        Unavailable = "Unavailable",
        Faulted = "Faulted",
    }
}

record! {
    /// A connector's state changed.
    StatusNotification<'a> {
        #[serde(with = "crate::ocpp::time")]
        timestamp: Timestamp,
        connector_status: ConnectorStatus<'a>,
        evse_id: u16,
        connector_id: u16,
    }
}

impl Check for StatusNotification<'_> {
    fn check(&self, notes: &mut Notes) -> Result<(), CallError> {
        described("connectorStatus", Some(self.connector_status.as_str()), 50, notes)
    }
}

/// Answers a StatusNotification.
pub type StatusNotificationResponse = Empty;

record! {
    /// May this token charge?
    Authorize<'a> {
        id_token: IdToken<'a>,
    } optional {
        certificate: Text<'a>,
        iso15118_certificate_hash_data: Vec<OcspRequestData<'a>>,
    }
}

record! {
    /// What an OCSP responder must know to judge a certificate.
    OcspRequestData<'a> {
        hash_algorithm: Text<'a>,
        issuer_name_hash: Text<'a>,
        issuer_key_hash: Text<'a>,
        serial_number: Text<'a>,
        #[serde(rename = "responderURL")]
        responder_url: Text<'a>,
    }
}

impl Check for Authorize<'_> {
    fn check(&self, _notes: &mut Notes) -> Result<(), CallError> {
        self.id_token.check()
    }
}

record! {
    /// Answers an Authorize.
    AuthorizeResponse<'a> {
        id_token_info: IdTokenInfo<'a>,
    } optional {
        certificate_status: Text<'a>,
    }
}

words! {
    /// What happened to a transaction.
    closed TransactionEventType {
        Started = "Started",
        Updated = "Updated",
        Ended = "Ended",
    }
}

words! {
    /// Why a TransactionEvent is sent.
    open TriggerReason {
        Authorized = "Authorized",
        CablePluggedIn = "CablePluggedIn",
        ChargingRateChanged = "ChargingRateChanged",
        ChargingStateChanged = "ChargingStateChanged",
        Deauthorized = "Deauthorized",
        EnergyLimitReached = "EnergyLimitReached",
        EvCommunicationLost = "EVCommunicationLost",
        EvConnectTimeout = "EVConnectTimeout",
        MeterValueClock = "MeterValueClock",
        MeterValuePeriodic = "MeterValuePeriodic",
        TimeLimitReached = "TimeLimitReached",
        Trigger = "Trigger",
        UnlockCommand = "UnlockCommand",
        StopAuthorized = "StopAuthorized",
        EvDeparted = "EVDeparted",
        EvDetected = "EVDetected",
        RemoteStop = "RemoteStop",
        RemoteStart = "RemoteStart",
        AbnormalCondition = "AbnormalCondition",
        SignedDataReceived = "SignedDataReceived",
        ResetCommand = "ResetCommand",
    }
}

words! {
    /// How far a transaction is.
    open ChargingState {
        Charging = "Charging",
        EvConnected = "EVConnected",
        SuspendedEv = "SuspendedEV",
        SuspendedEvse = "SuspendedEVSE",
        Idle = "Idle",
    }
}

record! {
    /// A transaction, as the station has it.
    Transaction<'a> {
        transaction_id: Text<'a>,
    } optional {
        charging_state: ChargingState<'a>,
        time_spent_charging: i64,
        /// "Local" when left out of an Ended event.
        stopped_reason: Text<'a>,
        remote_start_id: i32,
    }
}

record! {
    /// A transaction started, went on, or ended.
    TransactionEvent<'a> {
        event_type: TransactionEventType,
        #[serde(with = "crate::ocpp::time")]
        timestamp: Timestamp,
        trigger_reason: TriggerReason<'a>,
        seq_no: i64,
        transaction_info: Transaction<'a>,
    } optional {
        meter_value: Vec<MeterValue<'a>>,
        offline: bool,
        number_of_phases_used: i32,
        cable_max_current: i32,
        reservation_id: i32,
        evse: Evse,
        id_token: IdToken<'a>,
    }
}

impl Check for TransactionEvent<'_> {
    fn check(&self, notes: &mut Notes) -> Result<(), CallError> {
        let transaction = &self.transaction_info;
        bounded("transactionId", &transaction.transaction_id, TRANSACTION_ID_CHARS_MAX)?;
        described("triggerReason", Some(self.trigger_reason.as_str()), 50, notes)?;
        described("stoppedReason", transaction.stopped_reason.as_deref(), 50, notes)?;
        self.id_token.as_ref().map_or(Ok(()), IdToken::check)
    }
}

record! {
    /// Answers a TransactionEvent.
    TransactionEventResponse<'a> {
    } optional {
        /// In major units of the currency the station shows.
        total_cost: Decimal,
        charging_priority: i32,
        id_token_info: IdTokenInfo<'a>,
        updated_personal_message: MessageContent<'a>,
    }
}

record! {
    /// What a meter says outside transactions.
    MeterValues<'a> {
        evse_id: u16,
        meter_value: Vec<MeterValue<'a>>,
    }
}

impl Check for MeterValues<'_> {
    fn check(&self, _notes: &mut Notes) -> Result<(), CallError> {
        not_empty("meterValue", &self.meter_value)
    }
}

/// Answers a MeterValues.
pub type MeterValuesResponse = Empty;

record! {
    /// A part of the device model's report.
    NotifyReport<'a> {
        request_id: i32,
        #[serde(with = "crate::ocpp::time")]
        generated_at: Timestamp,
        seq_no: i64,
    } optional {
        report_data: Vec<ReportData<'a>>,
        /// To be continued; false when left out.
        tbc: bool,
    }
}

impl Check for NotifyReport<'_> {}

/// Answers a NotifyReport.
pub type NotifyReportResponse = Empty;

record! {
    /// One variable of the device model.
    ReportData<'a> {
        component: Component<'a>,
        variable: Variable<'a>,
        variable_attribute: Vec<VariableAttribute<'a>>,
    } optional {
        variable_characteristics: VariableCharacteristics<'a>,
    }
}

record! {
    /// One value of a variable.
    VariableAttribute<'a> {
    } optional {
        r#type: AttributeType,
        value: Text<'a>,
        mutability: Text<'a>,
        persistent: bool,
        constant: bool,
    }
}

record! {
    /// What values a variable can have.
    VariableCharacteristics<'a> {
        data_type: Text<'a>,
        supports_monitoring: bool,
    } optional {
        unit: Text<'a>,
        min_limit: Number<'a>,
        max_limit: Number<'a>,
        values_list: Text<'a>,
    }
}

record! {
    /// Monitored variables said something.
    NotifyEvent<'a> {
        #[serde(with = "crate::ocpp::time")]
        generated_at: Timestamp,
        seq_no: i64,
        event_data: Vec<EventData<'a>>,
    } optional {
        /// To be continued; false when left out.
        tbc: bool,
    }
}

impl Check for NotifyEvent<'_> {}

/// Answers a NotifyEvent.
pub type NotifyEventResponse = Empty;

record! {
    /// One event of a monitored variable.
    EventData<'a> {
        event_id: i32,
        #[serde(with = "crate::ocpp::time")]
        timestamp: Timestamp,
        trigger: Text<'a>,
        actual_value: Text<'a>,
        component: Component<'a>,
        event_notification_type: Text<'a>,
        variable: Variable<'a>,
    } optional {
        cause: i32,
        tech_code: Text<'a>,
        tech_info: Text<'a>,
        cleared: bool,
        transaction_id: Text<'a>,
        variable_monitoring_id: i32,
    }
}

record! {
    /// A vendor's own message, in either direction.
    DataTransfer<'a> {
        vendor_id: Text<'a>,
    } optional {
        message_id: Text<'a>,
        data: Json<'a>,
    }
}

impl Check for DataTransfer<'_> {
    fn check(&self, notes: &mut Notes) -> Result<(), CallError> {
        bounded("vendorId", &self.vendor_id, 255)?;
        described("messageId", self.message_id.as_deref(), 50, notes)
    }
}

words! {
    /// What became of a DataTransfer.
    open DataTransferStatus {
        Accepted = "Accepted",
        Rejected = "Rejected",
        UnknownMessageId = "UnknownMessageId",
        UnknownVendorId = "UnknownVendorId",
    }
}

record! {
    /// Answers a DataTransfer.
    DataTransferResponse<'a> {
        status: DataTransferStatus<'a>,
    } optional {
        status_info: StatusInfo<'a>,
        data: Json<'a>,
    }
}

record! {
    /// Something that bears on security.
    SecurityEventNotification<'a> {
        r#type: Text<'a>,
        #[serde(with = "crate::ocpp::time")]
        timestamp: Timestamp,
    } optional {
        tech_info: Text<'a>,
    }
}

impl Check for SecurityEventNotification<'_> {
    fn check(&self, notes: &mut Notes) -> Result<(), CallError> {
        described("type", Some(&self.r#type), 50, notes)?;
        described("techInfo", self.tech_info.as_deref(), 255, notes)
    }
}

record! {
    /// How a firmware update goes.
    FirmwareStatusNotification<'a> {
        status: Text<'a>,
    } optional {
        request_id: i32,
    }
}

impl Check for FirmwareStatusNotification<'_> {
    fn check(&self, notes: &mut Notes) -> Result<(), CallError> {
        described("status", Some(&self.status), 50, notes)
    }
}

record! {
    /// How an upload of a log goes.
    LogStatusNotification<'a> {
        status: Text<'a>,
    } optional {
        request_id: i32,
    }
}

impl Check for LogStatusNotification<'_> {
    fn check(&self, notes: &mut Notes) -> Result<(), CallError> {
        described("status", Some(&self.status), 50, notes)
    }
}
