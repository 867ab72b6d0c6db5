//! The messages of OCPP 1.6J (edition 2, with the security white paper's events).
//!
//! [`Request`] is what a charge point calls us with, [`Command`] what we call a charge point with.
//! Field names, words and bounds are those of the OCA's schemas.

mod central;
mod station;
mod types;

pub use central::*;
pub use station::*;
pub use types::*;

messages! {
    /// A call from a charge point.
    Request<'a> {
        empty {
            /// A sign of life; asks for the time.
            Heartbeat,
        }
        /// It has started.
        BootNotification(BootNotification<'a>),
        /// A connector's state changed.
        StatusNotification(StatusNotification<'a>),
        /// May this tag charge?
        Authorize(Authorize<'a>),
        /// A transaction runs.
        StartTransaction(StartTransaction<'a>),
        /// A transaction ended.
        StopTransaction(StopTransaction<'a>),
        /// What the meter says.
        MeterValues(MeterValues<'a>),
        /// A vendor's own.
        DataTransfer(DataTransfer<'a>),
        /// How an upload of diagnostics goes.
        DiagnosticsStatusNotification(DiagnosticsStatusNotification<'a>),
        /// How a firmware update goes.
        FirmwareStatusNotification(FirmwareStatusNotification<'a>),
        /// How a signed firmware update goes.
        SignedFirmwareStatusNotification(SignedFirmwareStatusNotification<'a>),
        /// How an upload of a log goes.
        LogStatusNotification(LogStatusNotification<'a>),
        /// Something that bears on security.
        SecurityEventNotification(SecurityEventNotification<'a>),
    } known [
        "SignCertificate", "CancelReservation", "CertificateSigned", "ChangeAvailability",
        "ChangeConfiguration", "ClearCache", "ClearChargingProfile", "DeleteCertificate",
        "ExtendedTriggerMessage", "GetCompositeSchedule", "GetConfiguration", "GetDiagnostics",
        "GetInstalledCertificateIds", "GetLocalListVersion", "GetLog", "InstallCertificate",
        "RemoteStartTransaction", "RemoteStopTransaction", "ReserveNow", "Reset", "SendLocalList",
        "SetChargingProfile", "SignedUpdateFirmware", "TriggerMessage", "UnlockConnector",
        "UpdateFirmware",
    ]
}

messages! {
    /// A call to a charge point.
    Command<'a> {
        empty {
            /// Forget the tags it has learned.
            ClearCache,
        }
        /// Start a transaction.
        RemoteStartTransaction(RemoteStartTransaction<'a>),
        /// End a transaction.
        RemoteStopTransaction(RemoteStopTransaction),
        /// Restart.
        Reset(Reset),
        /// Take a connector in or out of service.
        ChangeAvailability(ChangeAvailability),
        /// Let a cable go.
        UnlockConnector(UnlockConnector),
        /// Send this message now.
        TriggerMessage(TriggerMessage<'a>),
        /// Read settings.
        GetConfiguration(GetConfiguration<'a>),
        /// Change a setting.
        ChangeConfiguration(ChangeConfiguration<'a>),
        /// Limit what a connector draws.
        SetChargingProfile(SetChargingProfile),
        /// A vendor's own.
        DataTransfer(DataTransfer<'a>),
    } known [
        "CancelReservation", "CertificateSigned", "ClearChargingProfile", "DeleteCertificate",
        "ExtendedTriggerMessage", "GetCompositeSchedule", "GetDiagnostics",
        "GetInstalledCertificateIds", "GetLocalListVersion", "GetLog", "InstallCertificate",
        "ReserveNow", "SendLocalList", "SignedUpdateFirmware", "UpdateFirmware",
        "Authorize", "BootNotification", "DiagnosticsStatusNotification",
        "FirmwareStatusNotification", "Heartbeat", "LogStatusNotification", "MeterValues",
        "SecurityEventNotification", "SignCertificate", "SignedFirmwareStatusNotification",
        "StartTransaction", "StatusNotification", "StopTransaction",
    ]
}
