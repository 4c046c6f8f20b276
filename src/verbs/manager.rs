//! `sedge manager`: the manager alone; nodes join it from other processes.

use crate::interrupt;
use crate::platform::{self, ManagerOptions};
use crate::screen;

/// Run the manager alone.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    manager: ManagerOptions,
    /// Where nodes reach it, `http://host:port`, if not by the address that they dialled
    #[arg(long, value_name = "URL")]
    advertise: Option<String>,
}

/// Run the manager alone, until it is told to stop.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let stop = interrupt::listen()?;
    let manager = platform::manager(&args.manager, args.advertise, stop.clone()).await?;
    let data = args.manager.data.display();
    let mut page = screen::styled("Sedge's manager is up.\n\n", screen::BOLD);
    for (what, value) in [
        ("API", format!("http://{}", manager.address())),
        (
            "Nodes join",
            format!(
                "sedge node --manager http://{} --join-token-file {data}/join-token …",
                manager.node_address()
            ),
        ),
        ("Kubeconfig", format!("{data}/kubeconfig")),
    ] {
        page.push_str(&format!("  {} {value}\n", screen::styled(&format!("{what:<12}"), screen::DIM)));
    }
    screen::print(&page)?;
    platform::until_ended(stop, Vec::new(), manager).await
}
