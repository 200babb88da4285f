//! What an organization may take of the hub, so that the others keep theirs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::rest::organization;

/// Quotas of all organizations.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Quotas {
    /// For each organization, as far as nothing is said of it below.
    pub default: Quota,
    /// For organizations by name.
    pub organizations: BTreeMap<OrganizationName, Quota>,
}

/// Quotas of one organization; what is not said is as in the default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Quota {
    /// Events its senders may bring in a second, and at once after a rest.
    pub events_per_second: Option<Most>,
    /// Bytes of its events in the journal above which its senders may bring no more.
    pub bytes_stored: Option<Most>,
    /// Deliveries it may have under way at once.
    pub in_flight: Option<Most>,
}

/// How much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Most {
    /// So much, at least one.
    Of(u64),
    /// Whatever there is.
    Unlimited,
}

/// The name of an organization, checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct OrganizationName(Arc<str>);

impl Quotas {
    /// Events an organization may bring in a second; `None`: as many as it likes.
    pub(crate) fn events_per_second(&self, organization: &str) -> Option<u32> {
        let rate = self.of(organization, |quota| quota.events_per_second)?;
        Some(u32::try_from(rate).unwrap_or(u32::MAX))
    }

    /// Bytes of events an organization may have in the journal; `None`: as many as it likes.
    pub(crate) fn bytes_stored(&self, organization: &str) -> Option<u64> {
        self.of(organization, |quota| quota.bytes_stored)
    }

    /// Deliveries an organization may have under way at once, and calls through APIs beside them; `None`: any number.
    pub(crate) fn in_flight_of(&self, organization: &str) -> Option<u64> {
        self.of(organization, |quota| quota.in_flight)
    }

    fn of(&self, organization: &str, which: impl Fn(&Quota) -> Option<Most>) -> Option<u64> {
        let own = self.organizations.get(organization);
        own.and_then(&which)
            .or_else(|| which(&self.default))
            .and_then(Most::number)
    }

    /// Whether the doors or the gateway must look at anybody.
    pub(crate) fn bounds_anybody(&self) -> bool {
        self.all()
            .flat_map(|quota| [quota.events_per_second, quota.bytes_stored, quota.in_flight])
            .any(|most| matches!(most, Some(Most::Of(_))))
    }

    /// What the router must know.
    pub(crate) fn in_flight(&self) -> dispatch_router::Quotas {
        let number = |most: Most| most.number().map(|number| number as usize);
        let own =
            |(name, quota): (&OrganizationName, &Quota)| Some((name.0.clone(), number(quota.in_flight?)));
        dispatch_router::Quotas {
            each: self.default.in_flight.and_then(number),
            of: self.organizations.iter().filter_map(own).collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Quota> {
        self.organizations.values().chain([&self.default])
    }
}

impl Most {
    fn number(self) -> Option<u64> {
        match self {
            Self::Of(number) => Some(number),
            Self::Unlimited => None,
        }
    }
}

impl std::borrow::Borrow<str> for OrganizationName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for Most {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Of(number) => serializer.serialize_u64(*number),
            Self::Unlimited => serializer.serialize_str(UNLIMITED),
        }
    }
}

const UNLIMITED: &str = "unlimited";

impl<'de> Deserialize<'de> for Most {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Most;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number of at least 1, or {UNLIMITED}")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Most, E> {
                match number {
                    1.. => Ok(Most::Of(number)),
                    0 => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Most, E> {
                match text {
                    UNLIMITED => Ok(Most::Unlimited),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl<'de> Deserialize<'de> for OrganizationName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = OrganizationName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an organization: letters, digits, - and _, at most 128")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OrganizationName, E> {
                match organization::is_name(text) {
                    true => Ok(OrganizationName(text.into())),
                    false => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_str(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(text: &str) -> Quotas {
        serde_norway::from_str(text).unwrap()
    }

    #[test]
    fn an_organization_has_its_own_quota_or_that_of_all_or_none() {
        let quotas = quotas(
            "default: {events-per-second: 100}\n\
             organizations: {own: {events-per-second: 5}, free: {events-per-second: unlimited}, other: {in-flight: 3}}",
        );

        let found = ["own", "free", "other", "unheard-of"].map(|name| quotas.events_per_second(name));

        assert_eq!(found, [Some(5), None, Some(100), Some(100)]);
    }

    #[test]
    fn bytes_may_be_more_than_four_billion() {
        let quotas =
            quotas("default: {bytes-stored: 10737418240}\norganizations: {free: {bytes-stored: unlimited}}");

        assert_eq!(quotas.bytes_stored("any"), Some(10 << 30));
        assert_eq!(quotas.bytes_stored("free"), None);
    }

    #[test]
    fn the_router_hears_of_what_is_under_way_and_of_nothing_else() {
        let quotas = quotas(
            "default: {in-flight: 100}\n\
             organizations: {own: {in-flight: 5}, free: {in-flight: unlimited}, other: {events-per-second: 3}}",
        );

        let told = quotas.in_flight();

        assert_eq!(told.each, Some(100));
        assert_eq!(told.of, [("free".into(), None), ("own".into(), Some(5))].into());
    }

    #[test]
    fn the_doors_look_only_where_somebody_is_bounded() {
        assert!(!Quotas::default().bounds_anybody());
        assert!(!quotas("default: {in-flight: unlimited, events-per-second: unlimited}").bounds_anybody());
        assert!(quotas("default: {in-flight: 1}").bounds_anybody());
        assert!(quotas("organizations: {own: {events-per-second: 1}}").bounds_anybody());
        assert!(quotas("default: {bytes-stored: 1}").bounds_anybody());
    }
}
