//! ISO 3166-1: two letters to three. The table is `data/countries.txt`.

/// The three letters of a country given by two; `None` when the table has no such country.
#[must_use]
pub fn alpha3(alpha2: &str) -> Option<&'static str> {
    let table = include_str!("../data/countries.txt");
    table.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let (two, three) = line.split_once(' ')?;
        (two == alpha2).then_some(three)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_letters_lead_to_three() {
        assert_eq!(
            [alpha3("DE"), alpha3("BE"), alpha3("CN")],
            [Some("DEU"), Some("BEL"), Some("CHN")]
        );
        assert_eq!([alpha3("XX"), alpha3("de"), alpha3("")], [None; 3]);
    }
}
