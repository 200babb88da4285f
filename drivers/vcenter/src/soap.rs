//! SOAP envelopes around vim25 calls: requests as text, answers as an element or a fault.
//!
//! Pure. A fault is told by the type of its detail (vSphere Web Services SDK, "Faults"), never by its text, which may
//! be empty, and never by the HTTP status, which is 500 for all of them.

use std::fmt::{self, Display, Write as _};

use quick_xml::escape::escape;

use crate::xml::{Element, XmlError, parse};

/// A reference to an object on the server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Reference {
    /// Its type, for instance `EventManager`.
    pub(crate) ty: String,
    /// Its name there.
    pub(crate) value: String,
}

impl Reference {
    pub(crate) fn new(ty: &str, value: &str) -> Self {
        Self {
            ty: ty.to_owned(),
            value: value.to_owned(),
        }
    }
    /// The reference an element holds.
    pub(crate) fn of(element: &Element) -> Option<Self> {
        let value = element.text.trim();
        let ty = element.reference_type.as_deref()?;
        (!value.is_empty()).then(|| Self::new(ty, value))
    }
}

/// A call of one method. Arguments are written in the order of the schema, which the server insists on.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Call {
    method: &'static str,
    inside: String,
}

impl Call {
    /// A call of `method` on `this`.
    pub(crate) fn new(method: &'static str, this: &Reference) -> Self {
        let mut call = Self {
            method,
            inside: String::new(),
        };
        call.write_reference("_this", this);
        call
    }
    /// An argument that is text.
    pub(crate) fn text(mut self, name: &str, value: impl Display) -> Self {
        let value = value.to_string();
        // Writing into a string cannot fail.
        write!(self.inside, "<{name}>{}</{name}>", escape(value.as_str())).unwrap_or_default();
        self
    }
    /// An argument that is a reference.
    pub(crate) fn reference(mut self, name: &str, to: &Reference) -> Self {
        self.write_reference(name, to);
        self
    }
    /// An argument with arguments inside.
    pub(crate) fn nested(mut self, name: &str, inside: impl FnOnce(Self) -> Self) -> Self {
        write!(self.inside, "<{name}>").unwrap_or_default();
        self = inside(self);
        write!(self.inside, "</{name}>").unwrap_or_default();
        self
    }
    fn write_reference(&mut self, name: &str, to: &Reference) {
        let (ty, value) = (escape(to.ty.as_str()), escape(to.value.as_str()));
        write!(self.inside, "<{name} type=\"{ty}\">{value}</{name}>").unwrap_or_default();
    }
    /// Name of the method, for logs.
    pub(crate) fn method(&self) -> &'static str {
        self.method
    }
    /// The whole request.
    pub(crate) fn envelope(&self) -> String {
        let Self { method, inside } = self;
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>\
             <{method} xmlns=\"urn:vim25\">{inside}</{method}></soapenv:Body></soapenv:Envelope>"
        )
    }
}

impl fmt::Debug for Call {
    /// Names the method; a login's arguments are nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&self.method).finish()
    }
}

/// What the server refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.shown())]
pub(crate) struct Fault {
    /// Type of the detail, for instance `NotAuthenticated`.
    pub(crate) kind: String,
    /// The server's words.
    pub(crate) message: String,
    /// The privilege the user lacks, and on which object.
    pub(crate) lacks: Option<(String, Reference)>,
}

impl Fault {
    fn shown(&self) -> String {
        let lacks = self.lacks.as_ref().map(|(privilege, on)| {
            let Reference { ty, value } = on;
            format!("the user lacks the privilege {privilege} on {ty} {value}")
        });
        match lacks.or_else(|| (!self.message.is_empty()).then(|| self.message.clone())) {
            None => self.kind.clone(),
            Some(words) => format!("{words} ({})", self.kind),
        }
    }
    /// Whether the session is gone.
    pub(crate) fn is_not_authenticated(&self) -> bool {
        self.kind == "NotAuthenticated"
    }
    /// Whether an object of ours is gone while the session lives.
    pub(crate) fn is_gone(&self) -> bool {
        self.kind == "ManagedObjectNotFound"
    }
    /// Whether trying to log in again with the same words can only do harm.
    pub(crate) fn is_refused_login(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "InvalidLogin" | "NoPermission" | "PasswordExpired" | "RestrictedVersion"
        )
    }
}

/// An answer that is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnswerError {
    /// The server understood and refused.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// XML, but broken.
    #[error("the answer is cut or broken: {0}")]
    Broken(XmlError),
    /// Something else answers here.
    #[error("the answer is not from a vCenter (no SOAP envelope)")]
    Foreign,
}

/// The response element inside an envelope.
pub(crate) fn answer(text: &str) -> Result<Element, AnswerError> {
    let head = text.get(..text.len().min(1000)).unwrap_or(text);
    let envelope = match parse(text) {
        Ok(root) if root.name == "Envelope" => root,
        Err(error) if head.contains("Envelope") => return Err(AnswerError::Broken(error)),
        Ok(_) | Err(_) => return Err(AnswerError::Foreign),
    };
    let body = envelope.children.into_iter().find(|c| c.name == "Body");
    let Some(inside) = body.and_then(|b| b.children.into_iter().next()) else {
        return Err(AnswerError::Foreign);
    };
    match inside.name == "Fault" {
        true => Err(fault(&inside).into()),
        false => Ok(inside),
    }
}

fn fault(element: &Element) -> Fault {
    let detail = element.child("detail").and_then(|d| d.children.first());
    let kind = detail.map(|d| {
        let name = d.name.strip_suffix("Fault").unwrap_or(&d.name);
        d.xsi_type.clone().unwrap_or_else(|| name.to_owned())
    });
    let code = element.text_of("faultcode").unwrap_or("Fault");
    let privilege = detail.and_then(|d| d.text_of("privilegeId"));
    let object = detail.and_then(|d| d.child("object")).and_then(Reference::of);
    let kind = kind.unwrap_or_else(|| code.rsplit(':').next().unwrap_or(code).to_owned());
    // A session that has ended lacks every privilege; that is not worth a word.
    let lacks = privilege.map(str::to_owned).zip(object);
    Fault {
        lacks: lacks.filter(|_| kind == "NoPermission"),
        kind,
        message: element.text_of("faultstring").unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(name: &str) -> String {
        let path = format!("{}/tests/recorded/{name}.xml", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    }
    fn fault_of(name: &str) -> Fault {
        match answer(&recorded(name)) {
            Err(AnswerError::Fault(fault)) => fault,
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn arguments_are_escaped() {
        let call = Call::new("Login", &Reference::new("SessionManager", "SessionManager"))
            .text("userName", "DOM\\admin")
            .text("password", "s3cret&<x>\"'");

        let body = call.envelope();

        assert!(
            body.contains("<password>s3cret&amp;&lt;x&gt;&quot;&apos;</password>"),
            "{body}"
        );
        let request = answer(&body).unwrap();
        assert_eq!(request.name, "Login");
        assert_eq!(request.text_of("password"), Some("s3cret&<x>\"'"));
        assert!(!format!("{call:?}").contains("s3cret"));
    }

    #[test]
    fn faults_are_told_by_their_detail() {
        assert!(fault_of("login-refused").is_refused_login());
        assert!(fault_of("not-authenticated").is_not_authenticated());
        assert!(fault_of("collector-gone").is_gone());
        assert_eq!(fault_of("too-many-collectors").kind, "InvalidState");
        assert_eq!(fault_of("not-authenticated").to_string(), "NotAuthenticated");
    }

    #[test]
    fn a_missing_right_is_named_with_its_object() {
        let text = "<Envelope><Body><Fault><faultcode>ServerFaultCode</faultcode><faultstring/><detail>\
            <NoPermissionFault><object type=\"Folder\">group-d1</object><privilegeId>System.View</privilegeId>\
            </NoPermissionFault></detail></Fault></Body></Envelope>";
        let Err(AnswerError::Fault(fault)) = answer(text) else {
            panic!("a fault");
        };
        assert_eq!(
            fault.to_string(),
            "the user lacks the privilege System.View on Folder group-d1 (NoPermission)"
        );
    }

    #[test]
    fn an_answer_is_the_element_in_the_body() {
        let content = answer(&recorded("service-content")).unwrap();
        let events = content.at(&["returnval", "eventManager"]).and_then(Reference::of);
        assert_eq!(events, Some(Reference::new("EventManager", "EventManager")));
    }

    #[test]
    fn a_proxy_s_page_is_no_answer_and_a_cut_answer_is_broken() {
        assert_eq!(
            answer("<html><body>502 Bad Gateway</body></html>"),
            Err(AnswerError::Foreign)
        );
        assert_eq!(answer("upstream reset"), Err(AnswerError::Foreign));
        assert_eq!(answer(""), Err(AnswerError::Foreign));
        let whole = recorded("service-content");
        let cut = whole.get(..whole.len() / 2).unwrap();
        assert!(matches!(answer(cut), Err(AnswerError::Broken(_))));
    }
}
