//! `larder serve`: one page of all instances of a service.

use std::sync::Arc;
use std::time::Duration;

use larder::remote::names;
use larder::{Dashboard, DashboardConfig, Discovery, Registry};
use larder_redis::{Login, RedisConfig, RedisStore, Target};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use crate::client::authority;
use crate::failure::{Failure, tell};
use crate::interrupt::Interrupt;
use crate::serve_args::ServeArgs;
use crate::streams::provide_crypto;

/// Within which the Redis must answer at the start.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("no threads to run on: {error}")))?;
    runtime.block_on(serve(args))
}

async fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let (servers, pages): (Vec<_>, Vec<_>) = args.instances.iter().partition(|instance| is_redis(instance));
    let mut config = DashboardConfig::default();
    // Whoever names an address wants it reached there.
    config.is_public = true;
    config.hosts.clone_from(&args.hosts);
    config.peers = pages.iter().map(|page| authority(page).map(str::to_owned)).collect::<Result<_, _>>()?;
    config.discovery = match (&servers[..], &args.namespace) {
        ([], None) => None,
        ([], Some(_)) => {
            let what = "--namespace is where to look in a Redis, and none is named: add one, such as redis://localhost";
            return Err(Failure::Usage(what.into()));
        }
        (_, None) => {
            let what =
                "--namespace NAME is missing: that under which the instances register in the Redis (Discovery::new)";
            return Err(Failure::Usage(what.into()));
        }
        (servers, Some(namespace)) => Some(registered(servers, args.master.as_deref(), namespace).await?),
    };
    let mut interrupt = Interrupt::listen()?;
    let page = Dashboard::serve(args.listen, config).await?;
    tell(&format!("Dashboard: http://{}/", page.address()));
    tell("To roll back or resume, open an instance's own page. Ctrl-C ends this one.");
    interrupt.heard().await?;
    page.close().await;
    Ok(())
}

fn is_redis(instance: &str) -> bool {
    let scheme = instance.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| ["redis", "rediss", "unix", "redis+unix"].contains(&scheme))
}

/// The master that sentinels name so: `[user:password@]name[/db]`, read as the end of a URL is.
fn watched(sentinels: &[&str], master: &str) -> Result<RedisConfig, Failure> {
    let wrong = || Failure::Usage("--master is [user:password@]NAME[/db], NAME as the sentinels call it".into());
    let RedisConfig { target: Target::Single(node), credentials: login, .. } =
        RedisConfig::single(&format!("redis://{master}")).map_err(|_| wrong())?
    else {
        return Err(wrong());
    };
    let address = node.addr().to_string();
    let service = address.rsplit_once(':').map_or(address.as_str(), |(name, _)| name);
    let mut config = RedisConfig::sentinel(sentinels, service, Login::default())?;
    config.credentials = login;
    if let Target::Sentinel { db, .. } = &mut config.target {
        *db = node.redis_settings().db();
    }
    Ok(config)
}

/// Those who register there, once it has answered.
async fn registered(servers: &[&String], master: Option<&str>, namespace: &str) -> Result<Discovery, Failure> {
    provide_crypto();
    let urls: Vec<_> = servers.iter().map(|url| url.as_str()).collect();
    let config = match (&urls[..], master) {
        (_, Some(master)) => watched(&urls, master)?,
        ([url], None) => RedisConfig::single(url)?,
        _ => RedisConfig::cluster(&urls)?,
    };
    // The addresses alone: a URL may hold a password.
    let shown = match &config.target {
        Target::Single(node) => node.addr().to_string(),
        Target::Cluster(nodes) | Target::Sentinel { nodes, .. } => {
            nodes.iter().map(|node| node.addr().to_string()).collect::<Vec<_>>().join(", ")
        }
    };
    let store = Arc::new(RedisStore::new(config, &Handle::current())?);
    let discovery = Discovery::new(store.clone(), namespace)?.hidden();
    let (name, until) = (names::dashboards(namespace), Instant::now() + PATIENCE);
    while let Err(error) = store.registered(&name).await {
        if Instant::now() > until {
            let why = store.state().last_error.unwrap_or_else(|| error.to_string());
            return Err(Failure::Failed(format!("no instances can be looked up at {shown}: {why}")));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(discovery)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_master_is_a_name_with_its_login_and_database() {
        for (text, name, number, user, password) in [
            ("mymaster", "mymaster", 0, None, None),
            ("My_Master-1/3", "My_Master-1", 3, None, None),
            (":s%40cret@mymaster", "mymaster", 0, None, Some("s@cret")),
            ("ann:secret@mymaster/7", "mymaster", 7, Some("ann"), Some("secret")),
        ] {
            let config = watched(&["redis://10.0.0.7:26379"], text).unwrap();
            let Target::Sentinel { nodes, service, db } = &config.target else { panic!("{:?}", config.target) };
            assert_eq!((nodes.len(), service.as_str(), *db), (1, name, number));
            let login = config.credentials.current().await.unwrap();
            assert_eq!((login.user.as_deref(), login.password.as_deref()), (user, password));
        }
        for text in ["", "ann:secret@", "my master", "mymaster/x"] {
            let Err(Failure::Usage(what)) = watched(&["redis://10.0.0.7"], text) else { panic!("'{text}'") };
            assert!(what.contains("--master") && !what.contains("secret"), "{what}");
        }
    }
}
