use crate::{config::Flags, exit::Exit};
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}
pub(crate) async fn run(_: Args, _: &Flags) -> anyhow::Result<Exit> {
    Ok(Exit::Done)
}
