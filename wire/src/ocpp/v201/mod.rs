//! The messages of OCPP 2.0.1 (edition 2).
//!
//! [`Request`] is what a charging station calls us with, [`Command`] what we call a station with.
//! Field names, words and bounds are those of the OCA's schemas; `customData` is ignored.

mod central;
mod station;
mod types;

pub use central::*;
pub use station::*;
pub use types::*;

messages! {
    /// A call from a charging station.
    Request<'a> {
        empty {
            /// A sign of life; asks for the time.
            Heartbeat,
        }
        /// It has started.
        BootNotification(BootNotification<'a>),
        /// A connector's state changed.
        StatusNotification(StatusNotification<'a>),
        /// May this token charge?
        Authorize(Authorize<'a>),
        /// A transaction started, went on, or ended.
        TransactionEvent(TransactionEvent<'a>),
        /// What a meter says outside transactions.
        MeterValues(MeterValues<'a>),
        /// A part of the device model's report.
        NotifyReport(NotifyReport<'a>),
        /// Monitored variables said something.
        NotifyEvent(NotifyEvent<'a>),
        /// A vendor's own.
        DataTransfer(DataTransfer<'a>),
        /// Something that bears on security.
        SecurityEventNotification(SecurityEventNotification<'a>),
        /// How a firmware update goes.
        FirmwareStatusNotification(FirmwareStatusNotification<'a>),
        /// How an upload of a log goes.
        LogStatusNotification(LogStatusNotification<'a>),
    } known [
        "CancelReservation", "CertificateSigned", "ChangeAvailability", "ClearCache",
        "ClearChargingProfile", "ClearDisplayMessage", "ClearVariableMonitoring",
        "ClearedChargingLimit", "CostUpdated", "CustomerInformation", "DeleteCertificate",
        "Get15118EVCertificate", "GetBaseReport", "GetCertificateStatus", "GetChargingProfiles",
        "GetCompositeSchedule", "GetDisplayMessages", "GetInstalledCertificateIds",
        "GetLocalListVersion", "GetLog", "GetMonitoringReport", "GetReport",
        "GetTransactionStatus", "GetVariables", "InstallCertificate", "NotifyChargingLimit",
        "NotifyCustomerInformation", "NotifyDisplayMessages", "NotifyEVChargingNeeds",
        "NotifyEVChargingSchedule", "NotifyMonitoringReport", "PublishFirmware",
        "PublishFirmwareStatusNotification", "ReportChargingProfiles", "RequestStartTransaction",
        "RequestStopTransaction", "ReservationStatusUpdate", "ReserveNow", "Reset",
        "SendLocalList", "SetChargingProfile", "SetDisplayMessage", "SetMonitoringBase",
        "SetMonitoringLevel", "SetNetworkProfile", "SetVariableMonitoring", "SetVariables",
        "SignCertificate", "TriggerMessage", "UnlockConnector", "UnpublishFirmware",
        "UpdateFirmware",
    ]
}

messages! {
    /// A call to a charging station.
    Command<'a> {
        empty {
            /// Forget the tokens it has learned.
            ClearCache,
        }
        /// Start a transaction.
        RequestStartTransaction(RequestStartTransaction<'a>),
        /// End a transaction.
        RequestStopTransaction(RequestStopTransaction<'a>),
        /// Restart.
        Reset(Reset),
        /// Take the station, an EVSE or a connector in or out of service.
        ChangeAvailability(ChangeAvailability),
        /// Let a cable go.
        UnlockConnector(UnlockConnector),
        /// Send this message now.
        TriggerMessage(TriggerMessage<'a>),
        /// Read variables.
        GetVariables(GetVariables<'a>),
        /// Change variables.
        SetVariables(SetVariables<'a>),
        /// Report the device model, in parts.
        GetBaseReport(GetBaseReport),
        /// Limit what an EVSE draws.
        SetChargingProfile(SetChargingProfile<'a>),
        /// A vendor's own.
        DataTransfer(DataTransfer<'a>),
    } known [
        "CancelReservation", "CertificateSigned", "ClearChargingProfile", "ClearDisplayMessage",
        "ClearVariableMonitoring", "CostUpdated", "CustomerInformation", "DeleteCertificate",
        "GetChargingProfiles", "GetCompositeSchedule", "GetDisplayMessages",
        "GetInstalledCertificateIds", "GetLocalListVersion", "GetLog", "GetMonitoringReport",
        "GetReport", "GetTransactionStatus", "InstallCertificate", "PublishFirmware",
        "ReserveNow", "SendLocalList", "SetDisplayMessage", "SetMonitoringBase",
        "SetMonitoringLevel", "SetNetworkProfile", "SetVariableMonitoring", "UnpublishFirmware",
        "UpdateFirmware",
        "Authorize", "BootNotification", "ClearedChargingLimit", "FirmwareStatusNotification",
        "Get15118EVCertificate", "GetCertificateStatus", "Heartbeat", "LogStatusNotification",
        "MeterValues", "NotifyChargingLimit", "NotifyCustomerInformation",
        "NotifyDisplayMessages", "NotifyEVChargingNeeds", "NotifyEVChargingSchedule",
        "NotifyEvent", "NotifyMonitoringReport", "NotifyReport",
        "PublishFirmwareStatusNotification", "ReportChargingProfiles", "ReservationStatusUpdate",
        "SecurityEventNotification", "SignCertificate", "StatusNotification", "TransactionEvent",
    ]
}
