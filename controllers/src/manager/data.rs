//! The manager's data directory: its lock, its secrets, and where the rest lies. Called by `Manager::start`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::ManagerError;
use crate::hub::FederationSecret;

/// Secrets are at most this long; a longer file is none of ours.
const LONGEST_SECRET: u64 = 4096;

/// A data directory that this process has to itself until it is dropped.
pub(super) struct DataDir {
    path: PathBuf,
    /// The lock is let go when this is closed, by a kill too.
    _lock: File,
}

impl DataDir {
    /// Make it where it is not there, and lock it.
    pub fn open(path: &Path) -> Result<Self, ManagerError> {
        let failed = |what: &'static str| move |source| ManagerError::data(what, path, source);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make"))?;
        let name = path.join("lock");
        let lock = private().create(true).truncate(false).write(true).open(&name).map_err(failed("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(ManagerError::InUse { data: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(ManagerError::data("lock", &name, source)),
        }
    }

    /// The API server's database.
    pub fn database(&self) -> PathBuf {
        self.path.join("api.sqlite")
    }

    /// The registry's directory.
    pub fn registry(&self) -> Result<cap_std::fs::Dir, ManagerError> {
        let path = self.path.join("registry");
        let failed = |source| ManagerError::data("open", &path, source);
        fs::create_dir_all(&path).map_err(failed)?;
        cap_std::fs::Dir::open_ambient_dir(&path, cap_std::ambient_authority()).map_err(failed)
    }

    /// The token in the file `name`, made of 32 random bytes where there is none.
    pub fn token(&self, name: &str) -> Result<String, ManagerError> {
        let path = self.path.join(name);
        match read(&path) {
            Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
            Ok(_) => {
                let empty =
                    io::Error::new(io::ErrorKind::InvalidData, "it is empty; remove it for a new one");
                Err(ManagerError::data("read", &path, empty))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let token = hex(&rand::random::<[u8; 32]>());
                self.write(name, &token)?;
                Ok(token)
            }
            Err(error) => Err(ManagerError::data("read", &path, error)),
        }
    }

    /// What the tokens of federations are made from.
    pub fn federation_secret(&self) -> Result<FederationSecret, ManagerError> {
        let text = self.token("federation-secret")?;
        let bytes = bytes(&text).ok_or_else(|| {
            let path = self.path.join("federation-secret");
            let damaged = io::Error::new(
                io::ErrorKind::InvalidData,
                "it is not 64 hexadecimal digits; remove it for a new one",
            );
            ManagerError::data("read", &path, damaged)
        })?;
        Ok(FederationSecret::new(bytes))
    }

    /// Write a file that only its owner can read, whole or not at all.
    pub fn write(&self, name: &str, text: &str) -> Result<(), ManagerError> {
        let path = self.path.join(name);
        let beside = self.path.join(format!(".{name}.new"));
        let write = || {
            // A leftover may have other permissions; a new file has ours from its first byte.
            match fs::remove_file(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = private().create_new(true).write(true).open(&beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            // The name must last too: a secret that came back as another one would lock every node out.
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|source| ManagerError::data("write", &path, source))
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST_SECRET).read_to_string(&mut text)?;
    Ok(text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn secrets_are_the_owners_alone_and_stay() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let token = data.token("join-token").unwrap();
        let mode = fs::metadata(dir.path().join("join-token")).unwrap().permissions().mode();
        assert_eq!((token.len(), mode & 0o777), (64, 0o600));
        assert_eq!(data.token("join-token").unwrap(), token);
        assert_ne!(data.token("api-token").unwrap(), token);
    }

    #[test]
    fn a_directory_has_one_manager() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path()).unwrap();
        let refused = DataDir::open(dir.path()).err().unwrap().to_string();
        assert!(refused.contains("another manager"), "{refused}");
        drop(first);
        assert!(DataDir::open(dir.path()).is_ok());
    }

    #[test]
    fn a_damaged_secret_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("federation-secret"), "short").unwrap();
        let refused = DataDir::open(dir.path()).unwrap().federation_secret().unwrap_err().to_string();
        assert!(refused.contains("federation-secret"), "{refused}");
    }
}
