//! Names of resources: what they may look like, by kind.

use crate::Invalid;
use crate::invalid::{at_most, required};

const MAX_NAME: usize = 128;
const MAX_DRIVER_TYPE_NAME: usize = 32;

/// Checks the name of a resource of this kind (`Function`, `Driver`, …), with the original's words.
///
/// Names begin with a letter or digit and go on with letters, digits, `_` and `-`; those of event drivers
/// are lower case and have no `_`. At most 128 characters, for event driver types 32.
pub fn check_name(kind: &str, name: &str) -> Result<(), Invalid> {
    required("name", name)?;
    let max = if kind == "DriverType" {
        MAX_DRIVER_TYPE_NAME
    } else {
        MAX_NAME
    };
    at_most("name", "characters", name.chars().count(), max)?;
    let (letter, rest, words): (fn(u8) -> bool, &[u8], _) = match kind {
        "Driver" => (
            |b| b.is_ascii_lowercase() || b.is_ascii_digit(),
            b"-",
            "should start with lower case letter or number and may only contain lower case letters, numbers and dashes",
        ),
        _ => (
            |b| b.is_ascii_alphanumeric(),
            b"_-",
            "should start with letter or number and may only contain letters, numbers, underscores and dashes",
        ),
    };
    // `\w` holds the underscore too, so the general pattern lets a name begin with one.
    let first = |b: u8| letter(b) || (kind != "Driver" && b == b'_');
    let fine = name.bytes().enumerate().all(|(at, b)| {
        if at == 0 {
            first(b)
        } else {
            letter(b) || rest.contains(&b)
        }
    });
    if fine {
        Ok(())
    } else {
        Err(Invalid::new("name", words))
    }
}

/// Whether this can name anything at all, as in a path or in `X-Dispatch-Org`: `^[\w\d\-]+$`, at most 128 characters.
pub fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// A field that names another resource.
pub(crate) fn check_reference(field: &str, name: &str) -> Result<(), Invalid> {
    required(field, name)?;
    if is_name(name) {
        return Ok(());
    }
    Err(Invalid::new(
        field,
        "may only contain letters, numbers, underscores and dashes, at most 128",
    ))
}

/// A field that names several.
pub(crate) fn check_references(field: &str, names: &[String]) -> Result<(), Invalid> {
    at_most(field, "names", names.len(), 64)?;
    names.iter().try_for_each(|name| check_reference(field, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_with_the_words_of_the_original() {
        let general = "name should start with letter or number and may only contain letters, numbers, \
                       underscores and dashes";
        let driver = "name should start with lower case letter or number and may only contain lower case \
                      letters, numbers and dashes";
        let table = [
            ("Subscription", "harden_deployed", None),
            ("Function", "Hello-2", None),
            ("Function", "2", None),
            ("Function", "-a", Some(general)),
            ("Function", "a.b", Some(general)),
            ("Function", "ä", Some(general)),
            ("Function", "a\n", Some(general)),
            ("Driver", "every-10-seconds", None),
            ("Driver", "a_b", Some(driver)),
            ("Driver", "Abc", Some(driver)),
            ("Function", "", Some("name is required")),
            (
                "DriverType",
                "a23456789012345678901234567890123",
                Some("name has 33 characters; at most 32 are allowed"),
            ),
        ];
        for (kind, name, problem) in table {
            let found = check_name(kind, name).err().map(|e| e.to_string());
            assert_eq!(found.as_deref(), problem, "{kind} {name:?}");
        }
    }

    #[test]
    fn organizations_and_paths_hold_letters_digits_underscores_and_dashes() {
        for good in ["dispatch", "-a", "_", "A-1_b"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "a b", "a/b", "..", "é", &"a".repeat(129)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
