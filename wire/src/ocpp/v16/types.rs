//! What several messages of 1.6 share.

use crate::ocpp::decimal::Decimal;
use crate::ocpp::text::Text;
use novax_model::Timestamp;

words! {
    /// IdTagInfo.status
    closed AuthorizationStatus {
        Accepted = "Accepted",
        Blocked = "Blocked",
        Expired = "Expired",
        Invalid = "Invalid",
        ConcurrentTx = "ConcurrentTx",
    }
}

record! {
    /// What the central system knows of a tag.
    IdTagInfo<'a> {
        status: AuthorizationStatus,
    } optional {
        #[serde(with = "crate::ocpp::time::optional")]
        expiry_date: Timestamp,
        parent_id_tag: Text<'a>,
    }
}

impl From<AuthorizationStatus> for IdTagInfo<'_> {
    fn from(status: AuthorizationStatus) -> Self {
        IdTagInfo { status, expiry_date: None, parent_id_tag: None }
    }
}

record! {
    /// Samples taken at one time.
    MeterValue<'a> {
        #[serde(with = "crate::ocpp::time")]
        timestamp: Timestamp,
        sampled_value: Vec<SampledValue<'a>>,
    }
}

record! {
    /// One sample. Fields left out have defaults: see [`crate::ocpp::meter`].
    SampledValue<'a> {
        value: Text<'a>,
    } optional {
        context: Text<'a>,
        format: Text<'a>,
        measurand: Text<'a>,
        phase: Text<'a>,
        location: Text<'a>,
        unit: Text<'a>,
    }
}

words! {
    /// ChargingProfile.chargingProfilePurpose
    closed ChargingProfilePurpose {
        TxProfile = "TxProfile",
        TxDefaultProfile = "TxDefaultProfile",
        ChargePointMaxProfile = "ChargePointMaxProfile",
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
    /// Limits over time for a connector.
    ChargingProfile {
        charging_profile_id: i32,
        stack_level: u32,
        charging_profile_purpose: ChargingProfilePurpose,
        charging_profile_kind: ChargingProfileKind,
        charging_schedule: ChargingSchedule,
    } optional {
        transaction_id: i32,
        recurrency_kind: RecurrencyKind,
        #[serde(with = "crate::ocpp::time::optional")]
        valid_from: Timestamp,
        #[serde(with = "crate::ocpp::time::optional")]
        valid_to: Timestamp,
    }
}

record! {
    /// A list of limits, each from its start on.
    ChargingSchedule {
        charging_rate_unit: ChargingRateUnit,
        charging_schedule_period: Vec<ChargingSchedulePeriod>,
    } optional {
        duration: u32,
        #[serde(with = "crate::ocpp::time::optional")]
        start_schedule: Timestamp,
        min_charging_rate: Decimal,
    }
}

record! {
    /// One limit, from `start_period` seconds into the schedule.
    ChargingSchedulePeriod {
        start_period: u32,
        limit: Decimal,
    } optional {
        number_phases: u32,
    }
}
