//! Which program a driver type means, and where it lies.
//!
//! An image that is a path is that program. An image that names one of the original's containers
//! (`dispatchframework/dispatch-events-cron:0.0.1`) is our executable for the same system, and a plain name is
//! too: `dispatch-driver-<name>`, looked for beside the hub's own executable, in the plugin folder, then on
//! `PATH`. So a driver of ours and one of anybody's are alike.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Begins the name of every driver executable.
const PREFIX: &str = "dispatch-driver-";
/// Begins the last part of the original's image names.
const IMAGE_PREFIX: &str = "dispatch-events-";

/// Folders in which driver executables are looked for, in order.
#[derive(Debug, Clone)]
pub(crate) struct Places(Vec<PathBuf>);

/// A program that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// The driver's name if it is a `dispatch-driver-<name>`; such programs keep to the SDK's contract.
    pub(crate) driver: Option<String>,
    /// Came from an image of the original: its dialects count.
    pub(crate) original: bool,
}

/// Why there is no program. For whoever created the driver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProgramError {
    /// The path does not lead to a program.
    #[error("{} is not an executable file", .0.display())]
    NotExecutable(PathBuf),
    /// No executable of this name anywhere.
    #[error("there is no executable {name} in {places}")]
    NotFound {
        /// What was looked for.
        name: String,
        /// Where.
        places: String,
    },
    /// A container image, and nobody here runs containers.
    #[error(
        "{0:?} is a container image without a driver here: register a path to a program, or a name for which \
         there is a {PREFIX}NAME"
    )]
    Container(String),
}

impl Places {
    /// Beside the running executable, then `plugins`, then `PATH`.
    pub(crate) fn of_this_process(plugins: Option<&Path>) -> Self {
        let own = std::env::current_exe()
            .ok()
            .and_then(|exe| Some(exe.parent()?.to_owned()));
        Self::new(own, plugins, std::env::var_os("PATH").as_deref())
    }

    /// One folder only.
    #[cfg(test)]
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self(vec![folder.to_owned()])
    }

    fn new(own: Option<PathBuf>, plugins: Option<&Path>, path: Option<&OsStr>) -> Self {
        let on_path = path.map(std::env::split_paths).into_iter().flatten();
        let named = own.into_iter().chain(plugins.map(Path::to_owned)).chain(on_path);
        let mut places: Vec<PathBuf> = Vec::new();
        for place in named.filter(|place| place.is_absolute() || plugins == Some(place.as_path())) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        Self(places)
    }

    /// The program of a driver type's image.
    pub(crate) fn program(&self, image: &str) -> Result<Program, ProgramError> {
        let path = Path::new(image);
        if path.is_absolute() {
            return match is_executable(path) {
                true => Ok(Program {
                    path: path.to_owned(),
                    driver: path.file_name().and_then(OsStr::to_str).and_then(driver_name),
                    original: false,
                }),
                false => Err(ProgramError::NotExecutable(path.to_owned())),
            };
        }
        let (repository, name) = match image.rsplit_once('/') {
            Some((repository, name)) => (Some(repository), name),
            None => (None, image),
        };
        let name = name.split([':', '@']).next().unwrap_or_default();
        match (repository, name.strip_prefix(IMAGE_PREFIX)) {
            (_, Some(system)) => {
                let program = self.named(system)?;
                Ok(Program {
                    original: true,
                    ..program
                })
            }
            (None, None) => self.named(name.strip_prefix(PREFIX).unwrap_or(name)),
            (Some(_), None) => Err(ProgramError::Container(image.to_owned())),
        }
    }

    /// The executable of a driver's name.
    pub(crate) fn named(&self, driver: &str) -> Result<Program, ProgramError> {
        let file = format!("{PREFIX}{driver}");
        let plain = driver_name(&file).is_some();
        let mut candidates = self.0.iter().filter(|_| plain).map(|place| place.join(&file));
        match candidates.find(|candidate| is_executable(candidate)) {
            Some(path) => Ok(Program {
                path,
                driver: Some(driver.to_owned()),
                original: false,
            }),
            None => Err(ProgramError::NotFound {
                name: file,
                places: self
                    .0
                    .iter()
                    .map(|p| p.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }
}

/// `<name>` of `dispatch-driver-<name>`: letters, digits, dashes and underscores only, so no way out of a folder.
fn driver_name(file: &str) -> Option<String> {
    let name = file.strip_prefix(PREFIX)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (!name.is_empty() && name.bytes().all(plain)).then(|| name.to_owned())
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executable(folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn an_image_is_a_path_or_a_name_or_one_of_the_originals() {
        let folder = tempfile::tempdir().unwrap();
        let cron = executable(folder.path(), "dispatch-driver-cron");
        let ticker = executable(folder.path(), "ticker");
        let places = Places::new(Some(folder.path().to_owned()), None, None);
        let program = |image: &str| places.program(image).unwrap();

        for image in [
            "cron",
            "cron:latest",
            "dispatch-driver-cron",
            cron.to_str().unwrap(),
        ] {
            let found = program(image);
            assert_eq!(
                (&found.path, found.driver.as_deref(), found.original),
                (&cron, Some("cron"), false)
            );
        }
        for image in [
            "dispatchframework/dispatch-events-cron:0.0.1",
            "dispatch-events-cron",
            "r.io/x/dispatch-events-cron@sha256:00",
        ] {
            let found = program(image);
            assert_eq!((&found.path, found.original), (&cron, true), "{image}");
        }
        let found = program(ticker.to_str().unwrap());
        assert_eq!((found.path, found.driver), (ticker, None));
    }

    #[test]
    fn what_is_not_found_is_named_with_the_places() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("dispatch-driver-plain"), "no program").unwrap();
        let places = Places::new(
            Some(folder.path().to_owned()),
            Some(Path::new("/plugins")),
            Some(OsStr::new("/bin:relative:/bin")),
        );

        let error = places.program("plain").unwrap_err().to_string();
        let expected = format!(
            "there is no executable dispatch-driver-plain in {}, /plugins, /bin",
            folder.path().display()
        );
        assert_eq!(error, expected);

        assert!(matches!(
            places.program("/no/such"),
            Err(ProgramError::NotExecutable(_))
        ));
        assert!(matches!(
            places.program("kars7e/timer:latest"),
            Err(ProgramError::Container(_))
        ));
        for sneaky in ["..", "../x", "dispatch-events-../../bin/sh", ""] {
            assert!(places.program(sneaky).is_err(), "{sneaky}");
        }
    }

    #[test]
    fn the_hubs_own_folder_comes_before_the_plugins_and_those_before_the_path() {
        let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let paths: Vec<PathBuf> = folders
            .iter()
            .map(|f| executable(f.path(), "dispatch-driver-x"))
            .collect();
        let folder = |n: usize| folders[n].path();
        let places = || {
            Places::new(
                Some(folder(0).to_owned()),
                Some(folder(1)),
                Some(folder(2).as_os_str()),
            )
        };
        for path in paths {
            assert_eq!(places().named("x").unwrap().path, path);
            std::fs::remove_file(path).unwrap();
        }
    }
}
