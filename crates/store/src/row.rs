//! Converts rows to types of the model.

use serde::{Serialize, de::DeserializeOwned};
use sqlx::{
    Row,
    sqlite::{SqliteQueryResult, SqliteRow},
};
use startclaw_model::{
    AccountId, Actor, Event, Instance, InstanceId, Name, Operation, OperationId, Slot, SnapshotId,
    Timestamp,
};

use crate::StoreError;

/// The stored text of an enum value, such as `provision`.
pub(crate) fn enum_to_text<T: Serialize>(value: &T) -> Result<String, StoreError> {
    match serde_json::to_value(value)? {
        serde_json::Value::String(word) => Ok(word),
        other => Err(StoreError::Value(format!("{other} is no word"))),
    }
}

/// The enum value of a stored text.
pub(crate) fn enum_from_text<T: DeserializeOwned>(word: String) -> Result<T, StoreError> {
    Ok(serde_json::from_value(serde_json::Value::String(word))?)
}

pub(crate) fn time(row: &SqliteRow, column: &str) -> Result<Timestamp, StoreError> {
    Ok(Timestamp::from_millis(row.try_get(column)?))
}

pub(crate) fn maybe_time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, StoreError> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_millis))
}

pub(crate) fn json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T, StoreError> {
    Ok(serde_json::from_str(row.try_get(column)?)?)
}

pub(crate) fn name(text: String) -> Result<Name, StoreError> {
    Name::parse(&text).map_err(|e| StoreError::Value(format!("the name {text:?}: {e}")))
}

pub(crate) fn instance(row: &SqliteRow) -> Result<Instance, StoreError> {
    let slot: i64 = row.try_get("slot")?;
    let revision: i64 = row.try_get("revision")?;
    Ok(Instance {
        id: InstanceId(row.try_get("id")?),
        name: name(row.try_get("name")?)?,
        owner: enum_from_text(row.try_get("owner")?)?,
        account: row.try_get::<Option<String>, _>("account_id")?.map(AccountId),
        slot: Slot(u32::try_from(slot).map_err(|_| StoreError::Value(format!("slot {slot}")))?),
        revision: u64::try_from(revision)
            .map_err(|_| StoreError::Value(format!("revision {revision}")))?,
        desired: json(row, "desired")?,
        health: json(row, "health")?,
        created_at: time(row, "created_at")?,
    })
}

pub(crate) fn operation(row: &SqliteRow) -> Result<Operation, StoreError> {
    Ok(Operation {
        id: OperationId(row.try_get("id")?),
        kind: enum_from_text(row.try_get("kind")?)?,
        instance: InstanceId(row.try_get("instance_id")?),
        name: name(row.try_get("name")?)?,
        actor: Actor::stored(row.try_get("actor")?),
        state: enum_from_text(row.try_get("state")?)?,
        steps: json(row, "steps")?,
        error: row.try_get("error")?,
        snapshot: row.try_get::<Option<String>, _>("snapshot")?.map(SnapshotId),
        source: row.try_get::<Option<String>, _>("source")?.map(InstanceId),
        created_at: time(row, "created_at")?,
        started_at: maybe_time(row, "started_at")?,
        finished_at: maybe_time(row, "finished_at")?,
    })
}

pub(crate) fn event(row: &SqliteRow) -> Result<Event, StoreError> {
    Ok(Event {
        at: time(row, "at")?,
        kind: enum_from_text(row.try_get("kind")?)?,
        name: row.try_get::<Option<String>, _>("name")?.map(name).transpose()?,
        actor: Actor::stored(row.try_get("actor")?),
        detail: row.try_get("detail")?,
    })
}

/// `false` when a row could not be inserted because the row that it refers to is gone.
pub(crate) fn unless_orphan(
    done: Result<SqliteQueryResult, sqlx::Error>,
) -> Result<bool, StoreError> {
    match done {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(e)) if e.is_foreign_key_violation() => Ok(false),
        Err(e) => Err(e.into()),
    }
}
