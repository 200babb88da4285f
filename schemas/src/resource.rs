//! What all resources have in common: a kind, a name, an identity, and checks.
//!
//! The store works with any [`Resource`]. It alone calls [`Resource::stamp`], which sets what nobody else
//! may: id, name and times; and drops what is written but never kept beside the resource (a function's source).

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{Invalid, Tag};

/// What the store sets on a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// New for each resource created, even under an old name.
    pub id: Uuid,
    /// The name under which it is stored.
    pub name: String,
    /// Unix seconds.
    pub created: i64,
    /// Unix seconds.
    pub modified: i64,
}

/// Something people create, read, update and delete by name.
pub trait Resource: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The `kind` of YAML documents and of bodies: `Function`.
    const KIND: &'static str;
    /// The word in messages: `function`, `base image`.
    const NOUN: &'static str;
    /// Whether the store keeps it encrypted.
    const SEALED: bool = false;

    /// Unique per kind and organization.
    fn name(&self) -> &str;
    /// Set by the store; nil before.
    fn id(&self) -> Uuid;
    /// Labels.
    fn tags(&self) -> &[Tag];
    /// Sets identity, kind and times; drops write-only fields. For the store.
    fn stamp(&mut self, stamp: &Stamp);
    /// Checks what can be checked without asking anybody; names the first wrong field.
    fn check(&self) -> Result<(), Invalid>;
}

/// What every check begins with.
pub(crate) fn check_common<R: Resource>(resource: &R, kind: &str) -> Result<(), Invalid> {
    if !kind.is_empty() && kind != R::KIND {
        return Err(Invalid::new("kind", format!("must be {}, not {kind:?}", R::KIND)));
    }
    crate::check_name(R::KIND, resource.name())?;
    crate::tag::check_tags(resource.tags())
}

/// Implements [`Resource`] but for what differs: the kind, the noun, where the times go, more to do on stamping, the check.
macro_rules! resource {
    ($ty:ty, $kind:literal, $noun:literal, $(times: [$created:ident $(, $modified:ident)?],)? $(stamped: $stamped:expr,)? $(sealed: $sealed:literal,)? check: $check:expr) => {
        impl crate::Resource for $ty {
            const KIND: &'static str = $kind;
            const NOUN: &'static str = $noun;
            $(const SEALED: bool = $sealed;)?
            fn name(&self) -> &str {
                &self.name
            }
            fn id(&self) -> uuid::Uuid {
                self.id
            }
            fn tags(&self) -> &[crate::Tag] {
                &self.tags
            }
            fn stamp(&mut self, stamp: &crate::Stamp) {
                self.id = stamp.id;
                self.name.clone_from(&stamp.name);
                self.kind = $kind.to_owned();
                $(self.$created = stamp.created; $(self.$modified = stamp.modified;)?)?
                $(($stamped)(self);)?
            }
            fn check(&self) -> Result<(), crate::Invalid> {
                crate::resource::check_common(self, &self.kind)?;
                let check: fn(&$ty) -> Result<(), crate::Invalid> = $check;
                check(self)
            }
        }
    };
}
pub(crate) use resource;
