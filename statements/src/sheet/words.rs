//! The dictionary: every key of a sheet in every language.

use super::Language;

/// A key in a language. All keys are of this crate, so one that is missing is a fault of it.
pub(crate) fn word(key: &str, language: Language) -> &str {
    let found = WORDS.iter().find(|(known, ..)| *known == key);
    debug_assert!(found.is_some(), "{key} is not in the dictionary");
    match (found, language) {
        (None, _) => key,
        (Some((_, en, _)), Language::En) => en,
        (Some((_, _, de)), Language::De) => de,
    }
}

pub(crate) const WORDS: &[(&str, &str, &str)] = &[
    ("C62", "piece", "Stück"),
    ("HUR", "h", "h"),
    ("KWH", "kWh", "kWh"),
    ("account", "Account", "Konto"),
    ("adjustment", "Adjustment", "Korrektur"),
    ("amount", "Amount", "Betrag"),
    ("booked", "Booked", "Gebucht"),
    ("buyer", "Buyer", "Käufer"),
    ("buyer_vat_id", "Buyer's VAT id", "USt-IdNr. des Käufers"),
    ("cdr", "Session", "Ladevorgang"),
    ("charging_time", "Charging time", "Ladezeit"),
    ("closing", "Closing balance", "Endsaldo"),
    ("correction", "Correction", "Korrektur"),
    ("corrections", "Corrections", "Korrekturen"),
    ("credit_note", "Credit note", "Gutschrift (Rechnungskorrektur)"),
    ("document", "Number", "Nummer"),
    ("due", "Amount due", "Zahlbetrag"),
    ("due_on", "Due on", "Fällig am"),
    ("energy", "Energy", "Energie"),
    ("energy_kwh", "Energy", "Energie"),
    ("entries", "Entries", "Buchungen"),
    ("fee", "Fee", "Gebühr"),
    ("flat", "Fixed fee", "Grundgebühr"),
    ("from", "From", "Von"),
    ("gross", "Gross", "Brutto"),
    ("guarantee", "Guarantee", "Mindestgarantie"),
    ("invoice", "Invoice", "Rechnung"),
    ("issued", "Issued", "Ausgestellt am"),
    ("item", "Item", "Leistung"),
    ("kind", "Kind", "Art"),
    ("limit", "Price limit", "Preisgrenze"),
    ("line", "No.", "Pos."),
    ("lines", "Items", "Positionen"),
    ("name", "Name", "Name"),
    ("net", "Net", "Netto"),
    ("number", "Entry", "Buchung"),
    ("opening", "Opening balance", "Anfangssaldo"),
    ("operator", "Operator", "Betreiber"),
    ("original", "Corrects", "Zu Rechnung"),
    ("original_issued", "of", "vom"),
    ("other", "Other", "Sonstiges"),
    ("paid", "Paid", "Bezahlt"),
    ("parking", "Parking", "Standzeit"),
    ("partner", "Partner", "Partner"),
    ("party", "Partner", "Partner"),
    ("payout", "Payout", "Auszahlung"),
    ("period_from", "Period from", "Zeitraum von"),
    ("period_until", "Period until (exclusive)", "Zeitraum bis (ausschließlich)"),
    ("price", "Price", "Preis"),
    ("quantity", "Quantity", "Menge"),
    ("rate", "Rate", "Satz"),
    ("receipt", "Receipt", "Beleg"),
    ("reference", "Reference", "Bezug"),
    ("reservation", "Reservation", "Reservierung"),
    ("revenue_report", "Revenue report", "Umsatzbericht"),
    (
        "reverse_charge",
        "Reverse charge: the recipient is liable for the tax (Directive 2006/112/EC, article 195).",
        "Steuerschuldnerschaft des Leistungsempfängers (Richtlinie 2006/112/EG, Artikel 195).",
    ),
    ("rounding", "Rounding", "Rundung"),
    ("seller", "Seller", "Verkäufer"),
    ("seller_tax_number", "Seller's tax number", "Steuernummer des Verkäufers"),
    ("seller_vat_id", "Seller's VAT id", "USt-IdNr. des Verkäufers"),
    ("session", "Charging session", "Ladevorgang"),
    ("sessions", "Sessions", "Ladevorgänge"),
    ("settlement_statement", "Settlement statement", "Abrechnung"),
    ("share", "Share", "Anteil"),
    ("site", "Site", "Standort"),
    ("sums", "Summary", "Zusammenfassung"),
    ("tax", "Tax", "Steuer"),
    ("tax_code", "Category", "Kategorie"),
    ("tax_name", "Tax", "Steuer"),
    ("taxable", "Taxable amount", "Bemessungsgrundlage"),
    ("taxes", "Taxes", "Steuern"),
    ("unit", "Unit", "Einheit"),
    ("until", "Until", "Bis"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_sorted_and_has_each_key_once() {
        assert!(WORDS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(WORDS.iter().all(|(key, en, de)| ![*key, *en, *de].contains(&"")));
    }
}
