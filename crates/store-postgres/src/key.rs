//! Whether all who settle have the same card fingerprint key.

use store::Error;

use crate::error::{Stage, classify};
use crate::link::{self, Link};
use crate::options::Role;
use crate::{Options, tls};

/// Whether `check`, which the key makes of a fixed text, is what the key of whoever began the store
/// made of it. The first one's is kept.
///
/// # Errors
/// If the store can't be reached, or is not there.
pub async fn same_key(options: &Options, check: [u8; 16]) -> Result<bool, Error> {
    let schema = options.check().map_err(Error::Fatal)?;
    let link = Link::open(options, Role::Work, tls::connector(options)?).await?;
    let keep = format!(
        "UPDATE {schema}.settling_term SET key_check = coalesce(key_check, $1) RETURNING key_check"
    );
    let ours = check.as_slice();
    let kept = async {
        let row = link.client.query_one(&keep, &[&ours]).await;
        row.map_err(|error| classify(&error, Stage::Open))
    };
    let row = link::within(options.patience(), kept).await?;
    Ok(row.get::<_, &[u8]>(0) == ours)
}
