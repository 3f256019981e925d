//! Checks made before anything is sent.

use std::fmt;

/// Which input is wrong and why. Nothing was sent.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct ValidationError {
    field: &'static str,
    reason: String,
}

impl ValidationError {
    /// Names the field (as Discord calls it) and says what is wrong with it.
    pub fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self {
            field,
            reason: reason.into(),
        }
    }

    /// The field, as Discord calls it.
    #[must_use]
    pub fn field(&self) -> &'static str {
        self.field
    }

    /// What is wrong with it.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Length in Unicode scalar values, both ends included.
pub(crate) fn length(
    field: &'static str,
    text: &str,
    min: usize,
    max: usize,
) -> Result<(), ValidationError> {
    let count = text.chars().count();
    if (min..=max).contains(&count) {
        return Ok(());
    }
    Err(ValidationError::new(
        field,
        format!("must have {min} to {max} characters, has {count}"),
    ))
}

/// The same for a text that Discord trims (observed): blanks alone are none.
pub(crate) fn text(
    field: &'static str,
    text: &str,
    min: usize,
    max: usize,
) -> Result<(), ValidationError> {
    length(field, text, min, max)?;
    if text.trim().is_empty() {
        return Err(ValidationError::new(field, "must not be blank"));
    }
    Ok(())
}

/// A number, both ends included.
pub(crate) fn range<T>(field: &'static str, value: T, min: T, max: T) -> Result<(), ValidationError>
where
    T: PartialOrd + fmt::Display,
{
    if min <= value && value <= max {
        return Ok(());
    }
    Err(ValidationError::new(
        field,
        format!("must be {min} to {max}, is {value}"),
    ))
}
