//! The page about the arm on show.

use larder::{Dashboard, DashboardConfig};

use super::service::Service;
use crate::demo_args::DemoArgs;
use crate::failure::{Failure, tell};

/// Serves the page, if one is wanted, and says where.
pub(super) async fn open(service: &Service, options: &DemoArgs) -> Result<Option<Dashboard>, Failure> {
    let mut failed = None;
    for address in options.pages() {
        let mut config = DashboardConfig::default();
        // Whoever names an address wants it reached there.
        config.is_public = options.serve.is_some();
        match Dashboard::serve(address, config).await {
            Ok(page) => {
                service.arms[0].show(&page)?;
                tell(&format!("Dashboard: {}\n", page.url()));
                return Ok(Some(page));
            }
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(None), |error| Err(error.into()))
}
