//! Rows read and written: a [`Snapshot`] for readers, a [`Tx`] for the writer.

use std::fmt;
use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde_json::Value;

use super::history::{Change, ChangeKind};
use super::{ApiError, StoreError};
use crate::apiserver::object;

/// Where an object lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// `workers.sedge.dev`.
    pub resource: Arc<str>,
    /// Empty for none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// From its three parts.
    pub fn new(resource: &Arc<str>, namespace: &str, name: &str) -> Self {
        Self { resource: resource.clone(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let resource: String = row.get(0)?;
        Ok(Self { resource: resource.into(), namespace: row.get(1)?, name: row.get(2)? })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.resource, self.namespace, self.name)
    }
}

pub(super) fn version(connection: &Connection) -> rusqlite::Result<u64> {
    let version: i64 = connection.query_row("SELECT version FROM counter", [], |row| row.get(0))?;
    u64::try_from(version)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Integer, error.into()))
}

pub(super) fn set_version(connection: &Connection, version: u64) -> rusqlite::Result<()> {
    let version = i64::try_from(version);
    let version = version.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    connection.prepare_cached("UPDATE counter SET version = ?1")?.execute([version]).map(drop)
}

fn text(connection: &Connection, key: &Key) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT body FROM objects WHERE resource = ?1 AND namespace = ?2 AND name = ?3";
    let found = params![&*key.resource, key.namespace, key.name];
    connection.prepare_cached(sql)?.query_row(found, |row| row.get(0)).optional()
}

fn parse(key: &Key, text: &str) -> Result<Value, StoreError> {
    serde_json::from_str(text).map_err(|source| StoreError::Corrupt { object: key.to_string(), source })
}

/// Where a page of a list begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Only this namespace; absent, all.
    pub namespace: Option<String>,
    /// Only this name; absent, all.
    pub name: Option<String>,
    /// After this namespace and name.
    pub after: Option<(String, String)>,
}

/// All objects as they stand at one version.
pub struct Snapshot<'a> {
    connection: Transaction<'a>,
    version: u64,
}

impl<'a> Snapshot<'a> {
    pub(super) fn begin(connection: Transaction<'a>) -> Result<Self, StoreError> {
        let version = version(&connection)?;
        Ok(Self { connection, version })
    }

    /// The version of the latest change in it.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// An object as JSON.
    pub fn text(&self, key: &Key) -> Result<Option<String>, StoreError> {
        Ok(text(&self.connection, key)?)
    }

    /// Hand each object of a page to `visit`, in order of namespace and name, until it says to stop (`false`).
    pub fn scan(
        &self,
        resource: &str,
        page: &Page,
        mut visit: impl FnMut(Key, String) -> Result<bool, ApiError>,
    ) -> Result<(), ApiError> {
        let sql = "SELECT resource, namespace, name, body FROM objects
                   WHERE resource = ?1 AND (?2 IS NULL OR namespace = ?2) AND (?5 IS NULL OR name = ?5)
                     AND (namespace, name) > (?3, ?4)
                   ORDER BY namespace, name";
        let (namespace, name) = page.after.clone().unwrap_or_default();
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![resource, page.namespace, namespace, name, page.name])?;
        while let Some(row) = rows.next()? {
            if !visit(Key::of(row)?, row.get(3)?)? {
                break;
            }
        }
        Ok(())
    }
}

/// One write: objects read and changed, each change with a version of its own.
pub struct Tx<'a> {
    connection: Transaction<'a>,
    version: u64,
    changes: Vec<Change>,
}

impl<'a> Tx<'a> {
    pub(super) fn begin(connection: Transaction<'a>) -> Result<Self, StoreError> {
        let version = version(&connection)?;
        Ok(Self { connection, version, changes: Vec::new() })
    }

    /// The version of its latest change.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn commit(self) -> Result<Vec<Change>, StoreError> {
        if !self.changes.is_empty() {
            set_version(&self.connection, self.version)?;
            self.connection.commit()?;
        }
        Ok(self.changes)
    }

    /// An object.
    pub fn get(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        text(&self.connection, key)?.map(|text| parse(key, &text)).transpose()
    }

    /// Add an object that is not there; it comes back with its version.
    pub fn insert(&mut self, key: &Key, object: Value) -> Result<Value, StoreError> {
        let (object, text) = self.stamp(object);
        let sql = "INSERT INTO objects (resource, namespace, name, uid, body) VALUES (?1, ?2, ?3, ?4, ?5)";
        let row = params![&*key.resource, key.namespace, key.name, object::uid(&object), text];
        self.connection.prepare_cached(sql)?.execute(row)?;
        self.set_owners(key, None, Some(&object))?;
        self.record(key, ChangeKind::Added, &object, text, None);
        Ok(object)
    }

    /// Put `new` in the place of `old`; it comes back with its version.
    pub fn update(&mut self, key: &Key, old: Value, new: Value) -> Result<Value, StoreError> {
        let (new, text) = self.stamp(new);
        let sql = "UPDATE objects SET body = ?4 WHERE resource = ?1 AND namespace = ?2 AND name = ?3";
        let row = params![&*key.resource, key.namespace, key.name, text];
        self.connection.prepare_cached(sql)?.execute(row)?;
        self.set_owners(key, Some(&old), Some(&new))?;
        self.record(key, ChangeKind::Modified, &new, text, Some(old));
        Ok(new)
    }

    /// Take an object out; its last state comes back with the version of its end.
    pub fn remove(&mut self, key: &Key, old: Value) -> Result<Value, StoreError> {
        let (last, text) = self.stamp(old.clone());
        let sql = "DELETE FROM objects WHERE resource = ?1 AND namespace = ?2 AND name = ?3";
        self.connection.prepare_cached(sql)?.execute(params![&*key.resource, key.namespace, key.name])?;
        self.set_owners(key, Some(&old), None)?;
        self.record(key, ChangeKind::Deleted, &last, text, Some(old));
        Ok(last)
    }

    /// The objects that name `uid` as an owner.
    pub fn dependents(&self, uid: &str) -> Result<Vec<Key>, StoreError> {
        let sql = "SELECT resource, namespace, name FROM owners WHERE owner = ?1";
        self.keys(sql, uid)
    }

    /// The objects that lie in `namespace`.
    pub fn in_namespace(&self, namespace: &str) -> Result<Vec<Key>, StoreError> {
        self.keys("SELECT resource, namespace, name FROM objects WHERE namespace = ?1", namespace)
    }

    /// The objects of one resource, in one namespace or in all.
    pub fn of_resource(&self, resource: &str, namespace: Option<&str>) -> Result<Vec<Key>, StoreError> {
        let keys =
            self.keys("SELECT resource, namespace, name FROM objects WHERE resource = ?1", resource)?;
        Ok(keys
            .into_iter()
            .filter(|key| namespace.is_none_or(|namespace| key.namespace == namespace))
            .collect())
    }

    /// The oldest objects of one resource, if there are more than `most`: as many as are too many, and some
    /// more, so that this is seldom asked for nothing.
    pub fn oldest_beyond(&self, resource: &str, most: usize) -> Result<Vec<Key>, StoreError> {
        let sql = "SELECT COUNT(*) FROM objects WHERE resource = ?1";
        let count: i64 = self.connection.prepare_cached(sql)?.query_row([resource], |row| row.get(0))?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        if count <= most {
            return Ok(Vec::new());
        }
        let sql = "SELECT resource, namespace, name FROM objects WHERE resource = ?1 ORDER BY rowid LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let keys = statement.query_map(params![resource, count - most + most / 10], Key::of)?;
        Ok(keys.collect::<Result<_, _>>()?)
    }

    /// Whether nothing lies in `namespace`.
    pub fn is_empty(&self, namespace: &str) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM objects WHERE namespace = ?1 LIMIT 1";
        Ok(!self.connection.prepare_cached(sql)?.exists([namespace])?)
    }

    /// Whether any object has this identity.
    pub fn is_alive(&self, uid: &str) -> Result<bool, StoreError> {
        Ok(self.connection.prepare_cached("SELECT 1 FROM objects WHERE uid = ?1")?.exists([uid])?)
    }

    fn keys(&self, sql: &str, value: &str) -> Result<Vec<Key>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let keys = statement.query_map([value], Key::of)?.collect::<Result<_, _>>()?;
        Ok(keys)
    }

    /// Give `object` the next version.
    fn stamp(&mut self, mut object: Value) -> (Value, String) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let text = object.to_string();
        (object, text)
    }

    fn set_owners(&self, key: &Key, old: Option<&Value>, new: Option<&Value>) -> Result<(), StoreError> {
        let owners = |object: Option<&Value>| -> Vec<String> {
            object.into_iter().flat_map(object::owners).map(str::to_owned).collect()
        };
        let (old, new) = (owners(old), owners(new));
        let place = |owner: &String| {
            (owner.clone(), key.resource.to_string(), key.namespace.clone(), key.name.clone())
        };
        for owner in old.iter().filter(|owner| !new.contains(owner)) {
            let sql =
                "DELETE FROM owners WHERE owner = ?1 AND resource = ?2 AND namespace = ?3 AND name = ?4";
            self.connection.prepare_cached(sql)?.execute(place(owner))?;
        }
        for owner in new.iter().filter(|owner| !old.contains(owner)) {
            let sql =
                "INSERT OR IGNORE INTO owners (owner, resource, namespace, name) VALUES (?1, ?2, ?3, ?4)";
            self.connection.prepare_cached(sql)?.execute(place(owner))?;
        }
        Ok(())
    }

    fn record(&mut self, key: &Key, kind: ChangeKind, object: &Value, text: String, previous: Option<Value>) {
        self.changes.push(Change {
            version: self.version,
            resource: key.resource.clone(),
            namespace: key.namespace.clone(),
            kind,
            object: object.clone(),
            text,
            previous,
        });
    }
}
