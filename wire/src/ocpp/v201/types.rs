//! What several messages of 2.0.1 share.

use crate::ocpp::decimal::Decimal;
use crate::ocpp::error::CallError;
use crate::ocpp::payload::bounded;
use crate::ocpp::text::{Json, Number, Text};
use novax_model::Timestamp;

/// The longest idToken (identifierString, 36).
pub const ID_TOKEN_CHARS_MAX: usize = 36;
/// The longest transactionId.
pub const TRANSACTION_ID_CHARS_MAX: usize = 36;

record! {
    /// More about a status.
    StatusInfo<'a> {
        reason_code: Text<'a>,
    } optional {
        additional_info: Text<'a>,
    }
}

record! {
    /// An EVSE, or one connector of it.
    Evse {
        id: u16,
    } optional {
        connector_id: u16,
    }
}

words! {
    /// IdToken.type
    open IdTokenType {
        Central = "Central",
        EMaid = "eMAID",
        Iso14443 = "ISO14443",
        Iso15693 = "ISO15693",
        KeyCode = "KeyCode",
        Local = "Local",
        MacAddress = "MacAddress",
        NoAuthorization = "NoAuthorization",
    }
}

record! {
    /// What a driver shows.
    IdToken<'a> {
        id_token: Text<'a>,
        r#type: IdTokenType<'a>,
    } optional {
        additional_info: Vec<AdditionalInfo<'a>>,
    }
}

impl<'a> IdToken<'a> {
    /// A token of this type.
    #[must_use]
    pub fn new(id_token: impl Into<Text<'a>>, r#type: IdTokenType<'a>) -> IdToken<'a> {
        IdToken { id_token: id_token.into(), r#type, additional_info: None }
    }

    pub(crate) fn check(&self) -> Result<(), CallError> {
        bounded("idToken", &self.id_token, ID_TOKEN_CHARS_MAX)
    }
}

record! {
    /// More tokens that came with one.
    AdditionalInfo<'a> {
        additional_id_token: Text<'a>,
        r#type: Text<'a>,
    }
}

words! {
    /// IdTokenInfo.status
    closed AuthorizationStatus {
        Accepted = "Accepted",
        Blocked = "Blocked",
        ConcurrentTx = "ConcurrentTx",
        Expired = "Expired",
        Invalid = "Invalid",
        NoCredit = "NoCredit",
        NotAllowedTypeEvse = "NotAllowedTypeEVSE",
        NotAtThisLocation = "NotAtThisLocation",
        NotAtThisTime = "NotAtThisTime",
        Unknown = "Unknown",
    }
}

record! {
    /// What the CSMS knows of a token.
    IdTokenInfo<'a> {
        status: AuthorizationStatus,
    } optional {
        #[serde(with = "crate::ocpp::time::optional")]
        cache_expiry_date_time: Timestamp,
        charging_priority: i32,
        language1: Text<'a>,
        evse_id: Vec<u16>,
        group_id_token: IdToken<'a>,
        language2: Text<'a>,
        personal_message: MessageContent<'a>,
    }
}

impl From<AuthorizationStatus> for IdTokenInfo<'_> {
    fn from(status: AuthorizationStatus) -> Self {
        IdTokenInfo { status, ..IdTokenInfo::default() }
    }
}

words! {
    /// MessageContent.format
    closed MessageFormat {
        Utf8 = "UTF8",
        Ascii = "ASCII",
        Html = "HTML",
        Uri = "URI",
    }
}

record! {
    /// A text for the driver.
    MessageContent<'a> {
        format: MessageFormat,
        content: Text<'a>,
    } optional {
        language: Text<'a>,
    }
}

record! {
    /// Samples taken at one time.
    MeterValue<'a> {
        sampled_value: Vec<SampledValue<'a>>,
        #[serde(with = "crate::ocpp::time")]
        timestamp: Timestamp,
    }
}

record! {
    /// One sample. Fields left out have defaults: see [`crate::ocpp::meter`].
    SampledValue<'a> {
        value: Number<'a>,
    } optional {
        context: Text<'a>,
        measurand: Text<'a>,
        phase: Text<'a>,
        location: Text<'a>,
        signed_meter_value: SignedMeterValue<'a>,
        unit_of_measure: UnitOfMeasure<'a>,
    }
}

record! {
    /// A value the meter has signed.
    SignedMeterValue<'a> {
        signed_meter_data: Text<'a>,
        signing_method: Text<'a>,
        encoding_method: Text<'a>,
        public_key: Text<'a>,
    }
}

record! {
    /// The unit and the power of ten of a value.
    UnitOfMeasure<'a> {
    } optional {
        unit: Text<'a>,
        multiplier: i32,
    }
}

record! {
    /// A component of the device model.
    Component<'a> {
        name: Text<'a>,
    } optional {
        evse: Evse,
        instance: Text<'a>,
    }
}

record! {
    /// A variable of a component.
    Variable<'a> {
        name: Text<'a>,
    } optional {
        instance: Text<'a>,
    }
}

words! {
    /// Which of a variable's values.
    closed AttributeType {
        Actual = "Actual",
        Target = "Target",
        MinSet = "MinSet",
        MaxSet = "MaxSet",
    }
}

words! {
    /// ChargingProfile.chargingProfilePurpose
    closed ChargingProfilePurpose {
        TxProfile = "TxProfile",
        TxDefaultProfile = "TxDefaultProfile",
        ChargingStationMaxProfile = "ChargingStationMaxProfile",
        ChargingStationExternalConstraints = "ChargingStationExternalConstraints",
    }
}

words! {
    /// ChargingProfile.chargingProfileKind
    closed ChargingProfileKind {
        Relative = "Relative",
        Absolute = "Absolute",
        Recurring = "Recurring",
    }
}

words! {
    /// ChargingProfile.recurrencyKind
    closed RecurrencyKind {
        Daily = "Daily",
        Weekly = "Weekly",
    }
}

words! {
    /// ChargingSchedule.chargingRateUnit
    closed ChargingRateUnit {
        Watts = "W",
        Amperes = "A",
    }
}

record! {
    /// Limits over time for an EVSE.
    ChargingProfile<'a> {
        id: i32,
        stack_level: u32,
        charging_profile_purpose: ChargingProfilePurpose,
        charging_profile_kind: ChargingProfileKind,
        charging_schedule: Vec<ChargingSchedule<'a>>,
    } optional {
        recurrency_kind: RecurrencyKind,
        #[serde(with = "crate::ocpp::time::optional")]
        valid_from: Timestamp,
        #[serde(with = "crate::ocpp::time::optional")]
        valid_to: Timestamp,
        transaction_id: Text<'a>,
    }
}

record! {
    /// A list of limits, each from its start on.
    ChargingSchedule<'a> {
        id: i32,
        charging_rate_unit: ChargingRateUnit,
        charging_schedule_period: Vec<ChargingSchedulePeriod>,
    } optional {
        #[serde(with = "crate::ocpp::time::optional")]
        start_schedule: Timestamp,
        duration: u32,
        min_charging_rate: Decimal,
        /// For ISO 15118 vehicles; passed on as it is.
        sales_tariff: Json<'a>,
    }
}

record! {
    /// One limit, from `start_period` seconds into the schedule.
    ChargingSchedulePeriod {
        start_period: u32,
        limit: Decimal,
    } optional {
        number_phases: u32,
        phase_to_use: u32,
    }
}
