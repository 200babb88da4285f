//! The parts of the inventory whose events are read, as `within` names them: by their paths.

use crate::content::Content;
use crate::inventory::find;
use crate::session::{Session, SessionError};
use crate::soap::Reference;

/// Each part is read by two collectors, and searched by a third; a session may have 32.
const MAX_PARTS: usize = 10;

/// Paths without their first slash, each once; none is the whole inventory.
pub(crate) fn paths(written: &[String]) -> Result<Vec<String>, String> {
    let mut paths = Vec::new();
    for path in written {
        // A comma ends a path; within one it is written as vCenter writes a slash.
        let path = path.trim_matches('/').replace("%2c", ",").replace("%2C", ",");
        if path.is_empty() {
            return Ok(Vec::new());
        }
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    match paths.len() {
        ..=MAX_PARTS => Ok(paths),
        count => Err(format!("names {count} paths, at most {MAX_PARTS} are read")),
    }
}

/// The objects at these paths; the root when there are none. An object that two paths name is one part.
pub(crate) async fn at(
    session: &mut Session,
    content: &Content,
    paths: &[String],
) -> Result<Vec<Reference>, SessionError> {
    if paths.is_empty() {
        return Ok(vec![content.root_folder.clone()]);
    }
    let mut parts = Vec::new();
    for path in paths {
        let part = find(session, content, path).await?;
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(written: &[&str]) -> Result<Vec<String>, String> {
        let written: Vec<String> = written.iter().map(|path| (*path).to_owned()).collect();
        paths(&written)
    }

    #[test]
    fn paths_are_read_as_people_write_them() {
        let table: [(&[&str], &[&str]); 5] = [
            (&[], &[]),
            (&["/DC0/vm/web/", "DC1"], &["DC0/vm/web", "DC1"]),
            (&["/DC0", "DC0"], &["DC0"]),
            (&["/DC0", "/"], &[]),
            (&["/DC0/vm/Web%2c Prod"], &["DC0/vm/Web, Prod"]),
        ];
        for (written, expected) in table {
            assert_eq!(read(written).unwrap(), expected, "{written:?}");
        }
    }

    #[test]
    fn more_paths_than_a_session_has_collectors_for_are_refused() {
        let many: Vec<String> = (0..=MAX_PARTS).map(|n| format!("/DC{n}")).collect();
        assert_eq!(paths(&many).unwrap_err(), "names 11 paths, at most 10 are read");
        assert_eq!(paths(&many[1..]).unwrap().len(), MAX_PARTS);
    }
}
