//! Where executables are found.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// `dispatch-sandbox`: where [`executable_named`] looks.
pub fn executable(plugins: Option<&Path>) -> Option<PathBuf> {
    executable_named(crate::EXECUTABLE, plugins)
}

/// An executable of ours: beside the running one, in `plugins`, then on `PATH`.
pub fn executable_named(name: &str, plugins: Option<&Path>) -> Option<PathBuf> {
    let own = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.to_owned()));
    let before = own.into_iter().chain(plugins.map(Path::to_owned));
    find(name, before, std::env::var_os("PATH").as_deref())
}

/// `bwrap` on `PATH`.
pub fn bubblewrap() -> Option<PathBuf> {
    find("bwrap", std::iter::empty(), std::env::var_os("PATH").as_deref())
}

fn find(name: &str, before: impl Iterator<Item = PathBuf>, path: Option<&OsStr>) -> Option<PathBuf> {
    let on_path = path.map(std::env::split_paths).into_iter().flatten();
    before
        .chain(on_path.filter(|folder| folder.is_absolute()))
        .map(|folder| folder.join(name))
        .filter_map(|path| std::path::absolute(path).ok())
        .find(|path| {
            std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
}
