//! Names nobody had to invent: `complete-cicada-410962`.

/// An adjective, a noun and six digits.
pub(crate) fn generate() -> String {
    let words = petname::petname(2, "-").unwrap_or_else(|| "new-name".to_owned());
    let digits = uuid::Uuid::new_v4().as_u128() % 1_000_000;
    format!("{words}-{digits:06}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_generated_name_is_an_adjective_a_noun_and_six_digits() {
        let name = super::generate();

        let parts: Vec<_> = name.split('-').collect();
        assert_eq!(parts.len(), 3, "{name}");
        assert!(
            parts[..2]
                .iter()
                .all(|word| word.bytes().all(|b| b.is_ascii_lowercase())),
            "{name}"
        );
        assert!(
            parts[2].len() == 6 && parts[2].bytes().all(|b| b.is_ascii_digit()),
            "{name}"
        );
        assert_ne!(name, super::generate());
    }
}
