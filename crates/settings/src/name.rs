//! The name of an entry of a list, as paths, metrics and folders have it.

/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 63;

/// Refuses a name that is not `[a-z0-9][a-z0-9_-]*`, up to [`NAME_BYTES_MAX`].
///
/// # Errors
/// What is right, with the key in front.
pub fn check_name(name: &str) -> Result<(), String> {
    let first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let later = |byte: u8| first(byte) || matches!(byte, b'_' | b'-');
    let bytes = name.as_bytes();
    let formed = bytes.first().is_some_and(|byte| first(*byte));
    if formed && bytes.iter().all(|byte| later(*byte)) && bytes.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    Err(format!(
        "name: must be 1 to {NAME_BYTES_MAX} of a-z, 0-9, _ and -, beginning with a letter or a digit"
    ))
}
