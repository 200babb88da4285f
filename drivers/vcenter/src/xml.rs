//! XML text into a tree of elements, with namespaces resolved and nothing about vCenter known.
//!
//! Made for answers that are not always clean: bytes that are no UTF-8 and characters XML forbids become
//! U+FFFD, so one bad message cannot spoil a page of events. Broken structure is an error. Depth is bounded.

use std::ops::Range;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
/// Deeper than anything vCenter sends, shallow enough for any stack.
const MAX_DEPTH: usize = 100;

/// One element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Element {
    /// Local name.
    pub(crate) name: String,
    /// `xsi:type` without its prefix.
    pub(crate) xsi_type: Option<String>,
    /// The plain attribute `type`: what a managed object reference refers to.
    pub(crate) reference_type: Option<String>,
    /// Child elements in order.
    pub(crate) children: Vec<Element>,
    /// All text directly inside.
    pub(crate) text: String,
    /// Where the element stands in the parsed text.
    pub(crate) span: Range<usize>,
}

/// Why text is no XML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not XML at byte {at}: {problem}")]
pub(crate) struct XmlError {
    at: u64,
    problem: String,
}

impl Element {
    /// The first child of this name.
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|c| c.name == name)
    }
    /// Follows names downwards, always the first child.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Element> {
        path.iter().try_fold(self, |element, name| element.child(name))
    }
    /// Trimmed text of the first child of this name, unless empty.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|c| c.text.trim()).filter(|t| !t.is_empty())
    }
    /// All children of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |c| c.name == name)
    }
}

/// What came over the wire as text: never fails.
pub(crate) fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let forbidden = |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    match text.contains(forbidden) {
        true => text.replace(forbidden, "\u{fffd}"),
        false => text.into_owned(),
    }
}

/// Parses a document.
pub(crate) fn parse(text: &str) -> Result<Element, XmlError> {
    let mut reader = NsReader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        let at = reader.buffer_position();
        let fail = |problem: String| XmlError { at, problem };
        match reader.read_event().map_err(|e| fail(e.to_string()))? {
            Event::Start(start) => {
                if open.len() == MAX_DEPTH {
                    return Err(fail(format!("elements nest deeper than {MAX_DEPTH}")));
                }
                open.push(element(&reader, &start, at)?);
            }
            Event::Empty(start) => {
                let mut element = element(&reader, &start, at)?;
                element.span.end = place(reader.buffer_position());
                match (open.last_mut(), &root) {
                    (Some(parent), _) => parent.children.push(element),
                    (None, None) => root = Some(element),
                    (None, Some(_)) => return Err(fail("a second root element".to_owned())),
                }
            }
            Event::End(_) => {
                let Some(mut element) = open.pop() else {
                    return Err(fail("an end without a beginning".to_owned()));
                };
                element.span.end = place(reader.buffer_position());
                match (open.last_mut(), &root) {
                    (Some(parent), _) => parent.children.push(element),
                    (None, None) => root = Some(element),
                    (None, Some(_)) => return Err(fail("a second root element".to_owned())),
                }
            }
            Event::Text(text) => push(&mut open, &text.xml10_content()),
            Event::CData(text) => push(&mut open, &text.xml10_content()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                Ok(Some(c)) => push(&mut open, &clean(c.encode_utf8(&mut [0; 4]).as_bytes())),
                Ok(None) => {
                    let name = reference.into_inner();
                    let known = resolve_predefined_entity(&name);
                    push(&mut open, known.unwrap_or("\u{fffd}"));
                }
                Err(_) => push(&mut open, "\u{fffd}"),
            },
            // Nobody needs a document type, and entities of its own are an attack.
            Event::DocType(_) => return Err(fail("a document type is not accepted".to_owned())),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    let at = text.len() as u64;
    match (root, open.is_empty()) {
        (Some(root), true) => Ok(root),
        _ => Err(XmlError {
            at,
            problem: "the text ends too early".to_owned(),
        }),
    }
}

fn push(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

fn place(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

fn element(reader: &NsReader<&[u8]>, start: &BytesStart<'_>, at: u64) -> Result<Element, XmlError> {
    let mut element = Element {
        name: start.local_name().as_ref().to_owned(),
        span: place(at)..place(at),
        ..Element::default()
    };
    for attribute in start.attributes() {
        let fail = |problem: String| XmlError { at, problem };
        let attribute = attribute.map_err(|e| fail(e.to_string()))?;
        let (namespace, local) = reader.resolver().resolve_attribute(attribute.key);
        if local.as_ref() != "type" {
            continue;
        }
        let value = attribute.value;
        match namespace {
            ResolveResult::Bound(ns) if ns.as_ref() == XSI => {
                element.xsi_type = Some(value.rsplit(':').next().unwrap_or_default().to_owned());
            }
            ResolveResult::Unbound => element.reference_type = Some(value.into_owned()),
            ResolveResult::Bound(_) | ResolveResult::Unknown(_) => {}
        }
    }
    Ok(element)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_found_whatever_its_prefix() {
        for prefix in ["xsi", "XMLSchema-instance", "_XMLSchema-instance"] {
            let text = format!(
                r#"<a xmlns:{prefix}="http://www.w3.org/2001/XMLSchema-instance" {prefix}:type="ns1:Foo"/>"#
            );
            assert_eq!(parse(&text).unwrap().xsi_type.as_deref(), Some("Foo"), "{prefix}");
        }
    }

    #[test]
    fn a_type_of_another_namespace_is_no_type() {
        let root = parse(r#"<a xmlns:x="urn:other" x:type="Foo" type="VirtualMachine">vm-57</a>"#).unwrap();
        assert_eq!(root.xsi_type, None);
        assert_eq!(root.reference_type.as_deref(), Some("VirtualMachine"));
        assert_eq!(root.text, "vm-57");
    }

    #[test]
    fn elements_nest_under_their_own_name() {
        let root = parse(r#"<e><vm><name>a</name><vm type="VirtualMachine">vm-1</vm></vm></e>"#).unwrap();
        assert_eq!(root.at(&["vm", "vm"]).unwrap().text, "vm-1");
        assert_eq!(root.child("vm").unwrap().text_of("name"), Some("a"));
    }

    #[test]
    fn references_and_cdata_become_text() {
        let root =
            parse("<a>&lt;x&gt; &amp; &#252; &#x65e5; <![CDATA[<&>]]> &nbsp; &#1; &#xD800;</a>").unwrap();
        assert_eq!(root.text, "<x> & \u{fc} \u{65e5} <&> \u{fffd} \u{fffd} \u{fffd}");
    }

    #[test]
    fn bytes_that_may_not_be_there_become_replacements() {
        let root = parse(&clean(b"<a>x\xffy\x01z\tok</a>")).unwrap();
        assert_eq!(root.text, "x\u{fffd}y\u{fffd}z\tok");
    }

    #[test]
    fn the_span_is_the_source_of_the_element() {
        let text = "<a> <b x=\"1\"><c/></b> <d/></a>";
        let root = parse(text).unwrap();
        let spans: Vec<&str> = root.children.iter().map(|c| &text[c.span.clone()]).collect();
        assert_eq!(spans, ["<b x=\"1\"><c/></b>", "<d/>"]);
    }

    #[test]
    fn broken_structure_is_an_error_and_never_a_panic() {
        let deep = "<a>".repeat(100_000);
        let text = "<a xmlns=\"urn:x\"><b>t&amp;</b><c/></a>";
        let cuts = (0..text.len()).map(|n| text[..n].to_owned());
        let odd = [
            "",
            "<a></b>",
            "</a>",
            "<a/><b/>",
            "<!DOCTYPE a [<!ENTITY e \"x\">]><a>&e;</a>",
            "plain",
            &deep,
        ];
        for text in cuts.chain(odd.into_iter().map(str::to_owned)) {
            assert!(
                parse(&text).is_err(),
                "{}",
                text.chars().take(40).collect::<String>()
            );
        }
    }
}
