//! What a charge point says, and our answers.

use super::types::{IdTagInfo, MeterValue};
use crate::ocpp::error::CallError;
use crate::ocpp::payload::{Check, Notes, bounded, described, not_empty};
use crate::ocpp::text::{Empty, Text};
use novax_model::Timestamp;

/// The longest idTag (CiString20Type).
pub const ID_TAG_CHARS_MAX: usize = 20;

record! {
    /// It has started.
    BootNotification<'a> {
        charge_point_vendor: Text<'a>,
        charge_point_model: Text<'a>,
    } optional {
        charge_point_serial_number: Text<'a>,
        charge_box_serial_number: Text<'a>,
        firmware_version: Text<'a>,
        iccid: Text<'a>,
        imsi: Text<'a>,
        meter_type: Text<'a>,
        meter_serial_number: Text<'a>,
    }
}

impl Check for BootNotification<'_> {
    fn check(&self, notes: &mut Notes) -> Result<(), CallError> {
        described("chargePointVendor", Some(&self.charge_point_vendor), 20, notes)?;
        described("chargePointModel", Some(&self.charge_point_model), 20, notes)?;
        for (field, text, max) in [
            ("chargePointSerialNumber", &self.charge_point_serial_number, 25),
            ("chargeBoxSerialNumber", &self.charge_box_serial_number, 25),
            ("firmwareVersion", &self.firmware_version, 50),
            ("iccid", &self.iccid, 20),
            ("imsi", &self.imsi, 20),
            ("meterType", &self.meter_type, 25),
            ("meterSerialNumber", &self.meter_serial_number, 25),
        ] {
            described(field, text.as_deref(), max, notes)?;
        }
        Ok(())
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
    BootNotificationResponse {
        #[serde(with = "crate::ocpp::time")]
        current_time: Timestamp,
        interval: u32,
        status: RegistrationStatus,
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
    open ChargePointStatus {
        Available = "Available",
        Preparing = "Preparing",
        Charging = "Charging",
        SuspendedEvse = "SuspendedEVSE",
        SuspendedEv = "SuspendedEV",
        Finishing = "Finishing",
        Reserved = "Reserved",
        Unavailable = "Unavailable",
        Faulted = "Faulted",
    }
}

record! {
    /// A connector's state changed; connector 0 is the charge point itself.
    StatusNotification<'a> {
        connector_id: u16,
        /// "NoError", a word of the standard, or a vendor's own.
        error_code: Text<'a>,
        status: ChargePointStatus<'a>,
    } optional {
        info: Text<'a>,
        #[serde(with = "crate::ocpp::time::optional")]
        timestamp: Timestamp,
        vendor_id: Text<'a>,
        vendor_error_code: Text<'a>,
    }
}

impl Check for StatusNotification<'_> {
    fn check(&self, notes: &mut Notes) -> Result<(), CallError> {
        described("errorCode", Some(&self.error_code), 50, notes)?;
        described("status", Some(self.status.as_str()), 50, notes)?;
        described("info", self.info.as_deref(), 50, notes)?;
        described("vendorId", self.vendor_id.as_deref(), 255, notes)?;
        described("vendorErrorCode", self.vendor_error_code.as_deref(), 50, notes)
    }
}

/// Answers a StatusNotification.
pub type StatusNotificationResponse = Empty;

record! {
    /// May this tag charge?
    Authorize<'a> {
        id_tag: Text<'a>,
    }
}

impl Check for Authorize<'_> {
    fn check(&self, _notes: &mut Notes) -> Result<(), CallError> {
        bounded("idTag", &self.id_tag, ID_TAG_CHARS_MAX)
    }
}

record! {
    /// Answers an Authorize.
    AuthorizeResponse<'a> {
        id_tag_info: IdTagInfo<'a>,
    }
}

record! {
    /// A transaction runs. The central system names it in its answer.
    StartTransaction<'a> {
        connector_id: u16,
        id_tag: Text<'a>,
        /// The meter's register in Wh.
        meter_start: i64,
        #[serde(with = "crate::ocpp::time")]
        timestamp: Timestamp,
    } optional {
        reservation_id: i32,
    }
}

impl Check for StartTransaction<'_> {
    fn check(&self, _notes: &mut Notes) -> Result<(), CallError> {
        bounded("idTag", &self.id_tag, ID_TAG_CHARS_MAX)
    }
}

record! {
    /// Answers a StartTransaction; the id is due also when the tag is refused.
    StartTransactionResponse<'a> {
        id_tag_info: IdTagInfo<'a>,
        transaction_id: i32,
    }
}

record! {
    /// A transaction ended.
    StopTransaction<'a> {
        /// The meter's register in Wh.
        meter_stop: i64,
        #[serde(with = "crate::ocpp::time")]
        timestamp: Timestamp,
        transaction_id: i32,
    } optional {
        id_tag: Text<'a>,
        /// "Local" when left out.
        reason: Text<'a>,
        transaction_data: Vec<MeterValue<'a>>,
    }
}

impl Check for StopTransaction<'_> {
    fn check(&self, notes: &mut Notes) -> Result<(), CallError> {
        // Billing data is not refused for a reason nobody knows, nor for the tag that ended it.
        described("idTag", self.id_tag.as_deref(), ID_TAG_CHARS_MAX, notes)?;
        described("reason", self.reason.as_deref(), 50, notes)
    }
}

record! {
    /// Answers a StopTransaction.
    StopTransactionResponse<'a> {
    } optional {
        id_tag_info: IdTagInfo<'a>,
    }
}

record! {
    /// What the meter of a connector says.
    MeterValues<'a> {
        connector_id: u16,
        meter_value: Vec<MeterValue<'a>>,
    } optional {
        transaction_id: i32,
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
    /// A vendor's own message, in either direction.
    DataTransfer<'a> {
        vendor_id: Text<'a>,
    } optional {
        message_id: Text<'a>,
        data: Text<'a>,
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
        data: Text<'a>,
    }
}

record! {
    /// How an upload of diagnostics goes.
    DiagnosticsStatusNotification<'a> {
        status: Text<'a>,
    }
}

record! {
    /// How a firmware update goes.
    FirmwareStatusNotification<'a> {
        status: Text<'a>,
    }
}

record! {
    /// How a signed firmware update goes.
    SignedFirmwareStatusNotification<'a> {
        status: Text<'a>,
    } optional {
        request_id: i32,
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

macro_rules! status_is_described {
    ($($name:ident)*) => {$(
        impl Check for $name<'_> {
            fn check(&self, notes: &mut Notes) -> Result<(), CallError> {
                described("status", Some(&self.status), 50, notes)
            }
        }
    )*};
}

status_is_described! {
    DiagnosticsStatusNotification FirmwareStatusNotification SignedFirmwareStatusNotification
    LogStatusNotification
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
