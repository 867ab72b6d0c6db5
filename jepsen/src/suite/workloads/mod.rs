//! The workloads there are.

mod api;
mod bank;
mod charge;
mod register;
mod set;
mod sql;
mod telemetry;

use super::workload::Workload;

/// Their names, and what they are about in a sentence.
pub const WORKLOADS: [(&str, &str); 6] = [
    ("register", "limits of sites, written and read: linearisable, key by key"),
    ("bank", "deposits with the balance in the answer: strictly serialisable by the journal"),
    ("set", "drivers that are made: none lost, none twice"),
    ("telemetry", "values of meters: none lost, none changed"),
    ("sql", "deposits, and views by SQL that are of one moment each"),
    ("charge", "stations that charge: every promise about starts, stops and money kept"),
];

/// The workload of a name, for so many lanes.
#[must_use]
pub fn workload(name: &str, lanes: usize) -> Option<Box<dyn Workload + Send>> {
    Some(match name {
        "register" => Box::new(register::Registers::default()),
        "bank" => Box::new(bank::Bank::default()),
        "set" => Box::new(set::Set::default()),
        "telemetry" => Box::new(telemetry::Telemetry::new(lanes)),
        "sql" => Box::new(sql::Sql::default()),
        "charge" => Box::new(charge::Charge),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_workload() {
        for (name, _) in WORKLOADS {
            assert_eq!(workload(name, 4).map(|workload| workload.name()), Some(name));
        }
        assert!(workload("gremlins", 4).is_none());
    }
}
